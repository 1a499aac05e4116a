"""The ledger's plan: which outputs of a program hold what of which layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..graph.graph import Layer
from ..program.value import Value, total
from ..rules import Rule


@dataclass(frozen=True)
class LedgerEntry:
    """A line of the ledger's plan: which program outputs hold what of one layer."""

    node: str
    layer: str
    op: str
    rule: str
    conserves: bool
    columns: tuple[str, ...]


@dataclass(eq=False)
class LedgerPlan:
    """What has been entered: the plan, and its values by the names of outputs."""

    plan: list[LedgerEntry] = field(default_factory=list)
    columns: dict[str, Value] = field(default_factory=dict)

    def enter(
        self,
        layer: Layer,
        rule: Rule,
        arriving: Value,
        shares: Sequence[tuple[Value, Value, bool]],
        booked: Sequence[tuple[str, Value]],
    ) -> None:
        """One layer: the relevance of its result, (share, operand, whether that leads to the explained input) for each
        operand, and what went nowhere."""
        trace = arriving.trace
        entries = {"out": trace.total(arriving), "scale": trace.total(trace.map("max", arriving, -arriving))}
        inputs = [(trace.total(trace.spread(share, x.shape)), leads) for share, x, leads in shares]
        entries["in"] = total(got for got, _ in inputs)
        lost = [got for got, leads in inputs if not leads and not got.is_zero]
        if lost:
            entries["others"] = total(lost)
        for column in ("bias", "epsilon", "gate"):
            amounts = [value for entry, value in booked if entry == column]
            if amounts:
                entries[column] = total(amounts)
        conserves = bool(getattr(rule, "conserves", True))
        self.plan.append(LedgerEntry(layer.name, layer.label, layer.op, name_of(rule), conserves, tuple(entries)))
        self.columns |= {f"ledger/{layer.name}/{column}": value for column, value in entries.items()}


def name_of(rule: Rule) -> str:
    """What a rule is called in the ledger and in origins."""
    return str(getattr(rule, "name", type(rule).__name__))
