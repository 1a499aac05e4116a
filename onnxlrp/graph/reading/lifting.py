"""Large weights left where they lie in a file's bytes: the parsed model would hold each of them once more."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from onnx import GraphProto, ModelProto, TensorProto

from .tensors import TYPES, is_external, nbytes

LARGE = 1 << 14  # bytes

_GRAPH = ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW = TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number
_BYTES = 2  # the wire type of messages and bytes
_FIXED = {1: 8, 5: 4}

Lifted = dict[str, memoryview]


def parse(data: bytes) -> tuple[ModelProto, Lifted]:
    """Parse a model without the large weights of its main graph.

    Args:
        data: A whole model (`protobuf.walk`).

    Returns:
        The model, and the raw data of those weights, by name: as many bytes as type and dims say. A model of which
        this is not true is parsed as it stands.
    """
    view = memoryview(data)
    pieces: list[memoryview | bytes] = []
    found: list[memoryview | None] = []
    for number, kind, start, body, end in _fields(view, 0, len(view)):
        if number == _GRAPH and kind == _BYTES:
            pieces += _message(number, _graph(view, body, end, found))
        else:
            pieces.append(view[start:end])
    if not any(raw is not None for raw in found):
        return onnx.ModelProto.FromString(data), {}
    model = onnx.ModelProto.FromString(b"".join(pieces))
    lifted = {}
    for tensor, raw in zip(model.graph.initializer, found, strict=True):
        if raw is None:
            continue
        if tensor.name in lifted or not _fits(tensor, len(raw)):
            return onnx.ModelProto.FromString(data), {}
        lifted[tensor.name] = raw
    return model, lifted


def whole(model: ModelProto, lifted: Lifted) -> ModelProto:
    """Return a copy of a parsed model with its large weights in it again."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in lifted:
            tensor.raw_data = bytes(lifted[tensor.name])
    return copy


def _fits(tensor: TensorProto, length: int) -> bool:
    known = tensor.data_type in TYPES and not is_external(tensor) and all(d >= 0 for d in tensor.dims)
    return known and nbytes(tensor.data_type, math.prod(tensor.dims)) == length


def _graph(view: memoryview, start: int, end: int, found: list[memoryview | None]) -> list[memoryview | bytes]:
    """The graph without the raw data that `found` gets, None for an initialiser that stays whole."""
    pieces: list[memoryview | bytes] = []
    kept = start
    for number, kind, first, body, last in _fields(view, start, end):
        if number != _INITIALIZER or kind != _BYTES:
            continue
        raws = [field for field in _fields(view, body, last) if field[0] == _RAW and field[1] == _BYTES]
        if last - body < LARGE or len(raws) != 1:
            found.append(None)
            continue
        _, _, raw, data, over = raws[0]
        found.append(view[data:over])
        pieces += [view[kept:first], *_message(number, [view[body:raw], view[over:last]])]
        kept = last
    return [*pieces, view[kept:end]]


def _message(number: int, pieces: list[memoryview | bytes]) -> list[memoryview | bytes]:
    return [_varint(number << 3 | _BYTES) + _varint(sum(map(len, pieces))), *pieces]


def _fields(view: memoryview, position: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (number, wire type, start, start of the content, end) of the fields of a message."""
    while position < end:
        start = position
        tag, position = _read_varint(view, position)
        kind = tag & 7
        if kind == _BYTES:
            length, body = _read_varint(view, position)
            position = body + length
        else:
            body = position
            position = _read_varint(view, position)[1] if kind == 0 else position + _FIXED[kind]
        yield tag >> 3, kind, start, body, position


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
