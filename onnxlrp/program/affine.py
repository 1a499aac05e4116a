"""Affine: a linear map with its weight and bias, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .linear import Conv, LinearMap, Shape, Sum
from .trace import Trace
from .value import Value


@dataclass(frozen=True)
class Diagonal(LinearMap):
    """Elementwise scaling by a weight, the identity without one; a smaller source is broadcast."""


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
        known = trace.known(self.linear, x, self.weight, self.bias)
        if known is not None:
            return known
        if isinstance(self.linear, Diagonal):
            y = x if self.weight is None else x * self.weight
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

    def _ones(self, trace: Trace) -> Value:
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
