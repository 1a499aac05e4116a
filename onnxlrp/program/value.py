"""Values: what rules do arithmetic on. Each operation appends an instruction to the trace it belongs to.

Facts of a value: its sign; `gates`, the forward tensors where whose zeros it is zero too; whether it is constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .linear import LinearMap, Shape
from .maps import Sign
from .program import Array


class Recorder(Protocol):
    """Interface of the trace that a value belongs to: every operation on a value is recorded there."""

    def map(self, op: str, *operands: Value | float, parameter: float = 0.0) -> Value: ...

    def linear(self, linear: LinearMap, x: Value, weight: Value | None = None, bias: Value | None = None) -> Value: ...

    def adjoint(self, linear: LinearMap, s: Value, weight: Value | None = None) -> Value: ...

    def reused(self, linear: LinearMap, x: Value, weight: Value | None, bias: Value | None) -> Value | None: ...

    def constant(self, value: Array | float) -> Value: ...

    def zeros(self, shape: Shape = ()) -> Value: ...

    def spread(self, value: Value, shape: Shape) -> Value: ...

    def reshape(self, value: Value, shape: Shape) -> Value: ...

    def total(self, value: Value) -> Value: ...

    def gated(self, value: Value, gates: frozenset[int]) -> Value: ...

    def carried(self, linear: LinearMap, x: Value, weight: Value | None = None) -> frozenset[int]: ...

    def carried_back(self, linear: LinearMap, s: Value, weight: Value | None = None) -> frozenset[int]: ...

    def leaf(self, value: Value) -> Array | None: ...

    def uniform(self, value: Value) -> float | None: ...

    def record_absorbed(self, entry: str, relevance: Callable[[], Value]) -> None: ...


@dataclass(frozen=True, eq=False)
class Value:
    """A traced per-sample array."""

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
        """Known to be zero everywhere."""
        return self.sign == Sign.ZERO

    @property
    def nonnegative(self) -> bool:
        """Known to have no negative element."""
        return Sign.NONNEGATIVE in self.sign

    @property
    def nonpositive(self) -> bool:
        """Known to have no positive element."""
        return Sign.NONPOSITIVE in self.sign


def positive(x: Value) -> Value:
    """max(x, 0)."""
    return x.trace.map("max", x, 0.0)


def negative(x: Value) -> Value:
    """min(x, 0)."""
    return x.trace.map("min", x, 0.0)


def square(x: Value) -> Value:
    """x²."""
    return x.trace.map("square", x)


def power(x: Value, exponent: float) -> Value:
    """x**exponent, for x > 0 or a whole exponent."""
    return x.trace.map("power", x, parameter=exponent)


def one(x: Value) -> Value:
    """Ones in the shape of x."""
    return x.trace.constant(np.broadcast_to(np.ones(()), x.shape))


def stabilize(z: Value, epsilon: float = 1e-6) -> Value:
    """z + ε·sgn(z), sgn(0) = +1."""
    return z.trace.map("stabilize", z, parameter=epsilon)


def total(values: Iterable[Value]) -> Value:
    """The sum of the values that are not known to be zero."""
    terms = list(values)
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def distinct(array: Array) -> Array:
    """The array without the copies that broadcasting made: axes of stride 0 are cut to one element."""
    return array[tuple(slice(0, 1) if stride == 0 and n > 1 else slice(None) for stride, n in zip(
        array.strides, array.shape, strict=True))]  # fmt: skip
