"""Elementwise maps: for each its meaning in numpy, the sign of its result and whether it keeps zeros."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Flag
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Sign(Flag):
    """A fact about all elements of a value: NONNEGATIVE, NONPOSITIVE, both (ZERO) or neither (ANY)."""

    ANY = 0
    NONNEGATIVE = 1
    NONPOSITIVE = 2
    ZERO = 3

    def flipped(self) -> Sign:
        """Return the sign of the negated value."""
        nonnegative = Sign.NONPOSITIVE if Sign.NONNEGATIVE in self else Sign.ANY
        nonpositive = Sign.NONNEGATIVE if Sign.NONPOSITIVE in self else Sign.ANY
        return nonnegative | nonpositive

    def times(self, other: Sign) -> Sign:
        """Return the sign of a product."""
        if self == Sign.ANY or other == Sign.ANY:
            return Sign.ZERO if Sign.ZERO in (self, other) else Sign.ANY
        if Sign.ZERO in (self, other):
            return Sign.ZERO
        return Sign.NONNEGATIVE if self == other else Sign.NONPOSITIVE


def stabilize(z: Array, epsilon: float) -> Array:
    """Return z + ε·sgn(z) with sgn(0) = +1, a denominator that is never zero."""
    return np.asarray(z + np.where(z >= 0, epsilon, -epsilon).astype(z.dtype))


def power(x: Array, exponent: float) -> Array:
    """Return x**exponent; NaN for a negative x where the exponent is not an integer."""
    return np.asarray(np.power(x, np.asarray(exponent, x.dtype)))


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    # Two forms, so that exp never overflows.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


class Map(NamedTuple):
    """One elementwise map.

    Args:
        run: Its meaning: run(*operands), or run(*operands, parameter) for those in PARAMETRIC.
        sign: The sign of the result from the signs of the operands.
        keeps: Operands whose zeros are zeros of the result: "any" of them (a product), "all" at once (a sum), the
            "first" alone, or "none".
    """

    run: Callable[..., Array]
    sign: Callable[..., Sign]
    keeps: str


def _where(condition: Array, a: Array, b: Array) -> Array:
    return np.asarray(np.where(condition != 0, a, b))


def _greater(a: Array, b: Array) -> Array:
    return np.greater(a, b).astype(np.result_type(a, b))


def _positive_only(*_: Sign) -> Sign:
    return Sign.NONNEGATIVE


def _max_sign(a: Sign, b: Sign) -> Sign:
    return (a | b) & Sign.NONNEGATIVE | (a & b) & Sign.NONPOSITIVE


def _min_sign(a: Sign, b: Sign) -> Sign:
    return (a & b) & Sign.NONNEGATIVE | (a | b) & Sign.NONPOSITIVE


PARAMETRIC = frozenset({"power", "stabilize"})  # maps whose last argument is the instruction's parameter

MAPS: dict[str, Map] = {
    "add": Map(np.add, lambda a, b: a & b, "all"),
    "sub": Map(np.subtract, lambda a, b: a & b.flipped(), "all"),
    "mul": Map(np.multiply, lambda a, b: a.times(b), "any"),
    "div": Map(np.divide, lambda a, b: a.times(b), "first"),
    "neg": Map(np.negative, lambda a: a.flipped(), "first"),
    "max": Map(np.maximum, _max_sign, "all"),
    "min": Map(np.minimum, _min_sign, "all"),
    "greater": Map(_greater, _positive_only, "none"),
    "where": Map(_where, lambda c, a, b: a & b, "none"),
    "square": Map(np.square, _positive_only, "first"),
    "sqrt": Map(np.sqrt, _positive_only, "first"),
    "exp": Map(np.exp, _positive_only, "none"),
    "sin": Map(np.sin, lambda a: Sign.ZERO if a == Sign.ZERO else Sign.ANY, "first"),
    "cos": Map(np.cos, lambda a: Sign.ANY, "none"),
    "tanh": Map(np.tanh, lambda a: a, "first"),
    "sigmoid": Map(_sigmoid, _positive_only, "none"),
    "erf": Map(lambda x: _erf(x).astype(x.dtype), lambda a: a, "first"),
    "power": Map(power, lambda a: a & Sign.NONNEGATIVE, "none"),
    "stabilize": Map(stabilize, lambda a: a & Sign.NONNEGATIVE, "none"),  # 0 becomes +ε
}
