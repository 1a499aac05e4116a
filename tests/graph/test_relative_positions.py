"""Relative positions of rows and columns, as encoders with windows add them: an Einsum with a matrix for each place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp

HEADS, HEIGHT, WIDTH, EACH = 2, 3, 4, 5


def model(equation: str, weight: Any) -> Any:
    """Heads are folded into the batch, as torch writes them: [N·heads, h, w, c]."""
    shapes = {"fold": [-1, HEIGHT, WIDTH, EACH], "unfold": [0, -1]}
    nodes = [
        helper.make_node("Reshape", ["x", "fold"], ["q"]),
        helper.make_node("Einsum", ["q", "w"], ["e"], equation=equation),
        helper.make_node("Tanh", ["e"], ["t"]),
        helper.make_node("Reshape", ["t", "split"], ["s"]),
        helper.make_node("Flatten", ["s"], ["y"]),
    ]
    size = np.einsum(equation, np.zeros((HEADS, HEIGHT, WIDTH, EACH)), weight).size // HEADS
    shapes["split"] = [-1, HEADS, size]
    stored = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in shapes.items()]
    stored.append(numpy_helper.from_array(weight.astype(np.float32), "w"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "positions", [value("x", TensorProto.FLOAT, ["N", HEADS, HEIGHT * WIDTH, EACH])],
        [value("y", TensorProto.FLOAT, ["N", HEADS * size])], stored,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize(
    ("equation", "shape"),
    [
        ("bhwc,hkc->bhwk", (HEIGHT, 3, EACH)),
        ("bhwc,wkc->bhwk", (WIDTH, 4, EACH)),
        ("bhwc,ck->bhwk", (EACH, 3)),
        ("bhwc,hck->bkhw", (HEIGHT, EACH, 3)),
    ],
)
def test_a_matrix_for_each_place(equation: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=shape)
    x = rng.normal(size=(3, HEADS, HEIGHT * WIDTH, EACH)).astype(np.float32)
    loaded = onnxlrp.load(model(equation, weight), engine="reference")
    found = loaded.explain(x, 2, method="gradient")
    q = x.astype(float).reshape(3 * HEADS, HEIGHT, WIDTH, EACH)
    y = np.tanh(np.einsum(equation, q, weight))
    np.testing.assert_allclose(found.output, y.reshape(3, -1), rtol=1e-5, atol=1e-6)
    seed = np.zeros_like(y.reshape(3, -1))
    seed[:, 2] = 1
    r = seed.reshape(y.shape) * (1 - y**2)
    left, right, out = equation.replace("->", ",").split(",")
    wanted = np.einsum(f"{out},{right}->{left}", r, weight).reshape(x.shape)
    np.testing.assert_allclose(found.relevance, wanted, rtol=1e-4, atol=1e-6)
