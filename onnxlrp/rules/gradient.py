"""The gradient and its two classical changes at the ReLU."""

from __future__ import annotations

from dataclasses import dataclass

from ..program.op import Op
from ..program.value import Value, positive
from . import rule


@rule("gradient", conserves=False)
@dataclass(frozen=True)
class Gradient:
    """The vector-Jacobian product."""

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        return op.vjp(relevance)


@rule("route")
@dataclass(frozen=True)
class Route:
    """Relevance goes where the value came from: max pooling (winner takes all), reshape, concat, slice, pad."""

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        return op.vjp(relevance)


@rule("guided", conserves=False)
@dataclass(frozen=True)
class Guided:
    """Guided backprop: (y > 0)·max(R, 0) at a ReLU (Springenberg et al. 2015)."""

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        return op.vjp(positive(relevance))


@rule("deconvnet", conserves=False)
@dataclass(frozen=True)
class DeconvNet:
    """Deconvnet: max(R, 0) at a ReLU, whatever its input was (Zeiler & Fergus 2014)."""

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        return (positive(relevance),)
