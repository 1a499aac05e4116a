"""Ledger plan: maps program outputs to the ledger's columns, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..graph.graph import Layer
from ..program.value import Value, total
from ..rules import Rule


class LedgerEntry(NamedTuple):
    """The ledger's columns of one layer; the output "ledger/NODE/COLUMN" holds each, one number a sample.

    Args:
        node: The node's name, unique in the graph.
        layer: The layer's label.
        op: Its operator.
        rule: The name of its rule.
        conserves: Whether that rule conserves relevance.
        columns: "out" and "in", relevance of result and operands; "scale", Σ|R| of the result; where there is any,
            "others", what went to operands that do not lead to the explained input; "bias", "epsilon", "gate",
            "coefficients" and "entropy", what each of them absorbed.
    """

    node: str
    layer: str
    op: str
    rule: str
    conserves: bool
    columns: tuple[str, ...]


@dataclass(eq=False)
class LedgerPlan:
    """The entries so far, and their values by the names of program outputs."""

    plan: list[LedgerEntry] = field(default_factory=list)
    columns: dict[str, Value] = field(default_factory=dict)

    def add(
        self,
        layer: Layer,
        rule: Rule,
        arriving: Value,
        shares: Sequence[tuple[Value, Value, bool]],
        absorbed: Sequence[tuple[str, Value]],
    ) -> None:
        """Add one layer.

        Args:
            layer: The layer.
            rule: The rule that was applied.
            arriving: The relevance of its result, at its full shape.
            shares: (relevance, operand, whether the operand depends on the explained input) for each operand.
            absorbed: (column, sum over each sample) of what was not passed on.
        """
        trace = arriving.trace
        own = trace.same_elements(arriving)
        entries = {"out": trace.total(own), "scale": trace.total(trace.map("max", own, -own))}
        given = [(trace.same_elements(trace.broadcast_to(share, x.shape)), on_path) for share, x, on_path in shares]
        inputs = [(trace.total(share), on_path) for share, on_path in given]
        entries["in"] = total(amount for amount, _ in inputs)
        others = [amount for amount, on_path in inputs if not on_path and not amount.is_zero]
        if others:
            entries["others"] = total(others)
        for column in ("bias", "epsilon", "gate", "coefficients", "entropy"):
            amounts = [value for entry, value in absorbed if entry == column]
            if amounts:
                entries[column] = total(amounts)
        conserves = bool(getattr(rule, "conserves", True))
        self.plan.append(LedgerEntry(layer.name, layer.label, layer.op, name_of(rule), conserves, tuple(entries)))
        self.columns |= {f"ledger/{layer.name}/{column}": value for column, value in entries.items()}


def name_of(rule: Rule) -> str:
    """Return the name of a rule, as ledger and origins show it."""
    return str(getattr(rule, "name", type(rule).__name__))
