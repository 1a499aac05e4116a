"""A copy of the model without its weights: cheap to convert, optimise and infer shapes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...errors import InputError, UnsupportedError
from ..graph import Array
from ..reading import external_data
from ..reading.printable import first_line, printable
from ..reading.read import Read
from ..reading.tensors import is_external

# Larger constants become inputs: no shape arithmetic reads them.
LARGE = 4096
# Every floating type is one here: the numbers are computed in the type that an engine chooses.
FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


def separate_weights(read: Read) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Separate a model from its weights.

    Args:
        read: The parsed model, not changed.

    Returns:
        The model, in which large weights are inputs and small ones stay; all weights by name.

    Raises:
        InputError: A weight is damaged, or no node is left.
    """
    source = read.model
    model = onnx.ModelProto(ir_version=max(source.ir_version, 8), producer_name=source.producer_name)
    model.opset_import.extend(source.opset_import or [helper.make_opsetid("", 1)])
    model.functions.extend(source.functions)
    graph = model.graph
    graph.name = source.graph.name or "graph"
    weights = {t.name: to_array(t, read, read.lifted.get(t.name)) for t in source.graph.initializer}
    # IR 3 lists initialisers as inputs; later on that would make them overridable defaults.
    graph.input.extend(value for value in source.graph.input if value.name not in weights)
    graph.output.extend(source.graph.output)
    for node in source.graph.node:
        value = _constant(node, read, weights)
        if value is not None:
            weights[node.output[0]] = value
        elif node.op_type == "ZipMap":
            _bypass(node, graph)
        else:
            graph.node.append(node)
    for name, value in weights.items():
        _add(graph, name, value)
    if not graph.node:
        raise InputError(f"{read.name} computes a constant: there is nothing to explain", "export the model again")
    _one_floating_type(model)
    return model, weights


def to_array(tensor: onnx.TensorProto, read: Read, raw: memoryview | None = None) -> Array:
    """Return a stored tensor as an array, mapped where it lies in a file of its own.

    Half precision becomes float32, so that arithmetic on it is exact enough.

    Args:
        tensor: The tensor.
        read: The model that it is of.
        raw: Its values where they still lie in the bytes of the model's file; the array shares them.

    Raises:
        InputError: The tensor is damaged.
    """
    try:
        outside = is_external(tensor)
        value = external_data.read(tensor, read.home, read.name) if outside else _stored(tensor, raw)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise InputError(
            f'{read.name}: the weight "{printable(tensor.name)}" is damaged ({first_line(error, 120)})',
            "export or download the model again",
        ) from None
    if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        value = value.astype(np.float32)
    return value


# As numpy has them, byte for byte.
_PLAIN: dict[int, np.dtype[Any]] = {
    kind: helper.tensor_dtype_to_np_dtype(kind).newbyteorder("<")
    for kind in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32,
                 TensorProto.INT64)
}  # fmt: skip


def _stored(tensor: onnx.TensorProto, raw: memoryview | None) -> Array:
    kind = _PLAIN.get(tensor.data_type)
    if raw is None:
        return np.asarray(numpy_helper.to_array(tensor))
    if kind is None:
        held = onnx.TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=bytes(raw))
        return np.asarray(numpy_helper.to_array(held))
    return np.frombuffer(raw, kind).astype(kind.newbyteorder("="), copy=False).reshape(tuple(tensor.dims))


def _constant(node: onnx.NodeProto, read: Read, weights: dict[str, Array]) -> Array | None:
    """The value of a Constant node, or of a ConstantOfShape with a known shape (large in sample models)."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Constant" and len(node.attribute) == 1:
        attribute = node.attribute[0]
        if attribute.type == onnx.AttributeProto.TENSOR:
            return to_array(attribute.t, read)
        value = helper.get_attribute_value(attribute)
        if attribute.type in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS):
            return np.asarray(value, np.float32)
        if attribute.type in (onnx.AttributeProto.INT, onnx.AttributeProto.INTS):
            return np.asarray(value, np.int64)
    if node.op_type == "ConstantOfShape" and node.input[0] in weights:
        return _filled(node, read, weights[node.input[0]])
    return None


def _filled(node: onnx.NodeProto, read: Read, shape: Array) -> Array:
    """A constant of one value in a whole shape: it takes no memory until it is written out."""
    fill = to_array(node.attribute[0].t, read) if node.attribute else np.zeros(1, np.float32)
    try:
        return np.broadcast_to(fill.reshape(()), tuple(int(d) for d in shape))
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f'{read.name}: the constant "{printable(node.output[0])}" has an impossible shape '
            f"({printable(str(shape), 60)})",
            "export or download the model again",
        ) from None


def _bypass(node: onnx.NodeProto, graph: onnx.GraphProto) -> None:
    """ZipMap only relabels: the output is the tensor behind it."""
    for output in graph.output:
        if output.name == node.output[0]:
            output.CopyFrom(onnx.ValueInfoProto(name=node.input[0]))


def _add(graph: onnx.GraphProto, name: str, value: Array) -> None:
    if value.size <= LARGE or value.dtype.kind in "OSU":
        narrow = value.astype(np.float32) if value.dtype == np.float64 else value
        graph.initializer.append(numpy_helper.from_array(narrow, name))
    else:
        dtype = np.dtype(np.float32) if value.dtype == np.float64 else value.dtype
        graph.input.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), value.shape))


def _one_floating_type(model: onnx.ModelProto) -> None:
    """Half and double become float, in types, casts and constants."""
    nodes: list[Iterable[onnx.NodeProto]] = [model.graph.node, *(f.node for f in model.functions)]
    for value in (*model.graph.input, *model.graph.output):
        if value.type.WhichOneof("value") == "tensor_type" and value.type.tensor_type.elem_type in FLOATS:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in (n for body in nodes for n in body):
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i in FLOATS:
                attribute.i = TensorProto.FLOAT
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in FLOATS - {TensorProto.FLOAT}:
                value = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(value, attribute.t.name))


def true_inputs(model: onnx.ModelProto, weights: Iterable[str]) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are no weights.

    Raises:
        UnsupportedError: One is no tensor.
        InputError: There are none.
    """
    known = set(weights)
    inputs = [value for value in model.graph.input if value.name not in known]
    for value in inputs:
        if value.type.WhichOneof("value") != "tensor_type":
            raise UnsupportedError(
                f'the input "{printable(value.name)}" is not a tensor', "export the model with tensor inputs"
            )
    if not inputs:
        raise InputError("the model has no inputs: there is nothing to explain", "export the model again")
    return inputs
