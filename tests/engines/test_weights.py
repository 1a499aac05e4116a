"""Weights that onnxruntime is handed need not lie in one block of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp

SIZE = 160  # of weights above 64 kB, which are handed over instead of copied
RNG = np.random.default_rng(0)
FUSED = RNG.normal(size=(SIZE, 3 * SIZE)).astype(np.float32)
Parts = tuple[list[onnx.NodeProto], list[onnx.TensorProto], np.ndarray[Any, Any]]  # nodes, constants, the weight
X = RNG.normal(size=(2, SIZE)).astype(np.float32)


def _integers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _sliced() -> Parts:
    """The middle third of one weight, as a fused projection of queries, keys and values has it."""
    node = helper.make_node("Slice", ["fused", "start", "end", "axis"], ["w"])
    ends = [_integers("start", SIZE), _integers("end", 2 * SIZE), _integers("axis", 1)]
    return [node], [numpy_helper.from_array(FUSED, "fused"), *ends], FUSED[:, SIZE : 2 * SIZE]


def _split() -> Parts:
    node = helper.make_node("Split", ["fused"], ["u", "v", "w"], axis=1, num_outputs=3)
    return [node], [numpy_helper.from_array(FUSED, "fused")], FUSED[:, 2 * SIZE :]


def _filled() -> Parts:
    node = helper.make_node(
        "ConstantOfShape", ["shape"], ["w"], value=numpy_helper.from_array(np.array([0.5], np.float32))
    )
    return [node], [_integers("shape", SIZE, SIZE)], np.full((SIZE, SIZE), 0.5, np.float32)


def _transposed() -> Parts:
    node = helper.make_node("Transpose", ["square"], ["w"], perm=[1, 0])
    return [node], [numpy_helper.from_array(FUSED[:, :SIZE].copy(), "square")], FUSED[:, :SIZE].T


@pytest.mark.parametrize("made", [_sliced, _split, _filled, _transposed], ids=lambda made: made.__name__)
def test_a_view_of_a_weight_is_a_weight(made: Callable[[], Parts]) -> None:
    nodes, constants, w = made()
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", SIZE])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    e = onnxlrp.load(model).explain(X, target=3, method="gradient")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(e.output, session.run(None, {"x": X})[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(e.relevance, np.broadcast_to(w[:, 3], X.shape), rtol=1e-5)
