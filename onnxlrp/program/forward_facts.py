"""What is known of the forward pass while a program is traced: what it has computed, what its tensors gate."""

from __future__ import annotations

from typing import Any

from .linear import LinearMap
from .value import Value

_Route = tuple[LinearMap, int | None]  # a map that routes, and its selector


class ForwardFacts:
    """Facts by the indices of values."""

    def __init__(self) -> None:
        self.rectified: dict[int, Value] = {}  # z -> a where a = max(z, 0)
        self.clipped: dict[int, Value] = {}  # z -> a where a > 0 exactly where z > 0
        self.summands: dict[int, tuple[Value, Value]] = {}  # a -> (relu(a + b), b)
        self._results: dict[tuple[Any, ...], Value] = {}  # what the forward pass has computed already
        self._copies: dict[int, list[tuple[_Route, int]]] = {}  # y -> [(L, x)] where y = L x and L routes

    def know(self, linear: LinearMap, x: Value, weight: Value | None, bias: Value | None, result: Value) -> None:
        """`result` is linear(x) of the model itself: whoever asks for it again reads it."""
        operands = tuple(v.index for v in (x, weight, bias) if v is not None)
        self._results["linear", linear, operands, bias is not None] = result
        if linear.routes:
            self._copies.setdefault(result.index, []).append((_route(linear, weight), x.index))

    def know_map(self, op: str, operands: tuple[Value, ...], result: Value) -> None:
        """`result` is this elementwise map of the operands, computed by the model."""
        self._results["map", op, tuple(v.index for v in operands), 0.0] = result

    def know_rectified(self, z: Value, a: Value, exact: bool) -> None:
        """a > 0 exactly where z > 0 (Relu, Clip from 0), and if `exact` a = z there (Relu)."""
        self.clipped[z.index] = a
        if exact:
            self.rectified[z.index] = a

    def know_summand(self, a: Value, z: Value, b: Value) -> None:
        """z = a + b: where only z > 0 counts, a may be had as relu(z) - b, so that its kernel stays fused."""
        if z.index in self.rectified:
            self.summands[a.index] = self.rectified[z.index], b

    def known(self, linear: LinearMap, x: Value, weight: Value | None, bias: Value | None) -> Value | None:
        """What the forward pass has for linear(x), or None."""
        operands = tuple(v.index for v in (x, weight, bias) if v is not None)
        return self._results.get(("linear", linear, operands, bias is not None))

    def known_map(self, op: str, operands: tuple[Value, ...], parameter: float = 0.0) -> Value | None:
        """What the forward pass has for an elementwise map, or None."""
        return self._results.get(("map", op, tuple(v.index for v in operands), parameter))

    def carried(self, linear: LinearMap, x: Value, weight: Value | None = None) -> frozenset[int]:
        """The gates of linear(x) that come from those of x, where the map routes."""
        route = _route(linear, weight)
        if not linear.routes or not x.gates:
            return frozenset()
        known = self._copies.items()
        return frozenset(y for y, pairs in known if any(other == route and i in x.gates for other, i in pairs))

    def carried_back(self, linear: LinearMap, s: Value, weight: Value | None = None) -> frozenset[int]:
        """The gates of the adjoint's result that come from those of s, where the map routes."""
        route = _route(linear, weight)
        if not linear.routes:
            return frozenset()
        return frozenset(x for y in s.gates for known, x in self._copies.get(y, ()) if known == route)


def _route(linear: LinearMap, selector: Value | None) -> _Route:
    return linear, None if selector is None else selector.index
