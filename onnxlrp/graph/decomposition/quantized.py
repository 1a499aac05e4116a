"""Operands and results on integers as floats: scales, zero points, rounding."""

from __future__ import annotations

import numpy as np

from ..graph import Array
from ..reading.printable import printable
from .replacement import Replacement

INTEGERS = ("uint8", "int8", "uint16", "int16")
FIX = "explain the float model that it was quantised from"


def scale_or_zero(build: Replacement, position: int, default: float | None = None) -> Array:
    """Return the scale or zero point at an input, in float64.

    Args:
        build: The replacement of the layer.
        position: Position of the input.
        default: The value where the input is absent.

    Raises:
        UnsupportedError: It is computed at run time, or absent without a default.
    """
    name = build.input(position)
    value = np.asarray(default) if not name and default is not None else build.graph.constant(name)
    if value is None:
        raise build.refuse(f'a scale or zero point that is computed at run time ("{printable(name)}")', FIX)
    return np.asarray(value, np.float64)


def floats(build: Replacement, x: int, scale: int, zero: int, axis: int | None = None) -> str:
    """Return (x - zero)·scale as floats: a constant, or a DequantizeLinear.

    Args:
        build: The replacement of the layer.
        x: Position of the operand.
        scale: Position of its scale; 1 where that is absent.
        zero: Position of its zero point; 0 where that is absent.
        axis: Axis of a constant operand that a vector of scales or zero points runs along.

    Returns:
        The tensor of floats.

    Raises:
        UnsupportedError: An activation has several scales or an unknown type.
    """
    name, s, z = build.input(x), scale_or_zero(build, scale, 1.0), scale_or_zero(build, zero, 0.0)
    value = build.graph.constant(name)
    if value is not None:
        # Exact in float32 but for int32, whose numbers may be larger than 2²⁴.
        kind = np.dtype(np.float32 if value.dtype.itemsize < 4 else np.float64)
        factor, offset = (_along(v, value.ndim, axis).astype(kind) for v in (s, z))
        result: Array = (value.astype(kind) - offset) * factor
        return build.store(result.astype(np.float32, copy=False), "floats")
    if name in build.context.as_floats and s.size == z.size == 1 and s.reshape(()) == 1 and z.reshape(()) == 0:
        return name
    if name in build.context.as_floats or s.size > 1 or z.size > 1:
        raise build.refuse(f'several scales for the activation "{printable(name)}"', FIX)
    dtype = _dtype(build, zero, name)
    if dtype not in INTEGERS:
        raise build.refuse(f'an operand "{printable(name)}" of the type {dtype or "unknown"}', FIX)
    key = (name, float(s.reshape(())), float(z.reshape(())))
    if key not in build.context.made:
        operands = _operands(build, s, z, dtype)
        build.context.made[key] = build.compute("DequantizeLinear", name, *operands)
    return build.context.made[key]


def rounded(build: Replacement, y: str, scale: int, zero: int) -> None:
    """Write the result of the layer: rounded to the integers of the file, or as floats where it has no scale.

    Args:
        build: The replacement of the layer.
        y: The result as floats.
        scale: Position of its scale.
        zero: Position of its zero point.

    Raises:
        UnsupportedError: It has several scales or an unknown type.
    """
    if build.input(scale):
        s, z = scale_or_zero(build, scale), scale_or_zero(build, zero, 0.0)
        if s.size > 1 or z.size > 1:
            raise build.refuse("several scales for its result", FIX)
        dtype = _dtype(build, zero, build.output()) or build.graph.dtypes.get(build.input(0), "")
        if dtype not in INTEGERS:
            raise build.refuse("a result without a zero point, of an unknown type", FIX)
        build.compute("QuantizeLinear", y, *_operands(build, s, z, dtype))
        build.graph.dtypes[build.output()] = dtype
    build.finish()


def _dtype(build: Replacement, zero: int, tensor: str) -> str:
    """The type of a tensor: that of its zero point, if it has one."""
    value = build.graph.constant(build.input(zero))
    return build.graph.dtypes.get(tensor, "") if value is None else value.dtype.name


def _operands(build: Replacement, scale: Array, zero: Array, dtype: str) -> tuple[str, str]:
    return (
        build.store(np.asarray(scale.reshape(()), np.float32), "scale"),
        build.store(np.asarray(zero.reshape(()), dtype), "zero"),
    )


def _along(value: Array, rank: int, axis: int | None) -> Array:
    """A scale or zero point in the shape that broadcasts over a weight of this rank."""
    if value.size == 1:
        return value.reshape(())
    if value.ndim != 1 or axis is None:
        return value
    return value.reshape([-1 if i == axis % rank else 1 for i in range(rank)])
