"""Outputs that are embeddings: told by the division by their norm, in the forms of exporters, or by their name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxlrp
from support.small_nets import Net

Make = Callable[[Net, str], str]


def _reduce_l2(n: Net, z: str) -> str:
    norm = n.op("Clip", n.op("ReduceL2", z, np.array([1]), keepdims=1), np.array(1e-12))
    return n.op("Div", z, n.op("Expand", norm, n.op("Shape", z)))


def _root_of_squares(n: Net, z: str) -> str:
    total = n.op("ReduceSum", n.op("Mul", z, z), np.array([1]), keepdims=1)
    return n.op("Div", z, n.op("Sqrt", n.op("Add", total, np.array(1e-10))))


def _power(n: Net, z: str) -> str:
    total = n.op("ReduceSum", n.op("Pow", z, np.array(2.0)), np.array([1]), keepdims=1)
    return n.op("Div", z, n.op("Pow", total, np.array(0.5)))


def _reciprocal(n: Net, z: str) -> str:
    return n.op("Mul", n.op("Reciprocal", n.op("ReduceL2", z, np.array([1]), keepdims=1)), z)


def _lp(n: Net, z: str) -> str:
    return n.op("LpNormalization", z, axis=1, p=2)


NORMS: dict[str, Make] = {
    "ReduceL2": _reduce_l2,
    "root": _root_of_squares,
    "power": _power,
    "reciprocal": _reciprocal,
    "LpNormalization": _lp,
}
OTHERS: dict[str, Make] = {
    "plain": lambda n, z: z,
    "softmax": lambda n, z: n.op("Softmax", z, axis=1),
    "shares": lambda n, z: n.op("Div", n.op("Exp", z), n.op("ReduceSum", n.op("Exp", z), np.array([1]), keepdims=1)),
    "of another": lambda n, z: n.op("Div", z, n.op("ReduceL2", n.op("Relu", z), np.array([1]), keepdims=1)),
}


def made(make: Make, name: str = "y") -> onnx.ModelProto:
    n = Net(5)
    z = make(n, n.op("MatMul", "x", np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)))
    n.nodes.append(helper.make_node("Identity", [z], [name]))
    return n.model(name)


@pytest.mark.parametrize("form", NORMS)
def test_a_vector_divided_by_its_norm_is_an_embedding(form: str) -> None:
    model = onnxlrp.load(made(NORMS[form]), engine="reference")
    assert model.head.kind == "Values"
    assert "division by its norm" in model.head.remark
    x = np.random.default_rng(1).normal(size=(2, 5)).astype(np.float32)
    found = model.explain(x, method="gradient")
    values = x.astype(np.float64) @ np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    values /= np.sqrt((values**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found.output, values, rtol=1e-4, atol=1e-6)  # shown as values, through no Softmax
    assert found.quantity == "value"
    stated = model.choose(task="classification")
    assert (stated.head.kind, stated.head.remark) == ("", "")


@pytest.mark.parametrize("form", OTHERS)
def test_others_are_none(form: str) -> None:
    assert not onnxlrp.load(made(OTHERS[form]), engine="reference").head.remark


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("sentence_embedding", True), ("image_embeds", True), ("text_features", True), ("xvector", True),
     ("pooler_output", True), ("logits", False), ("embedded_scores", False), ("defeatures", False)],
)  # fmt: skip
def test_names_tell_embeddings(name: str, is_one: bool) -> None:
    assert ("by its name" in onnxlrp.load(made(OTHERS["plain"], name), engine="reference").head.remark) == is_one


def test_the_vector_of_a_sample_is_compared_before_those_of_its_tokens() -> None:
    n = Net(3, 4)
    tokens = n.op("MatMul", "x", np.ones((4, 6), np.float32))
    pooled = _reduce_l2(n, n.op("ReduceMean", tokens, np.array([1]), keepdims=0))
    names = ("token_embeddings", "y")
    n.nodes += [helper.make_node("Identity", [a], [b]) for a, b in zip((tokens, pooled), names, strict=True)]
    file = n.model(names[0])
    file.graph.output.append(helper.make_tensor_value_info(names[1], onnx.TensorProto.FLOAT, None))
    model = onnxlrp.load(onnx.shape_inference.infer_shapes(file), engine="reference").for_seed("cosine")
    assert model.seeded is not None
    assert model.seeded.tensor == "y"
    assert "division by its norm" in model.notes[0][0]


def test_scores_of_classes_are_taken_before_an_embedding() -> None:
    n = Net(5)
    z = n.op("MatMul", "x", np.ones((5, 6), np.float32))
    n.nodes.append(helper.make_node("Identity", [z], ["embedding"]))
    n.nodes.append(helper.make_node("MatMul", [z, n.weight(np.ones((6, 3)))], ["logits"]))
    file = n.model("embedding")
    file.graph.output.append(helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None))
    model = onnxlrp.load(onnx.shape_inference.infer_shapes(file), engine="reference")
    assert model.choice is not None
    assert model.choice.output == "logits"
