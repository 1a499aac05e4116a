"""GroupNormalization as the layers that it was before it was an operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxlrp.graph.load import load
from onnxlrp.graph.writing.to_onnx import emit


def normalized(opset: Any, groups: Any, shape: Any, epsilon: float = 1e-3) -> Any:
    rng = np.random.default_rng(0)
    width = groups if opset < 21 else shape[0]
    weights = [numpy_helper.from_array(rng.normal(size=width).astype("f"), name) for name in ("scale", "bias")]
    node = helper.make_node(
        "GroupNormalization", ["x", "scale", "bias"], ["y"], name="norm", num_groups=groups, epsilon=epsilon
    )
    source, target = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *shape]) for n in "xy")
    graph = helper.make_graph([node], "norm", [source], [target], weights)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", opset)])


@pytest.mark.parametrize(("opset", "groups"), [(18, 1), (18, 2), (20, 4), (21, 1), (21, 2), (22, 4)])
@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 2)])
def test_the_result_is_the_operator_s(opset: int, groups: int, shape: tuple[int, ...]) -> None:
    model = normalized(opset, groups, shape)
    graph = load(model)
    # With a channel a group the reshapes move nothing, and are not there.
    moves = [] if len(shape) == 2 and groups == shape[0] else ["Reshape"]
    assert [layer.op for layer in graph.layers][: 1 + 2 * len(moves)] == [*moves, "InstanceNormalization", *moves]
    assert all(layer.name.startswith("norm") for layer in graph.layers)
    x = np.random.default_rng(1).normal(size=(3, *shape)).astype("f")
    expected: Any
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    actual: Any
    (actual,) = ort.InferenceSession(emit(graph).SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_model_stays_as_it_is() -> None:
    model = normalized(21, 2, (4, 3))
    before = onnx.ModelProto.FromString(model.SerializeToString())
    load(model)
    assert model == before


def test_one_behind_another() -> None:
    """onnx infers no shape behind a GroupNormalization; the next one needs its rank."""
    model = normalized(21, 2, (4, 3, 2))
    second = helper.make_node("GroupNormalization", ["y", "scale", "bias"], ["z"], num_groups=4)
    model.graph.node.append(second)
    model.graph.output[0].name = "z"
    x = np.random.default_rng(1).normal(size=(3, 4, 3, 2)).astype("f")
    expected: Any
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    actual: Any
    (actual,) = ort.InferenceSession(emit(load(model)).SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(actual, expected, atol=1e-5)
