"""Inputs of several shapes and types: one is explained, the others are given, and each may be the one.

Reported of meta-pytorch/captum (issues 836: floats beside ids, 928, 956: inputs of other shapes).
"""

from __future__ import annotations

from functools import partial

import numpy as np
from onnx import helper

import onnxlrp
from support.numpy_nets import conv, model, near, node, relu, slope


def test_ids_beside_numbers() -> None:
    rng = np.random.default_rng(0)
    table, w, v = rng.normal(size=(7, 3)), rng.normal(size=(5, 4)), rng.normal(size=(4, 2))
    nodes = [
        node("Gather", "table ids", "e"), node("ReduceMean", "e", "m", axes=[1], keepdims=0),
        node("Concat", "m x", "c", axis=1), node("MatMul", "c w", "a"), node("Relu", "a", "b"),
        node("MatMul", "b v", "y"),
    ]  # fmt: skip
    ids = helper.make_tensor_value_info("ids", 7, ["N", 4])
    proto = model(nodes, (2,), {"table": table, "w": w, "v": v}, more=[ids])
    x, given = rng.normal(size=(3, 2)), rng.integers(0, 7, (3, 4))

    def f(p: np.ndarray, row: np.ndarray) -> np.ndarray:
        return relu(np.concatenate([table[row].mean(axis=0), p]) @ w) @ v

    wanted = [slope(partial(lambda row, p: f(p, row)[1], row), one) for one, row in zip(x, given, strict=True)]
    for engine in ("ort", "reference"):
        made = onnxlrp.load(proto, engine=engine).explain(
            x, target=1, method="gradient", input="x", given={"ids": given}
        )
        near(made.relevance, wanted)


def test_inputs_of_two_shapes() -> None:
    rng = np.random.default_rng(1)
    k, v, u = rng.normal(size=(2, 1, 2, 2)), rng.normal(size=(2, 3)), rng.normal(size=(4, 3))
    nodes = [
        node("Conv", "x k", "a"), node("Relu", "a", "b"), node("GlobalAveragePool", "b", "p"),
        node("Flatten", "p", "f"),
        node("MatMul", "f v", "g"), node("MatMul", "row u", "h"), node("Add", "g h", "y"),
    ]  # fmt: skip
    row = helper.make_tensor_value_info("row", 1, ["N", 4])
    loaded = onnxlrp.load(model(nodes, (1, 4, 4), {"k": k, "v": v, "u": u}, more=[row]))
    x, values = rng.normal(size=(2, 1, 4, 4)), rng.normal(size=(2, 4))
    near(loaded.explain(values, target=2, method="gradient", input="row", given={"x": x}).relevance, [u[:, 2]] * 2)
    wanted = [slope(lambda p: (relu(conv(p, k)).mean(axis=(1, 2)) @ v)[2], one) for one in x]
    near(loaded.explain(x, target=2, method="gradient", input="x", given={"row": values}).relevance, wanted)
