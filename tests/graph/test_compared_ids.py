"""Integers of an input compared with 0, 1, … as numbers: the rows of a unit matrix, as OneHot gives them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import onnxlrp

W = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)


def compared(numbers: np.ndarray) -> onnx.ModelProto:
    """Ids [N, T] compared with numbers along a last axis, as floats, times a matrix, summed over T."""
    constants = {"n": numbers, "w": W[: numbers.size], "one": np.array([1]), "last": np.array([2])}
    nodes = [
        helper.make_node("Unsqueeze", ["x", "last"], ["u"]),
        helper.make_node("Equal", ["u", "n"], ["e"]),
        helper.make_node("Cast", ["e"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["m"]),
        helper.make_node("ReduceSum", ["m", "one"], ["y"], keepdims=0),
    ]
    ends = [helper.make_tensor_value_info("x", 7, ["N", 5]), helper.make_tensor_value_info("y", 1, None)]
    weights = [numpy_helper.from_array(v, n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_each_id_has_the_weight_of_its_row() -> None:
    proto, x = compared(np.arange(7)), np.array([[0, 6, 3, 3, 1], [2, 5, 4, 0, 6]])
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    model = onnxlrp.load(proto)
    assert model.kind.name == "tokens"
    e = model.explain(x, target=1, method="gradient_x_input")
    np.testing.assert_allclose(e.output, session.run(["y"], {"x": x})[0], rtol=1e-5)
    np.testing.assert_allclose(e.relevance, W[x, 1], rtol=1e-5)


@pytest.mark.parametrize("numbers", [np.arange(7) + 1, np.arange(7)[::-1].copy()])
def test_other_numbers_keep_their_scores(numbers: np.ndarray) -> None:
    proto, x = compared(numbers), np.array([[0, 6, 3, 3, 1]])
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    e = onnxlrp.load(proto).explain(x, target=1, method="occlusion")
    np.testing.assert_allclose(e.output, session.run(["y"], {"x": x})[0], rtol=1e-5)
