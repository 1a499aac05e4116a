"""Rule for a softmax inside a network: attention weights."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..program.op import Op
from ..program.value import Value, finite
from . import rule


@rule("softmax")
@dataclass(frozen=True)
class Softmax:
    """R_x = x (R − p ΣR), the first-order Taylor expansion of p = softmax(x) at x (Achtibat et al. 2024, eq. 12).

    The bias of the expansion absorbs R (1 − x + Σ p x), which the ledger records. A masked element, x = −∞, counts as
    x = 0: it is a constant, and has no relevance.

    References:
        Achtibat et al., AttnLRP: attention-aware layer-wise relevance propagation for transformers, ICML 2024.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of x, in its shape."""
        (x, *_), p, along = op.operands, op.result, op.along
        if along is None:
            raise UsageError(
                f'rule "softmax" requires a softmax; {op.name or op.kind} is not one', "match Softmax layers only"
            )
        if x.trace.may_be_infinite(x):
            x, p = finite(x), x.trace.without_infinities(p)  # p is undefined where a row is masked altogether
        relevance.trace.record_absorbed("bias", lambda: relevance * (1.0 - x + along(p * x)))
        return (x * (relevance - p * along(relevance)),)
