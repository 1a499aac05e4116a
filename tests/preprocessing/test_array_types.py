"""Arrays for inputs of whole numbers: values that the type holds are taken, whatever their own type; others refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import InputError
from onnxlrp.preprocessing.images import batched

WHOLE = ("uint8", "int8", "uint16", "int16", "int32", "int64")


@given(st.sampled_from(WHOLE), st.sampled_from(["float64", "float32", "int64", "uint8"]), st.data())
def test_whole_numbers_in_range_are_taken_exactly(kind: str, own: str, data: Any) -> None:
    limits = np.iinfo(kind)
    low, high = max(limits.min, -100 if own != "uint8" else 0), min(limits.max, 200)
    values = data.draw(st.lists(st.integers(low, high), min_size=3, max_size=3))
    found = batched(np.array(values, own), (3,), kind)
    assert found.dtype == kind
    assert found[0].tolist() == values


@given(st.sampled_from(WHOLE), st.floats(-1e6, 1e6))
def test_what_the_type_does_not_hold_is_refused(kind: str, value: float) -> None:
    limits = np.iinfo(kind)
    holds = value.is_integer() and limits.min <= value <= limits.max
    if holds:
        assert batched([value], (1,), kind)[0, 0] == value
    else:
        with pytest.raises(InputError, match=f"the model takes {kind}, whole numbers"):
            batched([value], (1,), kind)


def test_more_than_a_float_holds_is_refused() -> None:
    with pytest.raises(InputError, match="the model takes float16 up to"):
        batched([1e6], (1,), "float16")
    assert batched([0.1], (1,), "float32").dtype == np.float32


def test_booleans() -> None:
    assert batched([0.0, 1.0], (2,), "bool").tolist() == [[False, True]]
    with pytest.raises(InputError, match="bool, 0 or 1"):
        batched([2], (1,), "bool")


def model() -> Any:
    """y = m · W (u flattened), u uint8 and m int32."""
    node = helper.make_node
    nodes = [
        node("Cast", ["u"], ["f"], to=1),
        node("Cast", ["m"], ["k"], to=1),
        node("Flatten", ["f"], ["x"]),
        node("MatMul", ["x", "w"], ["h"]),
        node("Mul", ["h", "k"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("u", TensorProto.UINT8, ["N", 2, 2, 1]),
        helper.make_tensor_value_info("m", TensorProto.INT32, ["N", 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.array([[1, 0], [2, 0], [3, 1], [4, -1]], np.float32), "w")],
    )
    return onnxlrp.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def test_an_explanation_is_of_the_values_that_were_given() -> None:
    loaded, u = model(), np.array([[[[10], [20]], [[30], [250]]]])
    for kind in ("uint8", "int64", "float32"):
        found = loaded.explain(u.astype(kind), target=0, method="epsilon", given={"m": 1.0})
        np.testing.assert_allclose(found.relevance.ravel(), [10, 40, 90, 1000], rtol=1e-5)
    with pytest.raises(InputError) as raised:
        loaded.explain(u / 255, given={"m": 1})
    assert "numpy.rint(array * 255)" in raised.value.fix
    with pytest.raises(InputError, match="holds 350"):
        loaded.explain(u + 100, given={"m": 1})
    with pytest.raises(InputError, match="the model takes int32"):
        loaded.explain(u, given={"m": 0.5})


def test_noise_around_whole_numbers_stays_in_the_type() -> None:
    """At 0 and at 255 noise is clipped and does not wrap: the mean gradient of a linear model is its weight."""
    u = np.array([[[[0], [255]], [[0], [255]]]], np.uint8)
    found = model().explain(u, target=0, method="smooth_grad", samples=4, given={"m": 1})
    np.testing.assert_allclose(found.relevance.ravel(), [1, 2, 3, 4], rtol=1e-5)
