"""Two towers in one file: the logit of a picture with a text, explained for either, against numpy."""

from __future__ import annotations

import ast
import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from support.arrays import Array
from support.tiny_models import node

RNG = np.random.default_rng(2)
TABLE, IMAGE = (RNG.normal(size=shape).astype(np.float32) for shape in ((7, 3), (4, 3)))
SCALE, SHIFT = 5.0, -0.5
IDS = np.array([[1, 4, 0, 6], [3, 3, 5, 2], [2, 0, 0, 1]])
X = RNG.normal(size=(2, 4)).astype(np.float32)


def towers(ends: Any = (), spelling: str = "matmul", outputs: Any = ("per_image", "per_text", "embedded")) -> bytes:
    """Logits of values x [I, 4] with ids [T, L] of a bag of words, cosines times a scale, with a shift."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("ReduceL2", ["a", "last"], ["a/norm"]),
        node("Div", ["a", "a/norm"], ["embedded"]),
        node("Gather", ["table", "input_ids"], ["e"]),
        node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["seen", "last"], ["seen/wide"]),
        node("Mul", ["e", "seen/wide"], ["e/seen"]),
        node("ReduceSum", ["e/seen", "middle"], ["b"], keepdims=0),
        node("ReduceL2", ["b", "last"], ["b/norm"]),
        node("Div", ["b", "b/norm"], ["b/unit"]),
    ]
    if spelling == "gemm":
        nodes.append(node("Gemm", ["b/unit", "embedded"], ["products"], transB=1))
    else:
        nodes += [node("Transpose", ["embedded"], ["t"], perm=[1, 0]), node("MatMul", ["b/unit", "t"], ["products"])]
    nodes += [
        node("Mul", ["products", "scale"], ["scaled"]),
        node("Add", ["scaled", "shift"], ["per_text"]),
        node("Transpose", ["per_text"], ["per_image"], perm=[1, 0]),
        *ends,
    ]
    held = {"table": TABLE, "w": IMAGE, "scale": np.float32(SCALE), "shift": np.full(1, SHIFT, np.float32)}
    held |= {"last": np.array([-1]), "middle": np.array([1])}
    ids, texts = TensorProto.INT64, ["texts", "length"]
    graph = helper.make_graph(
        nodes,
        "towers",
        [
            helper.make_tensor_value_info("input_ids", ids, texts),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["images", 4]),
            helper.make_tensor_value_info("attention_mask", ids, texts),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m"]) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def unit(z: Array) -> Array:
    return np.asarray(z / np.linalg.norm(z, axis=-1, keepdims=True))


def cosines() -> Array:
    """Of every value with every text [I, T]."""
    return np.asarray(unit(X @ IMAGE) @ unit(TABLE[IDS].sum(axis=1)).T)


@pytest.mark.parametrize("spelling", ["matmul", "gemm"])
def test_values_for_a_text(spelling: str) -> None:
    model = onnxlrp.load(towers(spelling=spelling), engine="reference")
    assert any("with what is given beside it" in text for text, _ in model.notes)
    for j in range(3):
        found = model.explain(X, input="x", method="epsilon", given={"input_ids": IDS[j : j + 1]}, ledger=True)
        np.testing.assert_allclose(found.logit, SCALE * cosines()[:, j] + SHIFT, rtol=1e-5)
        weights = IMAGE @ unit(TABLE[IDS[j]].sum(axis=0)) * SCALE
        norms = np.linalg.norm(X @ IMAGE, axis=1, keepdims=True)
        shares = X * weights / norms * (found.logit / (found.logit - SHIFT))[:, None]  # a shift is passed over
        np.testing.assert_allclose(found.relevance, shares, rtol=1e-3)
        assert all(row.error < 1e-5 for row in found.ledger)


def test_a_text_for_each_and_for_a_picture() -> None:
    model = onnxlrp.load(towers())
    each = model.explain(X, input="x", method="gradient_x_input", given={"input_ids": IDS[:2]})
    np.testing.assert_allclose(each.logit, SCALE * np.diag(cosines()) + SHIFT, rtol=1e-5)
    found = model.explain(IDS, input="input_ids", method="gradient_x_input", given={"x": X[:1]})
    np.testing.assert_allclose(found.logit, SCALE * cosines()[0] + SHIFT, rtol=1e-5)
    a, b = unit(X @ IMAGE)[0], TABLE[IDS].sum(axis=1)
    slopes = (a - cosines()[0][:, None] * unit(b)) / np.linalg.norm(b, axis=1, keepdims=True) * SCALE
    np.testing.assert_allclose(found.relevance, np.einsum("tld,td->tl", TABLE[IDS], slopes), rtol=1e-3, atol=1e-4)
    hidden = np.array([[1, 1, 0, 1]])
    masked = model.explain(IDS, input="input_ids", method="epsilon", given={"x": X[:1], "attention_mask": hidden})
    assert (masked.relevance[:, 2] == 0).all()


def test_one_tower_is_compared() -> None:
    model = onnxlrp.load(towers())
    found = model.explain(X[:1], input="x", output="embedded", similar_to=X[1], method="epsilon")
    np.testing.assert_allclose(found.logit, [unit(X @ IMAGE)[0] @ unit(X @ IMAGE)[1]], rtol=1e-5)


def test_what_is_behind_all_pairs_is_refused_with_the_logits_to_explain(tmp_path: Any) -> None:
    """A Softmax over the texts is of all of them; the file up to its logits is explained."""
    mixed = towers([node("Softmax", ["per_image"], ["chances"], axis=-1)], outputs=("chances",))
    given = {"input_ids": IDS[:1], "attention_mask": 1}
    with pytest.raises(onnxlrp.OnnxLrpError, match=r"Softmax.* mixes the logits of all pairs") as refused:
        onnxlrp.load(mixed).explain(X, input="x", method="epsilon", given=given)
    call = re.search(r"extract_model\(FILE, NEW, (\[.*\]), (\[.*\])\)", str(refused.value))
    assert call is not None
    (tmp_path / "mixed.onnx").write_bytes(mixed)
    ends = (ast.literal_eval(names) for names in call.groups())
    onnx.utils.extract_model(tmp_path / "mixed.onnx", tmp_path / "logits.onnx", *ends)
    found = onnxlrp.load(tmp_path / "logits.onnx").explain(X, input="x", method="epsilon", given=given)
    np.testing.assert_allclose(found.logit, SCALE * cosines()[:, 0] + SHIFT, rtol=1e-5)
