"""The redirected gradient of ReLU and Clip, against its definition written down for arrays, and what it is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.composites import Composite
from onnxlrp.graph.outputs.units import Start
from onnxlrp.program.program import SEED
from onnxlrp.rules import make
from support import small_nets
from support.arrays import Array
from support.conformance import each_engine
from support.paths import MODELS


def redirected(x: Array, r: Array, low: float, high: float) -> Array:
    """Sample by sample: the gradient, or where all of it is zero what leads back between the limits."""
    out = np.zeros_like(r)
    for n in range(len(x)):
        out[n] = r[n] * ((x[n] > low) & (x[n] < high))
        if not out[n].any():
            out[n] = np.where(x[n] <= low, np.maximum(r[n], 0), 0) + np.where(x[n] >= high, np.minimum(r[n], 0), 0)
    return out


SAMPLES = {
    "alive": np.array([[1.0, -2.0, 3.0], [0.5, 7.0, -1.0]]),
    "one place lives": np.array([[-1.0, -2.0, -3.0], [-0.5, 0.25, -1.0]]),
    "dead": np.array([[-1.0, -2.0, -3.0], [-0.5, -0.25, -1.0]]),
    "at the upper limit": np.array([[7.0, 8.0, 9.0], [7.0, 8.0, 9.0]]),
    "at both": np.array([[-1.0, 8.0, -2.0], [7.0, -8.0, 9.0]]),
}


@pytest.mark.few(6)
@each_engine
@pytest.mark.parametrize("high", [float("inf"), 6.0], ids=["Relu", "Clip"])
@pytest.mark.parametrize("targets", [None, 2])
def test_redirection_is_its_definition(name: str, high: float, targets: int | None) -> None:
    n = small_nets.Net(2, 3)
    graph = small_nets.load(n.model(n.relu("x") if high == float("inf") else n.clip("x", high)))
    x, rng = np.stack([*SAMPLES.values()] * 2), np.random.default_rng(0)
    r = rng.integers(-3, 4, size=x.shape).astype(float)
    r[1] = 0
    r[1, 0, 0] = 2  # of the sample in which one place lives, at one that does not
    r[len(SAMPLES) :] = -np.abs(r[len(SAMPLES) :])
    several = r if targets is None else np.stack([r, r[::-1]])
    inputs = {"x": x.astype(np.float32), SEED: several.astype(np.float32)}
    composite = Composite((("*", make("redirect")),))
    found = small_nets.explained(graph, composite, inputs, name, mode="relevance", targets=targets)["relevance"]
    expected = [redirected(x, one, 0.0, high) for one in ([r] if targets is None else several)]
    np.testing.assert_array_equal(found, expected[0] if targets is None else np.stack(expected))


@pytest.mark.slow
def test_other_layers_and_living_networks_have_their_gradient() -> None:
    model = onnxlrp.load(MODELS / "shapes.onnx", engine="reference")
    x = np.random.default_rng(0).normal(size=(2, *model.graph.inputs[0].shape))
    plain = model.explain(x, target=1, method="gradient")
    found = model.explain(x, target=1, method="gradient", redirect=True)
    np.testing.assert_array_equal(found.relevance, plain.relevance)
    assert found.method == "gradient"
    assert found.provenance["options"] == {"redirect": True}


def ascended(model: Any, tensor: str, redirect: bool, steps: int) -> tuple[Array, Array]:
    """The activation of each channel for a picture of its own, at a grey start and after Adam has raised it."""
    channels = model.graph.shapes[tensor][0]
    low, high = (np.asarray(bound, np.float32) for bound in model.preprocessing.bounds())
    x = np.repeat((low + high)[None] / 2, channels, axis=0) + np.zeros((channels, *model.graph.inputs[0].shape))
    x = (x + 0.01 * (high - low) * np.random.default_rng(0).normal(size=x.shape)).astype(np.float32)
    starts = [Start(tensor, "activation", np.eye(channels)[:, :, None, None])]
    composite = model.composite("gradient", redirect=redirect)
    mean, square, first = np.zeros_like(x), np.zeros_like(x), None
    for t in range(1, steps + 1):
        found = model.outputs(x, composite, starts=starts)
        first = found["value/0"] if first is None else first
        slope = found["relevance"]
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        move = mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        x = np.clip(x + 0.05 * (high - low) * move, low, high).astype(np.float32)
    assert first is not None
    return first, model.outputs(x, composite, starts=starts)["value/0"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tensor", "most"), [("digits", "relu3", 5), ("shapes", "blocks.4.relu2", 0)])
def test_dead_units_live_after_an_ascent(name: str, tensor: str, most: int) -> None:
    """Of digits some units are dead for all of 100 digits, and stay so."""
    model = onnxlrp.load(MODELS / f"{name}.onnx", engine="ort")
    result = next(y.outputs[0] for y in model.graph.layers if y.path == tensor)
    start, plain = ascended(model, result, False, 48)
    _, found = ascended(model, result, True, 48)
    dead = int((start == 0).sum())
    assert dead >= 8
    assert (plain == 0).sum() == dead  # no gradient, no step
    assert (found == 0).sum() <= most
