"""The ledger: for every layer the relevance that arrived, was passed on, and was absorbed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SINKS = ("bias", "epsilon", "gate")
# Of kernel machines and mixtures alone: columns that are there where a layer has them.
FURTHER = ("coefficients", "entropy")


@dataclass(frozen=True, eq=False)
class LedgerRow:
    """The balance of one layer; arrays have one number for each sample, [N] or [T, N].

    Attributes:
        layer: The path of the layer.
        op: Its operator.
        rule: Its rule.
        conserves: Whether the rule conserves relevance; others, such as the gradient, have no balance.
        arrived: The relevance of the layer's result.
        passed: The relevance of its operands.
        bias: Relevance that the bias absorbed, by its own formula.
        epsilon: Relevance that the stabiliser absorbed, by its own formula.
        gate: Relevance dropped at gates and padding, by its own formula.
        scale: Σ|R| of the result.
        coefficients: Relevance that the coefficients of a kernel machine or mixture absorbed; None elsewhere.
        entropy: Relevance that its entropy absorbed; None elsewhere.
        others: The part of `passed` that went to operands that do not lead to the explained input; None where none did.
    """

    layer: str
    op: str
    rule: str
    conserves: bool
    arrived: Array
    passed: Array
    bias: Array
    epsilon: Array
    gate: Array
    scale: Array
    others: Array | None = None
    coefficients: Array | None = None
    entropy: Array | None = None

    @property
    def residual(self) -> Array:
        """Relevance that no formula accounts for: rounding, or a bug."""
        gone = sum(self.further.values())
        return np.asarray(self.arrived - self.passed - self.bias - self.epsilon - self.gate - gone)

    @property
    def further(self) -> dict[str, Array]:
        """What the columns of `FURTHER` absorbed that this layer has."""
        found = ((name, getattr(self, name)) for name in FURTHER)
        return {name: value for name, value in found if value is not None}

    @property
    def error(self) -> float:
        """The largest |residual| as a share of Σ|R|; 0 where the rule does not conserve."""
        if not self.conserves:
            return 0.0
        return float(np.max(np.abs(self.residual) / np.maximum(self.scale, 1e-30)))

    def select(self, samples: Array) -> LedgerRow:
        """Return the row for some of the samples, an array of indices."""
        columns = ("arrived", "passed", *SINKS, "scale")
        kept = {name: getattr(self, name)[..., samples] for name in (*columns, *self.further)}
        others = None if self.others is None else self.others[..., samples]
        return replace(self, **kept, others=others)

    def to_dict(self) -> dict[str, Any]:
        """Return the row in JSON's types."""
        numbers = {name: getattr(self, name).tolist() for name in ("arrived", "passed", *SINKS, "scale")}
        numbers |= {name: value.tolist() for name, value in self.further.items()}
        if self.others is not None:
            numbers["others"] = self.others.tolist()
        named = {"layer": self.layer, "op": self.op, "rule": self.rule, "conserves": self.conserves}
        return {**named, **numbers, "residual": self.residual.tolist(), "error": self.error}


def rows(plan: Sequence[Any], outputs: Mapping[str, Array]) -> tuple[LedgerRow, ...]:
    """Make the rows of a run from the plan of the ledger and the program's outputs, starting at the model's output."""
    made = []
    for entry in plan:
        columns = {c: outputs[f"ledger/{entry.node}/{c}"].astype(np.float64) for c in entry.columns}
        nothing = np.zeros_like(columns["out"])
        amounts = {sink: columns.get(sink, nothing) for sink in SINKS}
        made.append(
            LedgerRow(
                entry.layer,
                entry.op,
                entry.rule,
                entry.conserves,
                columns["out"],
                columns["in"],
                **amounts,
                scale=columns["scale"],
                others=columns.get("others"),
                coefficients=columns.get("coefficients"),
                entropy=columns.get("entropy"),
            )
        )
    return tuple(made)


def sums(ledger: Sequence[LedgerRow]) -> dict[str, Array]:
    """Sum up what all layers absorbed, by sink, and what went to other inputs, if any."""
    gone = {sink: np.asarray(sum(getattr(row, sink) for row in ledger)) for sink in SINKS}
    for name in FURTHER:
        amounts = [row.further[name] for row in ledger if name in row.further]
        gone |= {name: np.asarray(sum(amounts))} if amounts else {}
    others = [row.others for row in ledger if row.others is not None]
    return gone | ({"others": np.asarray(sum(others))} if others else {})
