"""Large weights are taken out of the bytes of a file: what is parsed and what is lifted give the whole model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxlrp.errors import InputError
from onnxlrp.graph.graph import Layer
from onnxlrp.graph.load import load
from onnxlrp.graph.reading import lifting
from onnxlrp.graph.reading.read import read
from onnxlrp.graph.rewriting.constant_folding import fold
from onnxlrp.graph.rewriting.mutable_graph import MutableGraph
from support.arrays import Array

RNG = np.random.default_rng(0)
LARGE = RNG.normal(size=(80, 90)).astype(np.float32)


def model(*weights: onnx.TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    graph = helper.make_graph(
        [*nodes, helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 80])],
        [helper.make_tensor_value_info("y", 1, ["N", 90])],
        list(weights) or [numpy_helper.from_array(LARGE, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.int64, np.bool_])
def test_the_whole_model_is_what_the_bytes_hold(dtype: type) -> None:
    other = (100 * RNG.normal(size=(64, 300))).astype(dtype)
    small = np.arange(6, dtype=np.float32)
    made = model(*(numpy_helper.from_array(a, n) for a, n in ((small, "s"), (LARGE, "w"), (other, "o"))))
    data = made.SerializeToString()
    parsed, lifted = lifting.parse(data)
    assert lifted.keys() == {"w", "o"}
    assert parsed.ByteSize() < 1000
    assert lifting.whole(parsed, lifted) == onnx.ModelProto.FromString(data) == made
    assert np.array_equal(np.frombuffer(lifted["o"], dtype), other.reshape(-1))


def test_a_graph_in_two_pieces_is_merged_as_protobuf_does() -> None:
    made = model()
    rest = onnx.ModelProto()
    rest.graph.initializer.append(numpy_helper.from_array(2 * LARGE, "v"))
    data = made.SerializeToString() + rest.SerializeToString()
    parsed, lifted = lifting.parse(data)
    assert lifted.keys() == {"w", "v"}
    assert lifting.whole(parsed, lifted) == onnx.ModelProto.FromString(data)


def test_raw_data_stated_twice_stays_in_the_model() -> None:
    tensor = numpy_helper.from_array(LARGE, "w")
    twice = TensorProto(raw_data=bytes(4)).SerializeToString() + tensor.SerializeToString()
    graph = model().graph
    del graph.initializer[:]
    inner = b"\x2a" + lifting._varint(len(twice)) + twice + graph.SerializeToString()
    shell = onnx.ModelProto(ir_version=9, opset_import=[helper.make_opsetid("", 17)]).SerializeToString()
    data = shell + b"\x3a" + lifting._varint(len(inner)) + inner
    parsed, lifted = lifting.parse(data)
    assert not lifted
    assert parsed == onnx.ModelProto.FromString(data)


@pytest.mark.parametrize("dims", [(80, 91), (-80, -90), (7200,)])
def test_a_weight_of_another_size_than_its_dims_say_is_refused_or_read_as_before(dims: tuple[int, ...]) -> None:
    tensor = numpy_helper.from_array(LARGE, "w")
    del tensor.dims[:]
    tensor.dims.extend(dims)
    data = model(tensor).SerializeToString()
    if np.prod(dims) == LARGE.size and min(dims) > 0:
        assert lifting.parse(data)[1].keys() == {"w"}
    else:
        assert not lifting.parse(data)[1]
        with pytest.raises(InputError, match=r"damaged|negative"):
            read(data)


def test_two_weights_of_one_name_are_refused() -> None:
    tensors = [numpy_helper.from_array(k * LARGE, "w") for k in (1, 2)]
    with pytest.raises(InputError, match=r"twice|two"):
        read(model(*tensors).SerializeToString())


def test_a_constant_node_whose_tensor_has_the_name_of_a_weight_keeps_its_own_values() -> None:
    shift = RNG.normal(size=(90, 90)).astype(np.float32)
    node = helper.make_node("Constant", [], ["shift"], value=numpy_helper.from_array(shift, "w"))
    made = model(nodes=(node,))
    made.graph.node.append(helper.make_node("MatMul", ["y", "shift"], ["z"], name="second"))
    made.graph.output[0].name = "z"
    constants = load(made.SerializeToString()).constants
    assert sorted(float(c.sum()) for c in constants.values()) == sorted((float(LARGE.sum()), float(shift.sum())))


def test_constants_of_a_graph_are_aligned_and_hold_no_file() -> None:
    graph = load(model().SerializeToString())
    (weight,) = graph.constants.values()
    assert np.array_equal(weight, LARGE)
    assert weight.flags.aligned
    assert weight.flags.owndata


@pytest.mark.parametrize(("axis", "size"), [(None, 1), (0, 4), (1, 5), (-1, 3)])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_dequantised_weights_are_those_of_the_evaluator_of_onnx(dtype: type, axis: int | None, size: int) -> None:
    from onnx.reference import ReferenceEvaluator

    bounds = np.iinfo(dtype)
    x = RNG.integers(bounds.min, bounds.max, (4, 5, 3)).astype(dtype)
    shape = () if axis is None else (size,)
    values: dict[str, Array] = {
        "x": x, "s": RNG.random(shape).astype(np.float32), "z": RNG.integers(0, 50, shape).astype(dtype)
    }  # fmt: skip
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    node = helper.make_node("DequantizeLinear", list("xsz"), ["y"], **attributes)
    kinds = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), None) for n, v in values.items()
    ]
    alone = helper.make_graph([node], "g", kinds, [onnx.ValueInfoProto(name="y")])
    opsets = [helper.make_opsetid("", 21)]
    evaluator: Any = ReferenceEvaluator(helper.make_model(alone, opset_imports=opsets))
    wanted = evaluator.run(None, values)[0]
    graph = MutableGraph([Layer("DequantizeLinear", "d", "", tuple("xsz"), ("y",), attributes)], dict(values), [],
                         ["y"], {}, {}, {"": 21}, 1)  # fmt: skip
    fold(graph)
    assert graph.constants["y"].dtype == np.float32
    assert np.array_equal(graph.constants["y"], wanted)
