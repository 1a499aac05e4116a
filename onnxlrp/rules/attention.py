"""The rule for a softmax inside a network: attention weights."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..program.op import Op
from ..program.value import Value
from . import rule


@rule("softmax")
@dataclass(frozen=True)
class Softmax:
    """R_x = x (R - p ΣR), the first-order Taylor expansion of p = softmax(x) at x (Achtibat et al. 2024, eq. 12).

    What the expansion's bias takes, R (1 - x + Σ p x), is booked.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        (x, *_), p, along = op.operands, op.result, op.along
        if along is None:
            raise UsageError(
                f'rule "softmax" wants a softmax, and {op.name or op.kind} is none', "match Softmax layers alone"
            )
        relevance.trace.record_absorbed("bias", lambda: relevance * (1.0 - x + along(p * x)))
        return (x * (relevance - p * along(relevance)),)
