"""Outputs of texts: a score of each token where an answer begins and ends; texts with several choices."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp

WORDS, WIDTH, LENGTH, CHOICES = 20, 6, 5, 3


def answers(names: tuple[str, str] = ("start_logits", "end_logits")) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    sizes = {"table": (WORDS, WIDTH), "w": (WIDTH, 1), "v": (WIDTH, 1)}
    weights = [numpy_helper.from_array(rng.normal(size=size).astype(np.float32), k) for k, size in sizes.items()]
    weights.append(numpy_helper.from_array(np.array([2]), "axis"))
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["e"]), helper.make_node("Tanh", ["e"], ["t"])]
    for name, w in zip(names, "wv", strict=True):
        nodes += [
            helper.make_node("MatMul", ["t", w], [w + "2"]),
            helper.make_node("Squeeze", [w + "2", "axis"], [name]),
        ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", LENGTH])
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", LENGTH]) for name in names]
    graph = helper.make_graph(nodes, "answers", [ids], outs, weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])


def test_scores_of_tokens_are_no_classes() -> None:
    model = onnxlrp.load(answers(), engine="reference")
    assert "a score of each token" in model.head.remark
    assert "begins" in model.head.remark
    assert "ends" in model.choose(output="end_logits").head.remark
    assert not onnxlrp.load(answers(("a", "b")), engine="reference").head.remark
    x = np.random.default_rng(1).integers(1, WORDS, (3, LENGTH))
    z = onnxruntime.InferenceSession(answers().SerializeToString()).run(None, {"input_ids": x})
    found = model.explain(x, method="gradient_x_input")
    assert found.target.tolist() == z[0].argmax(axis=1).tolist()
    ends = model.explain(x, 2, output="end_logits", method="gradient_x_input")
    np.testing.assert_allclose(ends.logit, z[1][:, 2], rtol=1e-5)


@pytest.mark.parametrize("name", ["input_ids", "token_ids"])
def test_the_mask_of_texts_with_several_choices_is_assumed(name: str) -> None:
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=(WORDS, WIDTH)).astype(np.float32), "table"),
        numpy_helper.from_array(rng.normal(size=(WIDTH, 1)).astype(np.float32), "w"),
        *(numpy_helper.from_array(np.array(value), k) for k, value in
          {"rows": [-1, LENGTH], "scores": [-1, CHOICES], "last": [2], "texts": [-1, LENGTH, 1]}.items()),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Reshape", [name, "rows"], ["flat"]),
        helper.make_node("Gather", ["table", "flat"], ["e"]),
        helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["seen", "texts"], ["s"]),
        helper.make_node("Mul", ["e", "s"], ["m"]),
        helper.make_node("ReduceMean", ["m"], ["p"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["p", "w"], ["z"]),
        helper.make_node("Reshape", ["z", "scores"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info(word, TensorProto.INT64, ["N", CHOICES, LENGTH])
        for word in (name, "attention_mask")
    ]
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CHOICES])
    graph = helper.make_graph(nodes, "choices", inputs, [out], weights)
    file = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    x = np.random.default_rng(1).integers(1, WORDS, (2, CHOICES, LENGTH))
    model = onnxlrp.load(file)
    found = model.explain(x, method="occlusion")
    run = onnxruntime.InferenceSession(file.SerializeToString()).run
    z = run(None, {name: x, "attention_mask": np.ones_like(x)})[0]
    assert found.target.tolist() == z.argmax(axis=1).tolist()
    np.testing.assert_allclose(found.logit, z.max(axis=1), rtol=1e-5)
    assert any("1 for every token but padding, assumed" in said for said, _ in model.notes)
