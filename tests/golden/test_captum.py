"""captum's attributions in float64 (tests/golden, made by captum_goldens.py there) against ours, and where we differ.

captum's KernelShap draws coalitions of its own, so that its ShapleyValues, which are exact, stand for what ours finds
when it asks all coalitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.methods.problem import Problem
from onnxlrp.methods.registry import METHODS, make
from support.arrays import Array

GOLDEN = Path(__file__).parent
# The reference engine computes in float64 as captum did: 1e-6 of the sample's max|R|. The goldens are rounded to
# float32, and so are captum's occlusion and our interpolation on the way (1e-7); captum adds up the Shapley values of
# 120 orders in float32 (6e-7).
EXACT = 1e-6
# In float32 we may be as far off as captum in float32 is, thrice; where captum is lucky, 1e-5.
FACTOR, FLOOR = 3, 1e-5
LAYERS = {"vgg": "features.3", "resnet": "layer1.0.plus"}  # as wide as the input, the second without a ReLU behind


def as_it_is(relevance: Any) -> Any:
    return relevance


def on_the_grid(relevance: Any) -> Any:
    """What masks and maps give is for a pixel: we share it among the channels, so that ΣR keeps its meaning; captum's
    Occlusion repeats it for each channel, and its Grad-CAM has one channel."""
    return relevance.sum(axis=1)


def without_the_edge(relevance: Any) -> Any:
    """Where windows do not fit, captum's last ones hang over the edge and are smaller, ours end at it and are whole:
    windows of 5 of 16 pixels in steps of 4 start at 0, 4, 8 and captum's at 12, ours at 11. Before 11 all is one."""
    return on_the_grid(relevance)[:, :11, :11]


def by_segment(relevance: Any) -> Array:
    """captum writes the value of a segment into each of its pixels, we spread it over them."""
    labels = golden()["segments"]
    return np.stack([on_the_grid(relevance)[:, labels == label].sum(axis=1) for label in range(5)], axis=1)


@dataclass(frozen=True)
class Case:
    """A golden, the method that should give it, and what of either is compared."""

    theirs: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    ours: Callable[[Any], Any] = as_it_is
    expected: Callable[[Any], Any] = as_it_is


PATH = {"steps": 32}  # captum calls the midpoint rule riemann_middle
NOISE = {"samples": 5, "sigma": 0.15, "seed": 0}  # captum was given this noise: it draws from torch's generator
CASES = (
    # captum's saliency is |∂f/∂x|, ours is squared, or joins the channels.
    Case("saliency", "sensitivity", expected=np.square),
    Case("saliency", "sensitivity", {"norm": "linf"}, on_the_grid, lambda slope: slope.max(axis=1)),
    Case("saliency", "sensitivity", {"norm": "l2"}, on_the_grid, lambda slope: np.linalg.norm(slope, axis=1)),
    Case("input_x_gradient", "gradient_x_input"),
    Case("guided_backprop", "guided_backprop"),
    Case("deconvolution", "deconvnet"),
    Case("integrated_zero", "integrated_gradients", {"baseline": "zero", **PATH}),
    Case("integrated_mean", "integrated_gradients", {"baseline": "mean", **PATH}),
    # Of NoiseTunnel over the gradient. Over InputXGradient it would be E[(x + ε) ∇f(x + ε)], which is not our
    # times_input, x E[∇f(x + ε)].
    Case("smoothgrad", "smooth_grad", NOISE),
    # Both divide by the number of samples, not by one less.
    Case("vargrad", "var_grad", NOISE),
    # The last map, interpolated. captum's Grad-CAM clips at 0 only if told so (relu_attributions).
    Case("grad_cam_last", "grad_cam", ours=on_the_grid),
    Case("grad_cam_early", "grad_cam", {"layer": LAYERS}, on_the_grid),
    # captum has no LayerCAM, but its ∂f/∂A ⊙ A is that before the clipping, where A ≥ 0: behind a ReLU.
    Case("gradient_x_activation", "layer_cam", ours=on_the_grid),
    # The mean drop over the windows that cover a pixel, here and there. captum takes what the model returns: a softmax
    # was appended for the second.
    Case("occlusion", "occlusion", {"window": 4, "stride": 2, "baseline": "zero", "score": "logit"}, on_the_grid),
    Case("occlusion_probability", "occlusion", {"window": 4, "stride": 3, "baseline": "grey"}, on_the_grid),
    Case(
        "occlusion_over_the_edge", "occlusion", {"window": 5, "stride": 4, "baseline": "mean", "score": "logit"},
        without_the_edge, lambda drop: drop[:, :11, :11],
    ),
    Case("shapley", "kernel_shap", {"samples": 32, "baseline": "zero"}, by_segment),
)  # fmt: skip
PAIRS = [
    pytest.param(net, case, id="-".join((net, case.theirs, case.options.get("norm", case.method))))
    for net in LAYERS
    for case in CASES
]


@cache
def golden() -> Any:
    with np.load(GOLDEN / "captum.npz") as arrays:
        return dict(arrays)


@cache
def asked(net: Any) -> Any:
    with np.load(GOLDEN / f"{net}.npz") as arrays:
        return dict(arrays)


@cache
def model(net: Any, engine: Any) -> Any:
    return onnxlrp.load(GOLDEN / f"{net}.onnx", engine=engine)


def options(net: Any, case: Any) -> Any:
    chosen = dict(case.options)
    if "layer" in chosen:
        chosen["layer"] = chosen["layer"][net]
    return chosen | ({"segments": golden()["segments"].astype(int)} if case.method == "kernel_shap" else {})


def exactly(net: Any, method: Any, **chosen: Any) -> Any:
    """In float64, from x that is not rounded on the path or under noise, as `explain` would round it to the model's
    float32."""
    data = asked(net)
    problem = Problem(model(net, "reference"), data["x"].astype(np.float64), data["target"])
    if not METHODS[method].is_composite:
        return make(method, **chosen)(problem)
    return model(net, "reference").explain(data["x"], target=data["target"], method=method, **chosen)


def distance(ours: Any, theirs: Any) -> Any:
    """The largest difference within a sample, of its largest value."""
    axes = tuple(range(1, theirs.ndim))
    assert ours.shape == theirs.shape
    return (np.abs(ours - theirs).max(axis=axes) / np.abs(theirs).max(axis=axes)).max()


@pytest.mark.few(12)
@pytest.mark.parametrize(("net", "case"), PAIRS)
def test_reference_engine_is_captum_in_float64(net: Any, case: Any) -> None:
    found = exactly(net, case.method, **options(net, case)).relevance
    theirs = golden()[f"{net}/{case.theirs}"].astype(np.float64)
    assert distance(case.ours(found), case.expected(theirs)) < EXACT


@pytest.mark.parametrize(("net", "case"), PAIRS)
def test_ort_engine_is_as_exact_as_captum_in_float32(net: Any, case: Any) -> None:
    data = asked(net)
    found = model(net, "ort").explain(data["x"], target=data["target"], method=case.method, **options(net, case))
    theirs = golden()[f"{net}/{case.theirs}"].astype(np.float64)
    allowed = max(FACTOR * float(golden()[f"error/{net}/{case.theirs}"]), FLOOR)
    assert distance(case.ours(found.relevance.astype(np.float64)), case.expected(theirs)) < allowed


@pytest.mark.parametrize("start", ["zero", "mean"])
@pytest.mark.parametrize("net", LAYERS)
def test_completeness_error_is_captums_convergence_delta(net: str, start: str) -> None:
    # ΣR - (f(x) - f(x₀)): of the same sign, and so small beside f that 1e-6 of it asks for float64 throughout.
    notes = exactly(net, "integrated_gradients", baseline=start, **PATH).notes
    np.testing.assert_allclose(notes["completeness error"], golden()[f"{net}/integrated_{start}_delta"], rtol=EXACT)


def test_every_golden_is_compared() -> None:
    compared = {f"{net}/{case.theirs}" for net in LAYERS for case in CASES}
    stored = {name for name in golden() if name.startswith(tuple(f"{net}/" for net in LAYERS))}
    assert {name for name in stored if not name.endswith("_delta")} == compared
