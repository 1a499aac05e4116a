"""Traced values, on which rules do arithmetic: each operation appends an instruction to the value's trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .linear import LinearMap, Shape
from .maps import Sign
from .program import Array

HUGE = 1e30  # numbers of this size stand for an infinity


class Recorder(Protocol):
    """Interface of the trace that a value belongs to, which records every operation on it (see `tape.Tape`)."""

    def map(self, op: str, *operands: Value | float, parameter: float = 0.0) -> Value:
        """Record an elementwise map."""
        ...

    def linear(self, linear: LinearMap, x: Value, weight: Value | None = None, bias: Value | None = None) -> Value:
        """Record a linear map applied to x."""
        ...

    def adjoint(self, linear: LinearMap, s: Value, weight: Value | None = None) -> Value:
        """Record the transpose of a linear map applied to s."""
        ...

    def reused(self, linear: LinearMap, x: Value, weight: Value | None, bias: Value | None) -> Value | None:
        """Return the forward pass's tensor that equals linear(x), or None."""
        ...

    def constant(self, value: Array | float) -> Value:
        """Record a constant."""
        ...

    def zeros(self, shape: Shape = ()) -> Value:
        """Record zeros of a shape."""
        ...

    def broadcast_to(self, value: Value, shape: Shape) -> Value:
        """Record explicit broadcast copies."""
        ...

    def reshape(self, value: Value, shape: Shape) -> Value:
        """Record the same elements in another shape."""
        ...

    def total(self, value: Value) -> Value:
        """Record the sum over each sample."""
        ...

    def same_elements(self, value: Value) -> Value:
        """Return a value that has the same elements in another order or shape, before they were moved."""
        ...

    def with_gates(self, value: Value, gates: frozenset[int]) -> Value:
        """Return the value with more gates."""
        ...

    def forward_gates(self, linear: LinearMap, x: Value, weight: Value | None = None) -> frozenset[int]:
        """Return the gates of linear(x) that follow from those of x."""
        ...

    def adjoint_gates(self, linear: LinearMap, s: Value, weight: Value | None = None) -> frozenset[int]:
        """Return the gates of the adjoint's result that follow from those of s."""
        ...

    def leaf(self, value: Value) -> Array | None:
        """Return the array of a constant that is not an expression, or None."""
        ...

    def uniform(self, value: Value) -> float | None:
        """Return the number that every element of a constant leaf equals, or None."""
        ...

    def columns(self, value: Value) -> tuple[int, int] | None:
        """Return the range of the last axis outside of which a value is known to be zero, or None for all of it."""
        ...

    def declare_linear(
        self, linear: LinearMap, x: Value, weight: Value | None, bias: Value | None, result: Value
    ) -> None:
        """Declare that a value is linear(x) with this weight and bias."""
        ...

    def may_be_infinite(self, value: Value) -> bool:
        """Return whether a value may hold infinite or undefined elements."""
        ...

    def without_infinities(self, value: Value) -> Value:
        """Return the value with 0 in place of elements that are infinite, undefined or as large."""
        ...

    def record_absorbed(self, entry: str, relevance: Callable[[], Value]) -> None:
        """Record relevance that a layer absorbs, for the ledger."""
        ...

    def record_rounding(self, s: Value, z: Value, exact: Callable[[], Value]) -> None:
        """Record s·(z − exact), what the rounding of a result adds to a denominator, for the ledger."""
        ...


@dataclass(frozen=True, eq=False)
class Value:
    """A traced array; shapes are per sample, without batch and target axes.

    Arithmetic broadcasts as in numpy, and appends instructions to the trace.

    Args:
        trace: The trace that it belongs to.
        index: Its instruction.
        shape: Its shape per sample; size-1 axes may stand for broadcast copies.
        sign: Its sign, as far as known.
        gates: Indices of forward tensors: wherever one of them is zero, this value is zero.
        constant: It depends on weights alone, and has no batch axis.
        targets: It has a leading target axis.
    """

    trace: Recorder
    index: int
    shape: Shape
    sign: Sign
    gates: frozenset[int]
    constant: bool
    targets: bool

    def __add__(self, other: Value | float) -> Value:
        return self.trace.map("add", self, other)

    def __radd__(self, other: float) -> Value:
        return self.trace.map("add", other, self)

    def __sub__(self, other: Value | float) -> Value:
        return self.trace.map("sub", self, other)

    def __rsub__(self, other: float) -> Value:
        return self.trace.map("sub", other, self)

    def __mul__(self, other: Value | float) -> Value:
        return self.trace.map("mul", self, other)

    def __rmul__(self, other: float) -> Value:
        return self.trace.map("mul", self, other)

    def __truediv__(self, other: Value | float) -> Value:
        return self.trace.map("div", self, other)

    def __rtruediv__(self, other: float) -> Value:
        return self.trace.map("div", other, self)

    def __neg__(self) -> Value:
        return self.trace.map("neg", self)

    def __gt__(self, other: Value | float) -> Value:
        return self.trace.map("greater", self, other)

    def __lt__(self, other: Value | float) -> Value:
        return self.trace.map("greater", other, self)

    @property
    def is_zero(self) -> bool:
        """True if it is known to be zero everywhere."""
        return self.sign == Sign.ZERO

    @property
    def nonnegative(self) -> bool:
        """True if it is known to have no negative element."""
        return Sign.NONNEGATIVE in self.sign

    @property
    def nonpositive(self) -> bool:
        """True if it is known to have no positive element."""
        return Sign.NONPOSITIVE in self.sign


def positive(x: Value) -> Value:
    """Return max(x, 0)."""
    return x.trace.map("max", x, 0.0)


def negative(x: Value) -> Value:
    """Return min(x, 0)."""
    return x.trace.map("min", x, 0.0)


def square(x: Value) -> Value:
    """Return x²."""
    return x.trace.map("square", x)


def power(x: Value, exponent: float) -> Value:
    """Return x**exponent, for x > 0 or an integer exponent."""
    return x.trace.map("power", x, parameter=exponent)


def one(x: Value) -> Value:
    """Return ones in the shape of x."""
    return x.trace.constant(np.broadcast_to(np.ones(()), x.shape))


def stabilize(z: Value, epsilon: float = 1e-6) -> Value:
    """Return z + ε·sgn(z) with sgn(0) = +1, a denominator that is never zero."""
    return z.trace.map("stabilize", z, parameter=epsilon)


def finite(x: Value) -> Value:
    """Return x, with 0 in place of infinite elements where it may have any: 0·∞ would be undefined."""
    return x.trace.without_infinities(x) if x.trace.may_be_infinite(x) else x


def is_finite(x: Value) -> Value:
    """Return 1 where x is finite, and 0 elsewhere."""
    return x.trace.constant(HUGE) > x.trace.map("max", x, -x)


def total(values: Iterable[Value]) -> Value:
    """Return the sum of the values, in order."""
    terms = list(values)
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def drop_broadcast(array: Array) -> Array:
    """Return the array without broadcast copies: axes of stride 0 are cut to one element."""
    return array[tuple(slice(0, 1) if stride == 0 and n > 1 else slice(None) for stride, n in zip(
        array.strides, array.shape, strict=True))]  # fmt: skip
