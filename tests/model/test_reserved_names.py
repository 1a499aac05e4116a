"""A model may call its tensors as it likes: no name of ours takes the place of one of its inputs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp

NAMES = ("target", "relevance", "seed", "logits", "scores", "record", "activation")
RNG = np.random.default_rng(0)
TABLE, W = RNG.normal(size=(9, 6)).astype(np.float32), RNG.normal(size=(6, 4)).astype(np.float32)
X, ROWS = RNG.normal(size=(2, 6)).astype(np.float32), np.array([7, 3])


def network(name: str) -> onnx.ModelProto:
    """relu(x + table[name]) W, with an input of this name."""
    nodes = [
        helper.make_node("Gather", ["table", name], ["row"], axis=0),
        helper.make_node("Add", ["x", "row"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "w"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6]),
        helper.make_tensor_value_info(name, TensorProto.INT64, ["N"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])]
    weights = [numpy_helper.from_array(TABLE, "table"), numpy_helper.from_array(W, "w")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("engine", ["ort", "reference"])
def test_an_input_keeps_its_values_whatever_it_is_called(name: str, engine: str) -> None:
    model = network(name)
    e = onnxlrp.load(model, engine=engine).explain(X, target=1, method="gradient", given={name: ROWS})
    untouched = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(e.output, untouched.run(None, {"x": X, name: ROWS})[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(e.relevance, ((X + TABLE[ROWS]) > 0) * W[:, 1], rtol=1e-5)
