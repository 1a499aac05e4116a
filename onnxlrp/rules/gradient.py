"""Rules of gradients: the gradient itself, and its two variants at the ReLU."""

from __future__ import annotations

from dataclasses import dataclass

from ..program.op import Op
from ..program.value import Value, positive
from . import rule


@rule("gradient", conserves=False)
@dataclass(frozen=True)
class Gradient:
    """R_x = (∂y/∂x)ᵀ R, the gradient (Simonyan et al. 2014).

    References:
        Simonyan et al., Deep inside convolutional networks: visualising image classification models and saliency maps,
        ICLR workshop 2014.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the vector-Jacobian product for each operand."""
        return op.vjp(relevance)


@rule("route")
@dataclass(frozen=True)
class Route:
    """Relevance returns to the element that was copied: max pooling (winner takes all), reshape, concat, slice, pad.

    References:
        Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation,
        PLoS ONE 2015.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand; for copies it is the vector-Jacobian product."""
        return op.vjp(relevance)


@rule("guided", conserves=False)
@dataclass(frozen=True)
class Guided:
    """R_x = (y > 0)·max(R, 0) at a ReLU, guided backpropagation (Springenberg et al. 2015).

    References:
        Springenberg et al., Striving for simplicity: the all convolutional net, ICLR workshop 2015.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the gradient's share of the positive relevance."""
        return op.vjp(positive(relevance))


@rule("deconvnet", conserves=False)
@dataclass(frozen=True)
class DeconvNet:
    """R_x = max(R, 0) at a ReLU, whether it was active or not, the deconvnet (Zeiler & Fergus 2014).

    References:
        Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the positive part of the relevance."""
        return (positive(relevance),)
