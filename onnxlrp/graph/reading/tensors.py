"""Stored tensors: their types, how many bytes they take, and whether they hold them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import onnx
from onnx import AttributeProto, TensorProto, helper

from ...errors import InputError
from .names import check_names
from .printable import printable

TYPES = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}

_AGAIN = "export or download the model again"
# Types of less than a byte, and their bits.
_PACKED = {TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4} | {
    getattr(TensorProto, kind): 2 for kind in ("INT2", "UINT2") if hasattr(TensorProto, kind)
}


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Yield the tensors of the main graph that are weights: initialisers and the values of Constant nodes."""
    yield from model.graph.initializer
    for node in model.graph.node:
        if node.op_type == "Constant":
            yield from (a.t for a in node.attribute if a.type == AttributeProto.TENSOR)


def is_external(tensor: TensorProto) -> bool:
    """Return whether the values of a tensor lie in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def nbytes(kind: int, count: int) -> int:
    """Return how many bytes `count` values of a type take as ONNX stores them: types of 4 and 2 bits are packed."""
    return -(-count * _PACKED[kind] // 8) if kind in _PACKED else count * _itemsize(kind)


@cache
def _itemsize(kind: int) -> int:
    return int(helper.tensor_dtype_to_np_dtype(kind).itemsize)


def check_tensor(tensor: TensorProto, within: bool, name: str) -> None:
    """Check that the type of a tensor is known, and that it holds as many values as its dims say.

    Args:
        tensor: The tensor.
        within: Whether it is inside an operator, where its data may not lie in another file.
        name: The name of the file, for errors.

    Raises:
        InputError: It is damaged.
    """
    check_names((tensor.name,), name)
    label, kind = f'the weight "{printable(tensor.name)}"', tensor.data_type
    if kind not in TYPES:
        raise InputError(f"{name}: {label} has an unknown type ({kind})", _AGAIN)
    if any(d < 0 for d in tensor.dims):
        raise InputError(f"{name}: {label} has a negative dimension ({list(tensor.dims)[:8]})", _AGAIN)
    if is_external(tensor):
        if within:
            raise InputError(f"{name}: {label}, inside an operator, lies in another file", "export it as one file")
        return
    count = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        held, need, unit = len(tensor.raw_data), nbytes(kind, count), "bytes"
    else:
        held, need, unit = len(getattr(tensor, helper.tensor_dtype_to_field(kind))), count, "values"
        if kind in _PACKED:
            need = nbytes(kind, count)
        elif kind in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
            need = 2 * count
    if held != need:
        raise InputError(f"{name}: {label} is damaged: it holds {held} of {need} {unit}", _AGAIN)
