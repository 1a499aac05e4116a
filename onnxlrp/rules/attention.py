"""Rules for attention: a softmax inside a network, and the product of its weights with values."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..program.op import Op
from ..program.value import Value, finite
from . import rule
from .lrp import Norm
from .share import share


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


@rule("stop")
@dataclass(frozen=True)
class Stop:
    """R_x = 0: what arrives goes no further, and the ledger books it as dropped at a gate (Ali et al. 2022, softmax).

    References:
        Ali et al., XAI for transformers: better explanations through conservative propagation, ICML 2022.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return zeros for each operand."""
        relevance.trace.record_absorbed("gate", lambda: relevance)
        return tuple(relevance.trace.zeros(x.shape) for x in op.operands)


@rule("value")
@dataclass(frozen=True)
class ValuePath:
    """R_v = v ⊙ Aᵀ(R / stabilize(A v)), R_A = 0: attention weights A are factors, values take all (Ali et al. 2022).

    A product in which no factor comes of a softmax has two sides alike: both share, as under `norm`.

    Args:
        epsilon: ε, the stabiliser of the denominator.

    References:
        Ali et al., XAI for transformers: better explanations through conservative propagation, ICML 2022.
    """

    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        if op.weights is None or len(op.parts) != 2:
            return Norm(self.epsilon)(op, relevance)
        own = 1 - op.weights
        (values,) = share(relevance, op.parts[own : own + 1], self.epsilon)
        none = relevance.trace.zeros(op.operands[op.weights].shape)
        return (none, values) if own else (values, none)
