"""Dropout that was left in a file does nothing: the same map twice, and that of the network without it.

Reported of microsoft/onnxruntime (issue 5549), onnx/onnx (issues 1173, 4855) and pytorch/pytorch (issue 24824).
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from support.numpy_nets import check, model, node, relu


@pytest.mark.parametrize("opset", [9, 13])
def test_left_in(opset: int) -> None:
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(5, 6)), rng.normal(size=(6, 3))
    drop = node("Dropout", "b ratio", "c") if opset > 11 else node("Dropout", "b", "c", ratio=0.9)
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "b"), drop, node("MatMul", "c v", "y")]
    constants = {"w": w, "v": v} | ({"ratio": np.float32(0.9)} if opset > 11 else {})
    proto = model(nodes, (5,), constants, opset=opset)
    x = rng.normal(size=(3, 5))
    check(proto, lambda one: relu(one @ w) @ v, x, target=2)
    loaded = onnxlrp.load(proto)
    first, second = (loaded.explain(x, target=2, method="epsilon").relevance for _ in range(2))
    assert np.array_equal(first, second)
