"""Rules for products of activations: who of the factors gets the relevance."""

from __future__ import annotations

from dataclasses import dataclass

from ..program.affine import Affine, Diagonal
from ..program.op import Op
from ..program.value import Value
from . import rule


def _unbroadcast(op: Op, operand: Value, relevance: Value) -> Value:
    """Relevance of the result as an operand that was broadcast receives it: summed over its copies."""
    return Affine(Diagonal(operand.shape, op.result.shape)).T(relevance)


@rule("signal")
@dataclass(frozen=True)
class Signal:
    """The signal takes all of the relevance and its gate none (Arras et al. 2017, LRP-all)."""

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        signal, *gates = op.operands
        none = (relevance.trace.zeros(gate.shape) for gate in gates)
        return (_unbroadcast(op, signal, relevance), *none)


@rule("uniform")
@dataclass(frozen=True)
class Uniform:
    """Each factor takes the same share, R/2 of two (Achtibat et al. 2024, eq. 13, elementwise)."""

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        share = relevance * (1.0 / len(op.operands))
        return tuple(_unbroadcast(op, x, share) for x in op.operands)
