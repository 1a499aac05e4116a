"""Affine maps: a linear map with its weight and bias, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .linear import Conv, LinearMap, Matmul, Shape, Sum, Take
from .value import Recorder, Value, finite


@dataclass(frozen=True)
class Diagonal(LinearMap):
    """Elementwise scaling by a weight, or the identity without one; a source smaller than the target is broadcast."""


class LinearStep(NamedTuple):
    """One map of a `Composed`.

    Args:
        linear: The map.
        adjoint: Apply its transpose instead.
        weight: The map's weight, if it has one of its own.
        layer_weight: Use the weight of the `Affine` that applies the composition instead of `weight`.
    """

    linear: LinearMap
    adjoint: bool = False
    weight: Value | None = None
    layer_weight: bool = False

    def shapes(self) -> tuple[Shape, Shape]:
        """Return the shapes of operand and result."""
        shapes = (self.linear.source, self.linear.target)
        return shapes[::-1] if self.adjoint else shapes

    @property
    def routes(self) -> bool:
        """True if every output element is a copy of one input element, or zero."""
        if isinstance(self.linear, Matmul) and self.weight is not None and not self.adjoint:
            matrix = self.weight.trace.leaf(self.weight)
            return matrix is not None and bool(np.isin(matrix, (0, 1)).all() and (matrix.sum(axis=-2) <= 1).all())
        if isinstance(self.linear, Take) and self.adjoint:
            return False  # an element may receive several
        return self.linear.routes or (self.adjoint and isinstance(self.linear, Sum))

    def apply(self, x: Value, layer_weight: Value | None, transposed: bool) -> Value:
        """Apply the step to x, or its transpose; `layer_weight` is the weight of the whole composition."""
        weight = layer_weight if self.layer_weight else self.weight
        if isinstance(self.linear, Diagonal):
            affine = Affine(self.linear, weight)
            return affine.T(x) if self.adjoint != transposed else affine(x)
        apply = x.trace.adjoint if self.adjoint != transposed else x.trace.linear
        return apply(self.linear, x, weight)


@dataclass(frozen=True)
class Composed(LinearMap):
    """A composition of maps, first applied first.

    It expresses operators that the engines' tables do not list: ConvTranspose, Resize, Gather, Tile.
    """

    steps: tuple[LinearStep, ...]

    @property
    def routes(self) -> bool:
        """True if every step routes."""
        return all(step.routes for step in self.steps)


def composed(*steps: LinearStep) -> Composed:
    """Compose steps into one map, from the operand of the first to the result of the last."""
    return Composed(steps[0].shapes()[0], steps[-1].shapes()[1], steps)


@dataclass(frozen=True)
class Affine:
    """y = W x + b, for one operand x of a layer.

    Args:
        linear: The geometry of W; per-sample shapes `source` → `target`.
        weight: The numbers of W in the layout of `linear` (for Conv [C_out, C_in/group, *kernel], for Matmul
            [in, out]); None for maps without weights, such as pooling and the identity.
        bias: [C_out] for a convolution, broadcastable to the result elsewhere; None without one.
        gain: A scalar that multiplies a map without weights, where `reweighted` applies.
    """

    linear: LinearMap
    weight: Value | None = None
    bias: Value | None = None
    gain: Value | None = None

    def __call__(self, x: Value) -> Value:
        """Return W x + b, [*target] per sample; read from the forward pass where it has computed this result."""
        trace = x.trace
        if self.gain is not None:
            return Affine(self.linear)(x) * self.gain
        known = trace.reused(self.linear, x, self.weight, self.bias)
        if known is not None:
            return known
        if isinstance(self.linear, Diagonal):
            y = x if self.weight is None else x * self.weight
            return y if self.bias is None else y + self.bias
        if isinstance(self.linear, Composed):
            y = x
            for step in self.linear.steps:
                y = step.apply(y, self.weight, transposed=False)
            y = trace.with_gates(y, trace.forward_gates(self.linear, x))
            return y if self.bias is None else y + self.bias
        if self._uniform is not None and x.constant and self.bias is None:
            # Equal weights: one output channel of ones, on the sum over input channels.
            summed = self._channels(x)
            return trace.linear(self._one_channel, summed, self._ones(trace)) * self._uniform
        return trace.linear(self.linear, x, self.weight, self.bias)

    def T(self, s: Value) -> Value:
        """Return Wᵀ s, for s of the result's shape; the shape broadcasts to the operand's, and need not equal it."""
        trace = s.trace
        if self.gain is not None:
            return Affine(self.linear).T(s) * self.gain
        if isinstance(self.linear, Diagonal):
            s = s if self.weight is None else s * finite(self.weight)
            if self.linear.source != self.linear.target:
                s = trace.broadcast_to(s, self.linear.target)  # implicit broadcast copies are part of the sum
            return _unbroadcast(s, self.linear.source)
        if isinstance(self.linear, Composed):
            r = s
            for step in reversed(self.linear.steps):
                r = step.apply(r, self.weight, transposed=True)
            return trace.with_gates(r, trace.adjoint_gates(self.linear, s))
        if self._uniform is not None:
            channels = Sum(self.linear.target, (1, *self.linear.target[1:]), (0,))
            summed = trace.linear(channels, trace.broadcast_to(s, self.linear.target))
            return trace.adjoint(self._one_channel, summed, self._ones(trace)) * self._uniform
        return trace.adjoint(self.linear, s, None if self.weight is None else finite(self.weight))

    def reweighted(self, f: Callable[[Value], Value]) -> Affine:
        """Return the map with f(weight) and f(bias), as in (W⁺, b⁺); f applies to `gain` where there is no weight."""
        bias = None if self.bias is None else f(self.bias)
        bias = None if bias is None or bias.is_zero else bias
        if self.weight is None:
            trace = self.gain.trace if self.gain is not None else None if self.bias is None else self.bias.trace
            assert trace is not None, "a map without weight takes its trace from `gain`"
            return replace(self, gain=f(trace.constant(1.0) if self.gain is None else self.gain), bias=bias)
        return replace(self, weight=f(self.weight), bias=bias)

    def unbiased(self) -> Affine:
        """Return the linear part, W x."""
        return replace(self, bias=None)

    def absorbed(self, s: Value) -> Value | None:
        """Return s·b, the relevance that the bias absorbs, in the result's shape; None without a bias."""
        if self.bias is None:
            return None
        if isinstance(self.linear, Conv):
            width = self.linear.target[0]
            return s * s.trace.reshape(finite(self.bias), (width, *([1] * (len(self.linear.target) - 1))))
        return s * finite(self.bias)

    @property
    def terms(self) -> int:
        """Number of products that one result element sums."""
        if isinstance(self.linear, Conv):
            return self.linear.source[0] // self.linear.group * int(np.prod(self.linear.window.kernel))
        if isinstance(self.linear, Composed):
            # An upper bound for an adjoint convolution: its whole kernel, over the channels of a group.
            convs = [step.linear for step in self.linear.steps if isinstance(step.linear, Conv)]
            if convs:
                return convs[0].target[0] // convs[0].group * int(np.prod(convs[0].window.kernel))
        return int(np.prod(self.linear.source[-1:]))

    # A convolution whose weights are all equal (the flat rule) needs one channel only.

    @property
    def _uniform(self) -> float | None:
        """The number that every weight of an ungrouped convolution equals, or None."""
        if self.weight is None or not isinstance(self.linear, Conv) or self.linear.group != 1:
            return None
        return self.weight.trace.uniform(self.weight)

    @property
    def _one_channel(self) -> Conv:
        assert isinstance(self.linear, Conv)
        return replace(self.linear, source=(1, *self.linear.source[1:]), target=(1, *self.linear.target[1:]))

    def _ones(self, trace: Recorder) -> Value:
        return trace.constant(np.broadcast_to(np.ones(()), (1, 1, *self._one_channel.window.kernel)))

    def _channels(self, x: Value) -> Value:
        source = self.linear.source
        return x.trace.linear(Sum(source, (1, *source[1:]), (0,)), x)


def _unbroadcast(s: Value, shape: Shape) -> Value:
    """Return s summed over the axes along which an operand of this shape was broadcast."""
    if s.shape == shape or all(n == 1 or n == m for n, m in zip(s.shape[::-1], shape[::-1], strict=False)):
        return s
    kept = (1,) * (len(s.shape) - len(shape)) + shape
    axes = tuple(axis for axis, (n, m) in enumerate(zip(s.shape, kept, strict=True)) if m == 1 and n != 1)
    summed = s.trace.linear(Sum(s.shape, kept, axes), s) if axes else s
    return summed if kept == shape else summed.trace.reshape(summed, shape)
