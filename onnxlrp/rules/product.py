"""Rules for products of activations: how relevance is divided among the factors."""

from __future__ import annotations

from dataclasses import dataclass

from ..program.affine import Affine, Diagonal
from ..program.op import Op
from ..program.value import Value, stabilize, total
from . import rule
from .share import record_losses


def _unbroadcast(op: Op, operand: Value, relevance: Value) -> Value:
    """Return relevance of the result in the shape of a broadcast operand: summed over its copies."""
    return Affine(Diagonal(operand.shape, op.result.shape)).T(relevance)


@rule("signal")
@dataclass(frozen=True)
class Signal:
    """R_signal = R, R_gate = 0: the signal takes all relevance (Arras et al. 2017, LRP-all).

    References:
        Arras et al., Explaining recurrent neural network predictions in sentiment analysis, WASSA 2017.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance for the signal, the first operand, and zeros for the gates."""
        signal, *gates = op.operands
        none = (relevance.trace.zeros(gate.shape) for gate in gates)
        return (_unbroadcast(op, signal, relevance), *none)


@rule("uniform")
@dataclass(frozen=True)
class Uniform:
    """R_x = R / n for each of n factors, R / 2 of two (Achtibat et al. 2024, eq. 13, elementwise).

    References:
        Achtibat et al., AttnLRP: attention-aware layer-wise relevance propagation for transformers, ICML 2024.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the same share for each operand, in its shape."""
        share = relevance * (1.0 / len(op.operands))
        return tuple(_unbroadcast(op, x, share) for x in op.operands)


@rule("proportional")
@dataclass(frozen=True)
class Proportional:
    """R_x = R x / stabilize(Σ x), the share of each factor in the sum of all factors (Arras et al. 2019, LRP-prop).

    Args:
        absolute: Take |x| for x (LRP-abs), so that factors of opposite signs do not cancel.
        epsilon: ε, the stabiliser of the denominator.

    References:
        Arras et al., Explaining and interpreting LSTMs, in Explainable AI, Springer 2019.
    """

    absolute: bool = False
    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        trace = relevance.trace
        sizes = [trace.map("max", x, -x) if self.absolute else x for x in op.operands]
        z = total(sizes)
        s = relevance / stabilize(z, self.epsilon)
        record_losses(s, z, [], self.epsilon)
        return tuple(_unbroadcast(op, x, s * size) for x, size in zip(op.operands, sizes, strict=True))
