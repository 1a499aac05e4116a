"""Facts about the forward pass, used while a program is traced: results it computes, and tensors that gate others."""

from __future__ import annotations

from typing import Any

from .linear import LinearMap
from .value import Value

_Route = tuple[LinearMap, int | None]  # a map that routes, and the index of its selector


class ForwardFacts:
    """Facts about the forward pass, by the indices of traced values.

    Layers declare what their forward pass computes; tracing then reads these tensors instead of computing them again,
    and follows where zeros of one tensor imply zeros of another.
    """

    def __init__(self) -> None:
        self.rectified: dict[int, Value] = {}  # z -> a where a = max(z, 0)
        self.clipped: dict[int, Value] = {}  # z -> a where a > 0 exactly where z > 0
        self.summands: dict[int, tuple[Value, Value]] = {}  # a -> (relu(a + b), b)
        self._results: dict[tuple[Any, ...], Value] = {}  # operation and operands -> the forward pass's result
        self._copies: dict[int, list[tuple[_Route, int]]] = {}  # y -> [(L, x)] where y = L x and L routes
        self._copied: dict[int, list[tuple[_Route, int]]] = {}  # x -> [(L, y)]

    def declare_linear(
        self, linear: LinearMap, x: Value, weight: Value | None, bias: Value | None, result: Value
    ) -> None:
        """Declare that the forward pass computes `result` = linear(x) with this weight and bias.

        Args:
            linear: The map.
            x: Its operand.
            weight: Its weight (for Select: the selector, for Take: the places), or None.
            bias: Its bias, or None.
            result: The tensor of the forward pass that equals it.
        """
        operands = tuple(v.index for v in (x, weight, bias) if v is not None)
        self._results["linear", linear, operands, bias is not None] = result
        if linear.routes:
            route = _route(linear, weight)
            self._copies.setdefault(result.index, []).append((route, x.index))
            self._copied.setdefault(x.index, []).append((route, result.index))

    def declare_map(self, op: str, operands: tuple[Value, ...], result: Value) -> None:
        """Declare that the forward pass computes `result` = op(*operands), an elementwise map."""
        self._results["map", op, tuple(v.index for v in operands), 0.0] = result

    def declare_rectified(self, z: Value, a: Value, exact: bool) -> None:
        """Declare that a > 0 exactly where z > 0 (Relu, Clip from 0), and if `exact` that a = z there (Relu)."""
        self.clipped[z.index] = a
        if exact:
            self.rectified[z.index] = a

    def declare_summand(self, a: Value, z: Value, b: Value) -> None:
        """Declare z = a + b. Where only z > 0 matters, a is read as relu(z) - b, which keeps the runtime's fusion."""
        if z.index in self.rectified:
            self.summands[a.index] = self.rectified[z.index], b

    def find_linear(self, linear: LinearMap, x: Value, weight: Value | None, bias: Value | None) -> Value | None:
        """Return the forward pass's tensor that equals linear(x), or None."""
        operands = tuple(v.index for v in (x, weight, bias) if v is not None)
        return self._results.get(("linear", linear, operands, bias is not None))

    def find_map(self, op: str, operands: tuple[Value, ...], parameter: float = 0.0) -> Value | None:
        """Return the forward pass's tensor that equals this elementwise map, or None."""
        return self._results.get(("map", op, tuple(v.index for v in operands), parameter))

    def forward_gates(self, linear: LinearMap, x: Value, weight: Value | None = None) -> frozenset[int]:
        """Return the gates of linear(x) that follow from those of x; none unless the map routes."""
        route = _route(linear, weight)
        if not linear.routes or not x.gates:
            return frozenset()
        return frozenset(y for i in x.gates for other, y in self._copied.get(i, ()) if other == route)

    def adjoint_gates(self, linear: LinearMap, s: Value, weight: Value | None = None) -> frozenset[int]:
        """Return the gates of the adjoint's result that follow from those of s; none unless the map routes."""
        route = _route(linear, weight)
        if not linear.routes:
            return frozenset()
        return frozenset(x for y in s.gates for other, x in self._copies.get(y, ()) if other == route)


def _route(linear: LinearMap, selector: Value | None) -> _Route:
    return linear, None if selector is None else selector.index
