"""GridSample: values by a loop written from the definition, gradients by finite differences."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from support import graph_judge
from support.random_graphs.graph import Made

CASES = [
    (axes, mode, padding, corners, fixed)
    for axes, modes in ((2, ("nearest", "linear", "cubic")), (3, ("nearest", "linear")))
    for mode, padding in itertools.product(modes, ("zeros", "border", "reflection"))
    for corners, fixed in ((0, False), (1, True))
]
OLD = {"linear": "bilinear", "cubic": "bicubic"}
CHANNELS, SPACE, RESULT = 2, (3, 4, 5), (2, 3, 2)


def sampled(
    axes: int, mode: str, padding: str, corners: int, fixed: bool, opset: int = 22, channels: int = CHANNELS
) -> Any:
    """A model that samples its input at fixed points, or at points that it computes; a sample of it; the points."""
    rng = np.random.default_rng(0)
    space, result = SPACE[-axes:], RESULT[-axes:]
    points = rng.uniform(-1.8, 1.8, size=(1, *result, axes)).astype(np.float32)
    weights = {
        "points": points,
        "w": (0.0 if fixed else 0.15) * rng.normal(size=(channels * math.prod(space), points.size)).astype(np.float32),
        "shape": np.array([-1, *points.shape[1:]]),
        "tail": np.array(points.shape[1:]),
        "v": rng.normal(size=(channels * math.prod(result), 3)).astype(np.float32),
    }
    computed = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["moves"]),
        helper.make_node("Reshape", ["moves", "shape"], ["placed"]),
        helper.make_node("Add", ["placed", "points"], ["grid"]),
    ]
    expanded = [
        helper.make_node("Shape", ["x"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "tail"], ["wide"], axis=0),
        helper.make_node("Expand", ["points", "wide"], ["grid"]),
    ]
    name = OLD.get(mode, mode) if opset < 20 else mode
    nodes = [
        *(expanded if fixed else computed),
        helper.make_node(
            "GridSample", ["x", "grid"], ["drawn"], mode=name, padding_mode=padding, align_corners=corners
        ),
        helper.make_node("Flatten", ["drawn"], ["each"]),
        helper.make_node("MatMul", ["each", "v"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", channels, *space]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3]),
    ]
    stored = [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", opset)])
    x = rng.normal(size=(3, channels, *space)).astype(np.float32)
    return model, x, points[0], weights["v"]


def kernel(mode: str, distance: float) -> float:
    """The weight of an element at a distance from the point; cubic by Keys (1981), a = -3/4."""
    d, a = abs(distance), -0.75
    if mode == "linear":
        return max(0.0, 1 - d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def element(n: int, place: int, padding: str, corners: int) -> int | None:
    """The element of n that stands at a place, which may be outside; None for a zero."""
    if 0 <= place < n:
        return place
    if padding != "reflection":
        return None if padding == "zeros" else min(max(place, 0), n - 1)
    row = [*range(n), *range(n - 2, 0, -1)] if corners else [*range(n), *range(n - 1, -1, -1)]
    return row[place % len(row)]


def by_hand(x: Any, points: Any, mode: str, padding: str, corners: int) -> Any:
    """x [C, *space] at points [*result, axes]."""
    space, result = x.shape[1:], points.shape[:-1]
    y = np.zeros((len(x), *result))
    for at in np.ndindex(*result):
        along = []
        for n, c in zip(space, points[at][::-1].astype(np.float64), strict=True):
            p = (c + 1) / 2 * (n - 1) if corners else ((c + 1) * n - 1) / 2
            if mode == "nearest":
                found = [(round(p), 1.0)]
            else:
                found = [(k, kernel(mode, p - k)) for k in range(math.floor(p) - 2, math.floor(p) + 4)]
            along.append([(element(n, k, padding, corners), w) for k, w in found])
        for taps in itertools.product(*along):
            if all(k is not None for k, _ in taps):
                y[(slice(None), *at)] += math.prod(w for _, w in taps) * x[(slice(None), *(k for k, _ in taps))]
    return y


@pytest.mark.parametrize(("axes", "mode", "padding", "corners", "fixed"), [case for case in CASES if case[-1]])
def test_values_are_those_of_the_definition(axes: int, mode: str, padding: str, corners: int, fixed: bool) -> None:
    model, x, points, v = sampled(axes, mode, padding, corners, fixed)
    found = onnxlrp.load(model, engine="reference").outputs(x)["logits"]
    wanted = [by_hand(row.astype(np.float64), points, mode, padding, corners).ravel() @ v for row in x]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("axes", "mode", "padding", "corners", "fixed"), CASES)
def test_points_have_gradients_and_elements_relevance(
    axes: int, mode: str, padding: str, corners: int, fixed: bool
) -> None:
    model, x, _, _ = sampled(axes, mode, padding, corners, fixed)
    assert graph_judge.judge(Made(model, x, {}, False)) == "explained"


@pytest.mark.parametrize(("mode", "opset", "channels"), [("linear", 16, 1), ("cubic", 16, 2), ("linear", 20, 2)])
def test_points_that_the_model_computes(mode: str, opset: int, channels: int) -> None:
    """Against the file's own scores, finite differences, and the ledger; of one channel too."""
    model, x, _, _ = sampled(2, mode, "zeros", 0, False, opset, channels)
    assert graph_judge.judge(Made(model, x, {}, False), export=False) == "explained"


def test_points_are_the_gate_of_the_elements() -> None:
    """Relevance goes to the elements that are sampled: those that no point is near have none."""
    model, x, _, _ = sampled(2, "linear", "zeros", 0, False, channels=1)
    found = onnxlrp.load(model, engine="reference").explain(x, method="epsilon", target=1)
    np.testing.assert_allclose(found.relevance.reshape(3, -1).sum(axis=1), found.output[:, 1], rtol=1e-3)
    assert (found.relevance == 0).any()
