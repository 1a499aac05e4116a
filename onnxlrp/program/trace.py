"""Tracing: expressions of rules become instructions, in their cheapest equal form."""

from __future__ import annotations

from collections.abc import Iterable

from . import rewrites
from .linear import LinearMap
from .tape import Tape
from .value import Value


class Trace(Tape):
    """A tape that rewrites expressions as they are recorded.

    Args:
        rewriting: The rewrites that are on, of `rewrites.REWRITES`.
        ledger: Record what layers absorb (`record_absorbed`).
    """

    def __init__(self, rewriting: Iterable[str] = rewrites.REWRITES, ledger: bool = False) -> None:
        super().__init__(rewriting, ledger)

    def map(self, op: str, *operands: Value | float, parameter: float = 0.0) -> Value:
        """Return an elementwise map of the operands, recorded in its cheapest equal form."""
        values = tuple(v if isinstance(v, Value) else self.constant(v) for v in operands)
        on = self.rewrites
        if op == "div" and "gated" in on:
            values = (values[0], rewrites.under_gate(self, values[1], values[0].gates))
        if op == "mul" and "summand" in on:
            values = rewrites.without_summands(self, values)
        if op == "add" and "factor" in on and (product := rewrites.common_factor(self, *values)) is not None:
            return product
        if op == "greater" and "gated" in on:
            values = rewrites.compare_activation(self, values)
        if "zero" in on and (simpler := rewrites.simplify(self, op, values)) is not None:
            return simpler
        if op == "stabilize" and "fold" in on:
            return rewrites.stabilize_by_sign(self, values[0], parameter)
        return self.append_map(op, values, parameter)

    def total(self, value: Value) -> Value:
        """Return the sum over each sample, of shape (), in its cheapest equal form."""
        if "factor" in self.rewrites and (factored := rewrites.total_of_product(self, value)) is not None:
            return factored
        return super().total(value)

    def linear(self, linear: LinearMap, x: Value, weight: Value | None = None, bias: Value | None = None) -> Value:
        """Return a linear map applied to x, recorded in its cheapest equal form (see `Tape.linear`)."""
        if weight is None and bias is None and "slice" in self.rewrites:
            part = rewrites.part_of_adjoint(self, linear, x)
            if part is not None:
                return part
        return super().linear(linear, x, weight, bias)
