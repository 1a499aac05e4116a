"""Operators on integers become the float operators that they stand for, between DequantizeLinear and QuantizeLinear.

The integers between layers, and with them each rounding and each saturation, stay those of the file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Array
from ..reading.printable import printable
from .replacement import Replacement

INTEGERS = ("uint8", "int8", "uint16", "int16")
_FIX = "Explain the float model that it was quantised from."


def _conv(parts: Replacement) -> None:
    """Q(Conv(x, w) + b): w has a scale for each channel or one, b is int32 in units of s_x s_w."""
    own = {k: v for k, v in parts.layer.attributes.items() if k != "channels_last"}
    x, weight = floats(parts, 0, 1, 2), floats(parts, 3, 4, 5, axis=0)
    bias = _bias(parts, 8, numbers(parts, 1) * numbers(parts, 4))
    y = parts.compute("Conv", _channels_first(parts, x), weight, bias, main=True, **own)
    rounded(parts, _channels_back(parts, y), 6, 7)


def _matmul(parts: Replacement) -> None:
    """Q(A·B)."""
    y = parts.compute("MatMul", floats(parts, 0, 1, 2, axis=-2), floats(parts, 3, 4, 5, axis=-1), main=True)
    rounded(parts, y, 6, 7)


def _gemm(parts: Replacement) -> None:
    """alpha·A·B + C, C int32 in units of alpha s_A s_B; rounded where the result has a scale."""
    alpha = float(parts.attribute("alpha", 1.0))
    weight = floats(parts, 3, 4, 5, axis=0 if parts.attribute("transB", 0) else 1)
    bias = _bias(parts, 6, numbers(parts, 1) * numbers(parts, 4) * alpha)
    y = parts.compute("Gemm", floats(parts, 0, 1, 2), weight, bias, main=True, **parts.layer.attributes)
    rounded(parts, y, 7, 8)


def _elementwise(function: str, operands: int) -> Callable[[Replacement], None]:
    def rule(parts: Replacement) -> None:
        values = [floats(parts, 3 * i, 3 * i + 1, 3 * i + 2) for i in range(operands)]
        y = parts.compute(function, *values, main=True, **parts.layer.attributes)
        rounded(parts, y, 3 * operands, 3 * operands + 1)

    return rule


def _softmax(parts: Replacement) -> None:
    """Up to opset 12 it runs over all axes from `axis` on; read as one axis where these are."""
    axis, x = int(parts.attribute("axis", -1)), parts.input(0)
    axis %= parts.rank(x)
    if int(parts.attribute("opset", 13)) < 13 and axis != parts.rank(x) - 1:
        raise parts.refuse("several axes at once, as up to opset 12", _FIX)
    rounded(parts, parts.compute("Softmax", floats(parts, 0, 1, 2), main=True, axis=axis), 3, 4)


def _concat(parts: Replacement) -> None:
    values = [floats(parts, i, i + 1, i + 2) for i in range(2, len(parts.layer.inputs), 3)]
    rounded(parts, parts.compute("Concat", *values, main=True, axis=parts.attribute("axis", 0)), 0, 1)


def _where(parts: Replacement) -> None:
    chosen = parts.compute("Where", parts.input(0), floats(parts, 1, 2, 3), floats(parts, 4, 5, 6), main=True)
    rounded(parts, chosen, 7, 8)


def _pool(function: str) -> Callable[[Replacement], None]:
    def rule(parts: Replacement) -> None:
        own = {k: v for k, v in parts.layer.attributes.items() if k != "channels_last"}
        y = parts.compute(function, _channels_first(parts, floats(parts, 0, 1, 2)), main=True, **own)
        rounded(parts, _channels_back(parts, y), 3, 4)

    return rule


def _nhwc_max_pool(parts: Replacement) -> None:
    """Of integers as they are: the largest is the largest number too."""
    x = parts.compute("Transpose", parts.input(0), perm=_order(parts))
    y = parts.compute("MaxPool", x, main=True, **parts.layer.attributes)
    parts.compute("Transpose", y, perm=_order(parts, back=True))
    parts.finish()


def _standard(function: str) -> Callable[[Replacement], None]:
    """Q and DQ themselves, of a domain that had 16 bits before the standard did."""

    def rule(parts: Replacement) -> None:
        parts.compute(function, *parts.layer.inputs, main=True, **parts.layer.attributes)
        parts.finish()

    return rule


def numbers(parts: Replacement, position: int, default: float | None = None) -> Array:
    """A scale or zero point, in float64."""
    name = parts.input(position)
    value = np.asarray(default) if not name and default is not None else parts.graph.constant(name)
    if value is None:
        raise parts.refuse(f'a scale or zero point that is computed at run time ("{printable(name)}")', _FIX)
    return np.asarray(value, np.float64)


def floats(parts: Replacement, x: int, scale: int, zero: int, axis: int | None = None) -> str:
    """(x - zero)·scale of the operands at these positions, scale and zero along `axis` where they are lists."""
    name, s, z = parts.input(x), numbers(parts, scale, 1.0), numbers(parts, zero, 0.0)
    value = parts.graph.constant(name)
    if value is not None:
        # Exact in float32 but for int32, whose numbers may be larger than 2²⁴.
        kind = np.dtype(np.float32 if value.dtype.itemsize < 4 else np.float64)
        factor, offset = (_along(v, value.ndim, axis).astype(kind) for v in (s, z))
        result: Array = (value.astype(kind) - offset) * factor
        return parts.store(result.astype(np.float32, copy=False), "floats")
    if name in parts.context.loose and s.size == z.size == 1 and s.reshape(()) == 1 and z.reshape(()) == 0:
        return name
    if name in parts.context.loose or s.size > 1 or z.size > 1:
        raise parts.refuse(f'several scales for the activation "{printable(name)}"', _FIX)
    dtype = _dtype(parts, zero, name)
    if dtype not in INTEGERS:
        raise parts.refuse(f'an operand "{printable(name)}" of the type {dtype or "unknown"}', _FIX)
    key = (name, float(s.reshape(())), float(z.reshape(())))
    if key not in parts.context.made:
        operands = _operands(parts, s, z, dtype)
        parts.context.made[key] = parts.compute("DequantizeLinear", name, *operands)
    return parts.context.made[key]


def rounded(parts: Replacement, y: str, scale: int, zero: int) -> None:
    """The result in the integers of the file; floats where there is no scale."""
    if parts.input(scale):
        s, z = numbers(parts, scale), numbers(parts, zero, 0.0)
        if s.size > 1 or z.size > 1:
            raise parts.refuse("several scales for its result", _FIX)
        dtype = _dtype(parts, zero, parts.output()) or parts.graph.dtypes.get(parts.input(0), "")
        if dtype not in INTEGERS:
            raise parts.refuse("a result without a zero point, of an unknown type", _FIX)
        parts.compute("QuantizeLinear", y, *_operands(parts, s, z, dtype))
        parts.graph.dtypes[parts.output()] = dtype
    parts.finish()


def _dtype(parts: Replacement, zero: int, tensor: str) -> str:
    """The type of a tensor: that of its zero point, if it has one."""
    value = parts.graph.constant(parts.input(zero))
    return parts.graph.dtypes.get(tensor, "") if value is None else value.dtype.name


def _operands(parts: Replacement, scale: Array, zero: Array, dtype: str) -> tuple[str, str]:
    return (
        parts.store(np.asarray(scale.reshape(()), np.float32), "scale"),
        parts.store(np.asarray(zero.reshape(()), dtype), "zero"),
    )


def _along(value: Array, rank: int, axis: int | None) -> Array:
    """As it broadcasts over a weight of this rank."""
    if value.size == 1:
        return value.reshape(())
    if value.ndim != 1 or axis is None:
        return value
    return value.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def _bias(parts: Replacement, position: int, unit: Array) -> str:
    name = parts.input(position)
    value = parts.graph.constant(name)
    if name and value is None:
        raise parts.refuse(f'a bias that is computed at run time ("{printable(name)}")', _FIX)
    return "" if value is None else parts.store((value * unit).astype(np.float32), "bias")


def _channels_first(parts: Replacement, x: str) -> str:
    last = parts.attribute("channels_last", 0)
    return parts.compute("Transpose", x, perm=_order(parts)) if last else x


def _channels_back(parts: Replacement, y: str) -> str:
    last = parts.attribute("channels_last", 0)
    return parts.compute("Transpose", y, perm=_order(parts, back=True)) if last else y


def _order(parts: Replacement, back: bool = False) -> tuple[int, ...]:
    rank = parts.rank(parts.input(0))
    return (0, *range(2, rank), 1) if back else (0, rank - 1, *range(1, rank - 1))


_UNARY: dict[str, Any] = {"Sigmoid": 1, "LeakyRelu": 1, "Add": 2, "Mul": 2}

RULES: dict[str, Callable[[Replacement], None]] = {
    "QLinearConv": _conv,
    "com.microsoft::QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "com.microsoft::QGemm": _gemm,
    **{f"com.microsoft::QLinear{function}": _elementwise(function, n) for function, n in _UNARY.items()},
    "com.microsoft::QLinearSoftmax": _softmax,
    "com.microsoft::QLinearConcat": _concat,
    "com.microsoft::QLinearWhere": _where,
    **{f"com.microsoft::QLinear{function}": _pool(function) for function in ("AveragePool", "GlobalAveragePool")},
    "com.microsoft::NhwcMaxPool": _nhwc_max_pool,
    **{f"com.microsoft::{function}": _standard(function) for function in ("QuantizeLinear", "DequantizeLinear")},
}
