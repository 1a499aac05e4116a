"""X with a number, as the rate of a sound: the error for a missing one says it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxlrp
from onnxlrp.errors import UsageError


def of_two_rates() -> onnx.ModelProto:
    """If the rate is 16000, x times 2, else x times 3, summed."""

    def branch(name: str, factor: float) -> onnx.GraphProto:
        nodes = [
            helper.make_node("Mul", ["x", f"{name}/k"], [f"{name}/m"]),
            helper.make_node("ReduceSum", [f"{name}/m", "axis"], [f"{name}/y"], keepdims=1),
        ]
        weights = [numpy_helper.from_array(np.array(factor, np.float32), f"{name}/k")]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(f"{name}/y", 1, ["N", 1])], weights)

    nodes = [
        helper.make_node("Equal", ["sr", "rate"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("high", 2.0), else_branch=branch("low", 3.0)),
    ]
    ends = [helper.make_tensor_value_info("x", 1, ["N", 6]), helper.make_tensor_value_info("sr", 7, [])]
    constants = {"rate": np.array(16000), "axis": np.array([1])}
    weights = [numpy_helper.from_array(v, n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", ends, [helper.make_tensor_value_info("y", 1, ["N", 1])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_number_is_named_and_decides_the_branch() -> None:
    model, x = onnxlrp.load(of_two_rates()), np.arange(6, dtype=np.float32)[None]
    with pytest.raises(UsageError, match="it compares sr with 16000") as error:
        model.explain(x)
    assert 'given={"sr": 16000.0}' in (error.value.fix or "")
    for rate, factor in ((16000, 2.0), (8000, 3.0)):
        e = model.explain(x, given={"sr": rate}, method="gradient")
        np.testing.assert_allclose(e.output, [[15 * factor]])
        np.testing.assert_allclose(e.relevance, np.full((1, 6), factor))
