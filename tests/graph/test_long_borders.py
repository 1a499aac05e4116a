"""Padding that reflects, repeats or wraps along an axis too long for one selection: oracle numpy.pad."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxlrp

RNG = np.random.default_rng(3)
LONG = 5000  # 5000 · 5300 elements: no small matrix


def padded(mode: str, length: int) -> tuple[onnx.ModelProto, np.ndarray]:
    """A signal [N, 1, T] with borders of 100 and 200 samples, in one weighted sum."""
    w = RNG.normal(size=(length + 300, 1)).astype(np.float32)
    constants = {"p": np.array([0, 0, 100, 0, 0, 200]), "w": w, "axes": np.array([1])}
    nodes = [
        helper.make_node("Pad", ["x", "p"], ["b"], mode=mode),
        helper.make_node("Squeeze", ["b", "axes"], ["s"]),
        helper.make_node("MatMul", ["s", "w"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info("x", 1, ["N", 1, length]), helper.make_tensor_value_info("y", 1, None)]
    weights = [numpy_helper.from_array(v, n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), w[:, 0]


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("length", [400, LONG])
def test_score_and_gradient_are_those_of_numpys_padding(mode: Any, length: int) -> None:
    proto, w = padded(mode, length)
    model, x = onnxlrp.load(proto), RNG.normal(size=(2, 1, length)).astype(np.float32)
    want = np.pad(x[:, 0].astype(np.float64), ((0, 0), (100, 200)), mode=mode) @ w
    gradient = np.zeros(length)
    np.add.at(gradient, np.pad(np.arange(length), (100, 200), mode=mode), w)
    e = model.explain(x, method="gradient")
    np.testing.assert_allclose(e.output[:, 0], want, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(e.relevance, np.broadcast_to(gradient, (2, 1, length)), rtol=1e-4, atol=1e-4)
