"""Operators on integers become operators on floats between DequantizeLinear and QuantizeLinear.

The integers between layers, and with them each rounding and each saturation, stay those of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph import Array
from ..reading.printable import printable
from .quantized import FIX, floats, rounded, scale_or_zero
from .replacement import Decomposition, Replacement


def _conv(build: Replacement) -> None:
    """Q(Conv(x, w) + b): w has a scale for each channel or one, b is int32 in units of s_x s_w."""
    own = {k: v for k, v in build.layer.attributes.items() if k != "channels_last"}
    x, weight = floats(build, 0, 1, 2), floats(build, 3, 4, 5, axis=0)
    bias = _bias(build, 8, scale_or_zero(build, 1) * scale_or_zero(build, 4))
    y = build.compute("Conv", _channels_first(build, x), weight, bias, main=True, **own)
    rounded(build, _channels_back(build, y), 6, 7)


def _matmul(build: Replacement) -> None:
    """Products of matrices: Q(A·B)."""
    y = build.compute("MatMul", floats(build, 0, 1, 2, axis=-2), floats(build, 3, 4, 5, axis=-1), main=True)
    rounded(build, y, 6, 7)


def _gemm(build: Replacement) -> None:
    """alpha·A·B + C, C int32 in units of alpha s_A s_B; rounded where the result has a scale."""
    alpha = float(build.attribute("alpha", 1.0))
    weight = floats(build, 3, 4, 5, axis=0 if build.attribute("transB", 0) else 1)
    bias = _bias(build, 6, scale_or_zero(build, 1) * scale_or_zero(build, 4) * alpha)
    y = build.compute("Gemm", floats(build, 0, 1, 2), weight, bias, main=True, **build.layer.attributes)
    rounded(build, y, 7, 8)


def _elementwise(function: str, operands: int) -> Decomposition:
    def rule(build: Replacement) -> None:
        values = [floats(build, 3 * i, 3 * i + 1, 3 * i + 2) for i in range(operands)]
        y = build.compute(function, *values, main=True, **build.layer.attributes)
        rounded(build, y, 3 * operands, 3 * operands + 1)

    return rule


def _softmax(build: Replacement) -> None:
    """Softmax along one axis; up to opset 12 it runs over all axes from `axis` on, which must be one."""
    axis, x = int(build.attribute("axis", -1)), build.input(0)
    axis %= build.rank(x)
    if int(build.attribute("opset", 13)) < 13 and axis != build.rank(x) - 1:
        raise build.refuse("several axes at once, as up to opset 12", FIX)
    rounded(build, build.compute("Softmax", floats(build, 0, 1, 2), main=True, axis=axis), 3, 4)


def _concat(build: Replacement) -> None:
    values = [floats(build, i, i + 1, i + 2) for i in range(2, len(build.layer.inputs), 3)]
    rounded(build, build.compute("Concat", *values, main=True, axis=build.attribute("axis", 0)), 0, 1)


def _where(build: Replacement) -> None:
    chosen = build.compute("Where", build.input(0), floats(build, 1, 2, 3), floats(build, 4, 5, 6), main=True)
    rounded(build, chosen, 7, 8)


def _pool(function: str) -> Decomposition:
    def rule(build: Replacement) -> None:
        own = {k: v for k, v in build.layer.attributes.items() if k != "channels_last"}
        y = build.compute(function, _channels_first(build, floats(build, 0, 1, 2)), main=True, **own)
        rounded(build, _channels_back(build, y), 3, 4)

    return rule


def _nhwc_max_pool(build: Replacement) -> None:
    """MaxPool of integers as they are: the largest integer is the largest number too."""
    x = build.compute("Transpose", build.input(0), perm=_order(build))
    y = build.compute("MaxPool", x, main=True, **build.layer.attributes)
    build.compute("Transpose", y, perm=_order(build, back=True))
    build.finish()


def _standard(function: str) -> Decomposition:
    """QuantizeLinear and DequantizeLinear of a domain that had 16 bits before the standard did."""

    def rule(build: Replacement) -> None:
        build.compute(function, *build.layer.inputs, main=True, **build.layer.attributes)
        build.finish()

    return rule


def _bias(build: Replacement, position: int, unit: Array) -> str:
    name = build.input(position)
    value = build.graph.constant(name)
    if name and value is None:
        raise build.refuse(f'a bias that is computed at run time ("{printable(name)}")', FIX)
    return "" if value is None else build.store((value * unit).astype(np.float32), "bias")


def _channels_first(build: Replacement, x: str) -> str:
    last = build.attribute("channels_last", 0)
    return build.compute("Transpose", x, perm=_order(build)) if last else x


def _channels_back(build: Replacement, y: str) -> str:
    last = build.attribute("channels_last", 0)
    return build.compute("Transpose", y, perm=_order(build, back=True)) if last else y


def _order(build: Replacement, back: bool = False) -> tuple[int, ...]:
    rank = build.rank(build.input(0))
    return (0, *range(2, rank), 1) if back else (0, rank - 1, *range(1, rank - 1))


_UNARY: dict[str, Any] = {"Sigmoid": 1, "LeakyRelu": 1, "Add": 2, "Mul": 2}

INTEGER: Mapping[str, Decomposition] = {
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
