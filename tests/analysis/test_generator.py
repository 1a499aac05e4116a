"""Preferred inputs through a generator: gradients, bounds, the published steps, and digits that are digits."""

from __future__ import annotations

from typing import Any

import handwriting
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.analysis.ascent import domain
from onnxlrp.analysis.ascent.optimize import optimize
from onnxlrp.analysis.inversion.search import represent
from onnxlrp.analysis.prototypes.generator import Codes, Generator, open_generator, plan
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.graph.outputs.units import unit
from support.paths import MODELS

DIGITS, GENERATOR, SAMPLES = MODELS / "digits.onnx", MODELS / "digits_generator.onnx", MODELS / "samples"


def drawing(shape: Any, drawn: Any, dtype: int = TensorProto.FLOAT) -> Any:
    """A generator y = tanh(W code), as published ones end."""
    node = helper.make_node
    w = np.random.default_rng(0).normal(size=(int(np.prod(shape)), int(np.prod(drawn)))) / 3
    nodes = [
        node("Cast", ["c"], ["r"], to=TensorProto.FLOAT),
        node("Flatten", ["r"], ["f"]),
        node("MatMul", ["f", "w"], ["m"]),
        node("Tanh", ["m"], ["t"]),
        node("Reshape", ["t", "s"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("c", dtype, ["N", *shape])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", *drawn])],
        [numpy_helper.from_array(w.astype(np.float32), "w"), numpy_helper.from_array(np.array([-1, *drawn]), "s")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


def opened(network: Any, layer: str | None = None, pixels: Any = None) -> tuple[Any, Generator]:
    model = onnxlrp.load(DIGITS)
    loaded = onnxlrp.load(network).choose(head="as-is")
    return model, open_generator(model, loaded, "generator.onnx", layer, domain.decide(model), pixels)


@pytest.mark.parametrize("pixels", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("drawn", [(1, 28, 28), (1, 31, 30)])
def test_the_gradient_by_a_code_is_its_finite_difference(drawn: Any, pixels: Any) -> None:
    _, generator = opened(drawing((6,), drawn), pixels=pixels)
    rng = np.random.default_rng(1)
    code = rng.normal(size=(2, 6)).astype(np.float32)
    s, direction = rng.normal(size=(2, 1, 28, 28)), rng.normal(size=code.shape)
    pictures, pull = generator.network.pullback(code)
    assert pictures.shape == (2, 1, 28, 28)
    slope = (pull(s.astype(np.float32)) * direction).sum()
    ends = [generator.network((code + sign * 1e-2 * direction).astype(np.float32)) for sign in (1, -1)]
    assert slope == pytest.approx(((ends[0].astype(float) - ends[1]) * s).sum() / 2e-2, rel=5e-3)


def test_pictures_are_the_centre_of_what_is_drawn_in_the_pixels_that_are_stated() -> None:
    _, generator = opened(drawing((6,), (1, 31, 30)), pixels=(-1, 1))
    code = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)
    w = np.random.default_rng(0).normal(size=(6, 930)).astype(np.float32) / 3
    whole = (np.tanh(code @ w).reshape(2, 1, 31, 30) + 1) / 2
    np.testing.assert_allclose(generator.network(code), whole[:, :, 1:29, 1:29], atol=1e-5)


def test_bounds_are_statistics_of_the_users_pictures() -> None:
    model, generator = opened(GENERATOR)
    assert generator.layer is not None
    assert generator.layer.label == "relu4"
    x = (handwriting.digits(held_out=True)[0][:50, None] / 255).astype(np.float32)
    codes = generator.codes(model, x, None)
    values = represent(model, unit(model.graph, "relu4"), x)
    np.testing.assert_allclose(codes.high, values.mean(axis=0) + 3 * values.std(axis=0), rtol=1e-4, atol=1e-5)
    assert not codes.low.any()
    assert codes.source == "0 to mean + 3 σ of 50 pictures at relu4"
    started = generator.codes(model, None, x[:1])
    np.testing.assert_allclose(started.start(2, np.random.default_rng(0)), np.stack([values[0]] * 2), atol=1e-5)
    assert started.source.startswith("not negative, no upper bound")
    assert np.isinf(started.high).all()


def test_one_step_is_the_published_one() -> None:
    """code ← clip(.99 (code + r g / mean|g|)), r = 8 for codes of a standard deviation of 2."""
    _, generator = opened(drawing((6,), (1, 28, 28)))
    rng = np.random.default_rng(2)
    s = rng.normal(size=(1, 1, 28, 28)).astype(np.float32)
    first, low, high = rng.normal(size=6), np.full(6, -9.0), np.full(6, 9.0)
    codes = Codes(generator.network, low, high, first, np.zeros(6), 2.0, "test")
    chosen = plan(codes, 1)
    start = codes.start(1, rng)
    gradient = generator.network.pullback(start)[1](s)
    found = optimize(
        lambda z: ((z * s).reshape(1, -1).sum(axis=1), s),
        codes,
        (),
        chosen.optimizer,
        1,
        operators=chosen.operators,
        normalised=chosen.normalised,
    )
    expected = np.clip(0.99 * (start + 8 * gradient / np.abs(gradient).mean()), -9, 9)
    np.testing.assert_allclose(found.state.parameters, expected, rtol=1e-4)


def nearest(x: Any, others: Any) -> Any:
    """The Euclidean distance of each picture to the nearest of others."""
    flat, known = x.reshape(len(x), -1).astype(float), others.reshape(len(others), -1).astype(float)
    return np.sqrt(np.array([np.square(known - one).sum(axis=1).min() for one in flat]))


@pytest.mark.slow
def test_preferred_inputs_are_digits_and_nearer_to_the_data_than_pixels() -> None:
    model = onnxlrp.load(DIGITS)
    trained = (handwriting.digits(held_out=False)[0][:, None] / 255).astype(np.float32)
    right, through, pixels = [], [], []
    for digit in (2, 4, 7):
        found = model.prototype(digit, generator=GENERATOR, images=SAMPLES, n=8, seed=digit)
        right += [found.evidence["best"] == digit]
        through += [nearest(found.inputs, trained)]
        pixels += [nearest(model.prototype(digit, style="pixels", seed=digit).inputs, trained)]
    assert np.mean(right) >= 0.95
    assert np.mean(through) < np.mean(pixels) / 2


def test_a_generator_that_does_not_fit_is_refused() -> None:
    model = onnxlrp.load(DIGITS)
    with pytest.raises(UsageError, match="made for the layer relu4, not relu3") as caught:
        model.prototype(3, generator=GENERATOR, code_layer="relu3")
    assert caught.value.fix == "--code-layer relu4"
    with pytest.raises(UsageError, match="takes 6, the layer relu4 has 64"):
        model.prototype(3, generator=drawing((6,), (1, 28, 28)), code_layer="relu4")
    with pytest.raises(UsageError, match="draws 1x8x8, the model takes 1x28x28"):
        model.prototype(3, generator=drawing((6,), (1, 8, 8)))
    with pytest.raises(UnsupportedError, match="takes int64, not real numbers"):
        model.prototype(3, generator=drawing((6,), (1, 28, 28), TensorProto.INT64))
    with pytest.raises(UsageError, match="needs the layer that its code is of"):
        model.prototype(3, generator=drawing((6,), (1, 28, 28)), start=SAMPLES / "digit_7.png", steps=2)


def test_a_generator_of_its_own_codes_needs_no_layer() -> None:
    found = onnxlrp.load(DIGITS).prototype(3, generator=drawing((6,), (1, 28, 28)), pixels=(-1, 1), steps=30, n=2)
    assert found.about["codes"] == "no bounds: no codes of pictures are known"
    assert found.about["style"] == "generator"
    assert (np.diff(found.state.history[[0, -1]], axis=0) > 0).all()
