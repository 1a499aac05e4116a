"""Recognisers of text: convolutions read a line of one height, and give scores of characters at positions along it.

Oracle: onnxruntime's session of the file.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import onnxlrp

X = np.random.default_rng(2).normal(size=(1, 3, 32, 160)).astype(np.float32)


def recogniser(height: int, blank: float = 0.0, steps_first: bool = False) -> onnx.ModelProto:
    """A convolution as high as the line, one position for 8 columns, five characters behind the blank at each."""
    rng = np.random.default_rng(4)
    constants = {
        "k": rng.normal(size=(6, 3, height, 8)).astype(np.float32), "w": rng.normal(size=(6, 6)).astype(np.float32),
        "b": np.array([blank, *[0] * 5], np.float32), "axis": np.array([2]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], strides=[1, 8]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Squeeze", ["r", "axis"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=[2, 0, 1] if steps_first else [0, 2, 1]),
        helper.make_node("MatMul", ["t", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=2),
    ]
    ends = [
        helper.make_tensor_value_info("x", 1, ["N", 3, "height", "width"]),
        helper.make_tensor_value_info("y", 1, None),
    ]
    weights = [numpy_helper.from_array(v, n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("height", [48, 32, 64])
def test_the_height_of_a_line_is_found(height: int) -> None:
    proto = recogniser(height)
    model = onnxlrp.load(proto)
    assert model.graph.inputs[0].shape == (3, height, 224)
    x = np.random.default_rng(3).normal(size=(2, 3, height, 80)).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    e = model.explain(x, target="2@4")
    np.testing.assert_allclose(e.probabilities, session.run(["y"], {"x": x})[0][:, 4], rtol=1e-4)


def test_another_height_is_an_error_that_names_the_contradiction() -> None:
    with pytest.raises(onnxlrp.errors.OnnxLrpError, match=r"Squeeze|squeeze"):
        onnxlrp.load(recogniser(48), size=(100, 224))


@pytest.mark.parametrize("steps_first", [False, True])
def test_the_blank_is_not_the_best_class(steps_first: bool) -> None:
    """Where most positions hold the blank and some do not, the character at the most positions is explained."""
    proto = recogniser(32, 100.0, steps_first)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    best = session.run(["y"], {"x": X})[0].reshape(20, 6).argmax(axis=1)
    counts = np.bincount(best, minlength=6)
    assert counts[0] > 10
    assert counts[0] < 20
    e = onnxlrp.load(proto, size=(32, 160)).explain(X)
    assert e.target[0] != 0
    assert counts[e.target[0]] == counts[1:].max()


def test_the_blank_is_explained_where_it_is_asked_for_or_nothing_else_is_read() -> None:
    assert onnxlrp.load(recogniser(32, 100.0)).explain(X, target=0).target[0] == 0
    assert onnxlrp.load(recogniser(32, 1e3)).explain(X).target[0] == 0
