"""Gelu, however it is written, is one layer again; what merely looks like it stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from onnxlrp.graph.load import load
from onnxlrp.graph.writing.to_onnx import emit
from support import small_nets
from support.small_nets import Net

ONE, HALF = np.array(1.0), np.array(0.5)


def tanh(n: Net, x: Any, cubic: float = 0.044715) -> Any:
    cube = n.op("Pow", x, np.array(3.0))
    inner = n.op("Add", x, n.op("Mul", np.array(cubic), cube))
    return n.op("Tanh", n.op("Mul", np.array(math.sqrt(2 / math.pi)), inner))


def half_first(n: Net, x: Any) -> Any:
    return n.op("Mul", n.op("Mul", HALF, x), n.op("Add", ONE, tanh(n, x)))


def half_last(n: Net, x: Any) -> Any:
    return n.op("Mul", n.op("Mul", x, n.op("Add", tanh(n, x), ONE)), HALF)


def factored(n: Net, x: Any) -> Any:
    """x·(1 + 0.044715 x²), as some write it."""
    inner = n.op("Mul", x, n.op("Add", n.op("Mul", n.op("Mul", x, x), np.array(0.044715)), ONE))
    t = n.op("Tanh", n.op("Mul", inner, np.array(math.sqrt(2 / math.pi))))
    return n.op("Mul", x, n.op("Mul", n.op("Add", t, ONE), HALF))


def by_erf(n: Net, x: Any) -> Any:
    normal = n.op("Add", n.op("Erf", n.op("Mul", x, np.array(math.sqrt(0.5)))), ONE)
    return n.op("Mul", HALF, n.op("Mul", normal, x))


@pytest.mark.parametrize("write", [half_first, half_last, factored, by_erf])
def test_gelu_is_found(write: Any) -> None:
    n = small_nets.Net(3, 4)
    model = n.model(n.op("Neg", write(n, n.op("Mul", "x", np.array(1.5)))))
    graph = load(model)
    assert [layer.op for layer in graph.layers] == ["Mul", "Gelu", "Neg"]
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("f")
    first, second = (ort.InferenceSession(m.SerializeToString()).run(None, {"x": x})[0] for m in (model, emit(graph)))
    np.testing.assert_allclose(first, second, atol=1e-6)


def another_constant(n: Net) -> Any:
    return n.op("Mul", n.op("Mul", HALF, "x"), n.op("Add", ONE, tanh(n, "x", 0.05)))


def read_in_between(n: Net) -> Any:
    t = tanh(n, "x")
    return n.op("Add", t, n.op("Mul", n.op("Mul", HALF, "x"), n.op("Add", ONE, t)))


def of_two_tensors(n: Net) -> Any:
    return n.op("Mul", n.op("Mul", HALF, n.relu("x")), n.op("Add", ONE, tanh(n, "x")))


@pytest.mark.parametrize("write", [another_constant, read_in_between, of_two_tensors])
def test_what_is_no_gelu_stays(write: Any) -> None:
    n = small_nets.Net(3, 4)
    assert "Gelu" not in {layer.op for layer in load(n.model(n.op("Neg", write(n)))).layers}
