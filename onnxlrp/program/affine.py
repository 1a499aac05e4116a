"""Affine: a linear map with its weight and bias, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .linear import Conv, LinearMap, Matmul, Shape, Sum
from .value import Recorder, Value


@dataclass(frozen=True)
class Diagonal(LinearMap):
    """Elementwise scaling by a weight, the identity without one; a smaller source is broadcast."""


@dataclass(frozen=True)
class LinearStep:
    """One map of a `Composed`, or its adjoint; its weight is `weight`, or the layer's own."""

    linear: LinearMap
    adjoint: bool = False
    weight: Value | None = None
    own: bool = False

    def ends(self) -> tuple[Shape, Shape]:
        """The shapes of operand and result."""
        ends = (self.linear.source, self.linear.target)
        return ends[::-1] if self.adjoint else ends

    @property
    def routes(self) -> bool:
        """Whether every output is a copy of one input, or zero."""
        if isinstance(self.linear, Matmul) and self.weight is not None and not self.adjoint:
            matrix = self.weight.trace.leaf(self.weight)
            return matrix is not None and bool(np.isin(matrix, (0, 1)).all() and (matrix.sum(axis=-2) <= 1).all())
        return self.linear.routes or (self.adjoint and isinstance(self.linear, Sum))

    def run(self, x: Value, own: Value | None, transposed: bool) -> Value:
        """The map applied to x, or its transpose."""
        weight = own if self.own else self.weight
        if isinstance(self.linear, Diagonal):
            affine = Affine(self.linear, weight)
            return affine.T(x) if self.adjoint != transposed else affine(x)
        run = x.trace.adjoint if self.adjoint != transposed else x.trace.linear
        return run(self.linear, x, weight)


@dataclass(frozen=True)
class Composed(LinearMap):
    """Maps one after the other: what is no row of the engines' tables (ConvTranspose, Resize, Gather, Tile)."""

    steps: tuple[LinearStep, ...]

    @property
    def routes(self) -> bool:
        return all(step.routes for step in self.steps)


def composed(*steps: LinearStep) -> Composed:
    """The steps as one map, shapes from their ends."""
    return Composed(steps[0].ends()[0], steps[-1].ends()[1], steps)


@dataclass(frozen=True)
class Affine:
    """W x + b. A map without a weight (pooling, identity) has `gain`, a number that multiplies it.

    `bias` has the shape of a bias operand ([C_out] for a convolution, broadcastable to the result elsewhere).
    """

    linear: LinearMap
    weight: Value | None = None
    bias: Value | None = None
    gain: Value | None = None

    def __call__(self, x: Value) -> Value:
        """W x + b."""
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
                y = step.run(y, self.weight, transposed=False)
            y = trace.gated(y, trace.carried(self.linear, x))
            return y if self.bias is None else y + self.bias
        if self._uniform is not None and x.constant and self.bias is None:
            # Equal weights: one output channel of ones, on the sum over input channels.
            summed = self._channels(x)
            return trace.linear(self._one_channel, summed, self._ones(trace)) * self._uniform
        return trace.linear(self.linear, x, self.weight, self.bias)

    def T(self, s: Value) -> Value:
        """Wᵀ s; its shape may still want broadcasting to the operand's."""
        trace = s.trace
        if self.gain is not None:
            return Affine(self.linear).T(s) * self.gain
        if isinstance(self.linear, Diagonal):
            s = s if self.weight is None else s * self.weight
            if self.linear.source != self.linear.target:
                s = trace.spread(s, self.linear.target)  # copies that broadcasting left implicit are summed too
            return _narrowed(s, self.linear.source)
        if isinstance(self.linear, Composed):
            r = s
            for step in reversed(self.linear.steps):
                r = step.run(r, self.weight, transposed=True)
            return trace.gated(r, trace.carried_back(self.linear, s))
        if self._uniform is not None:
            channels = Sum(self.linear.target, (1, *self.linear.target[1:]), (0,))
            summed = trace.linear(channels, trace.spread(s, self.linear.target))
            return trace.adjoint(self._one_channel, summed, self._ones(trace)) * self._uniform
        return trace.adjoint(self.linear, s, self.weight)

    def reweighted(self, f: Callable[[Value], Value]) -> Affine:
        """The same map with f(weight) and f(bias)."""
        bias = None if self.bias is None else f(self.bias)
        bias = None if bias is None or bias.is_zero else bias
        if self.weight is None:
            trace = self.gain.trace if self.gain is not None else None if self.bias is None else self.bias.trace
            assert trace is not None, "a map without weight takes its trace from `gain`"
            return replace(self, gain=f(trace.constant(1.0) if self.gain is None else self.gain), bias=bias)
        return replace(self, weight=f(self.weight), bias=bias)

    def unbiased(self) -> Affine:
        """W x."""
        return replace(self, bias=None)

    def absorbed(self, s: Value) -> Value | None:
        """s·b, the relevance that the bias takes; None without a bias."""
        if self.bias is None:
            return None
        if isinstance(self.linear, Conv):
            width = self.linear.target[0]
            return s * s.trace.reshape(self.bias, (width, *([1] * (len(self.linear.target) - 1))))
        return s * self.bias

    @property
    def terms(self) -> int:
        """How many products a result is the sum of."""
        if isinstance(self.linear, Conv):
            return self.linear.source[0] // self.linear.group * int(np.prod(self.linear.window.kernel))
        if isinstance(self.linear, Composed):
            # Of an adjoint convolution, at most: its own kernel, over the channels that share a group.
            convs = [step.linear for step in self.linear.steps if isinstance(step.linear, Conv)]
            if convs:
                return convs[0].target[0] // convs[0].group * int(np.prod(convs[0].window.kernel))
        return int(np.prod(self.linear.source[-1:]))

    # A convolution whose weights are all equal (the flat rule) needs one channel only.

    @property
    def _uniform(self) -> float | None:
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


def _narrowed(s: Value, shape: Shape) -> Value:
    """Sum over the axes along which a smaller operand was broadcast."""
    if s.shape == shape or all(n == 1 or n == m for n, m in zip(s.shape[::-1], shape[::-1], strict=False)):
        return s
    kept = (1,) * (len(s.shape) - len(shape)) + shape
    axes = tuple(i for i, (a, b) in enumerate(zip(s.shape, kept, strict=True)) if b == 1 and a != 1)
    summed = s.trace.linear(Sum(s.shape, kept, axes), s) if axes else s
    return summed if kept == shape else summed.trace.reshape(summed, shape)
