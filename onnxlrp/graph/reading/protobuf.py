"""Check of a model's protobuf wire format before anything is built: that it is whole, and not too large."""

from __future__ import annotations

from functools import cache
from typing import Any

import onnx

from ...errors import InputError

# A message of two bytes becomes a hundred times as many in memory, and so many levels a stack.
MAX_MESSAGES = 1_000_000
MAX_FIELDS = 4_000_000
MAX_DEPTH = 64

_AGAIN = "export or download the model again"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Field number → the message in it; a field that is not listed is a leaf.
Messages = dict[int, Any]


class Cut(InputError):
    """An error for bytes that end before the model does, or are no model."""


def walk(data: bytes, name: str) -> None:
    """Check that bytes are a whole ONNX model, with no more parts and levels than models have.

    Groups (wire types 3 and 4) do not occur in ONNX.

    Args:
        data: The bytes.
        name: The name of the file, for errors.

    Raises:
        InputError: They are not.

    References:
        https://protobuf.dev/programming-guides/encoding
    """
    known = _messages(onnx.ModelProto.DESCRIPTOR)
    stack: list[tuple[int, Messages]] = [(len(data), known)]
    position = fields = messages = 0
    try:
        while stack:
            end, known = stack[-1]
            while position < end:
                fields += 1
                if fields > MAX_FIELDS:
                    raise _too_much(name, False)
                tag = data[position]
                position += 1
                if tag & 0x80:
                    tag, position = _varint(data, position - 1)
                kind = tag & 7
                if kind == _BYTES:
                    length = data[position]
                    position += 1
                    if length & 0x80:
                        length, position = _varint(data, position - 1)
                    if position + length > end:
                        raise _cut(name, position + length - len(data))
                    inner = known.get(tag >> 3)
                    if inner is None:
                        position += length
                        continue
                    messages += 1
                    if len(stack) == MAX_DEPTH or messages > MAX_MESSAGES:
                        raise _too_much(name, len(stack) == MAX_DEPTH)
                    stack.append((position + length, inner))
                    break
                if kind == _VARINT:
                    while data[position] & 0x80:
                        position += 1
                    position += 1
                elif kind == _FIXED32:
                    position += 4
                elif kind == _FIXED64:
                    position += 8
                else:
                    raise Cut(f"{name} is cut off or damaged", _AGAIN)
            else:
                if position > end:
                    raise _cut(name, position - len(data))
                stack.pop()
    except IndexError:
        raise _cut(name, 1) from None


def _cut(name: str, missing: int) -> Cut:
    more = f": at least {missing} bytes are missing" if missing > 1 else " or damaged"
    return Cut(f"{name} is cut off{more}.", _AGAIN)


def _too_much(name: str, deep: bool) -> InputError:
    if deep:
        return InputError(f"{name} nests its parts more than {MAX_DEPTH} levels deep", "export the model again")
    return InputError(
        f"{name} has more than {MAX_MESSAGES} parts or {MAX_FIELDS} fields", "export the model with larger tensors"
    )


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise IndexError(position)


@cache
def _messages(descriptor: Any) -> Messages:
    found: Messages = {}
    _collect(descriptor, found, {})
    return found


def _collect(descriptor: Any, found: Messages, done: dict[str, Messages]) -> None:
    done[descriptor.full_name] = found
    for field in descriptor.fields:
        inner = field.message_type
        if inner is not None:
            if inner.full_name not in done:
                _collect(inner, found.setdefault(field.number, {}), done)
            found[field.number] = done[inner.full_name]
