"""Rules of gradients: the gradient itself, and its two variants at the ReLU."""

from __future__ import annotations

from dataclasses import dataclass

from ..program.op import Op
from ..program.value import Value, negative, positive, total
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


@rule("redirect", conserves=False)
@dataclass(frozen=True)
class Redirect:
    """The gradient, redirected through a ReLU or Clip where nothing of a sample passes, as all its units are dead.

    R_x = (∂y/∂x)ᵀ R where any of it is not zero in the sample; else max(R, 0) where y is at the lower limit and
    min(R, 0) where it is at the upper one: what moves a unit back to where it lives. As soon as one lives, the gradient
    is exact again. Other layers have their gradient.

    References:
        Olah et al., Feature visualization, Distill 2017; the gradient of "redirected ReLU" in its library Lucid, there
        for the first steps of an optimisation.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand."""
        passed = op.vjp(relevance)
        if op.limits is None:
            return passed
        (slope,), trace, y = passed, relevance.trace, op.result
        low, high = op.limits
        moves = []
        if low > -float("inf"):
            moves.append(positive(relevance) * (1.0 - (y > low)))
        if high < float("inf"):
            moves.append(negative(relevance) * (1.0 - (y < high)))
        blocked = 1.0 - (trace.total(trace.map("max", slope, -slope)) > 0.0)
        blocked = trace.reshape(blocked, (1,) * len(y.shape))
        return (slope + total(moves) * blocked if moves else slope,)
