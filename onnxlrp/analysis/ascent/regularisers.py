"""Regularisers: penalties on pictures, and what is done to pixels after a step (Yosinski et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import at_least
from .optimize import Array

# -- penalties: x [N, C, *space] → value [N] and gradient


@dataclass(frozen=True)
class AlphaNorm:
    """λ Σ |x - c|^α / places; α = 2 is the l2 penalty of Simonyan et al. 2013.

    Attributes:
        weight: λ.
        alpha: α, 1 or more.
        centre: c, the value that costs nothing.
    """

    weight: float
    alpha: float = 2.0
    centre: float = 0.5

    def __post_init__(self) -> None:
        at_least(1, alpha=self.alpha)
        at_least(0, weight=self.weight)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return the penalty of each x and its gradient."""
        away = x - np.float32(self.centre)
        share = self.weight / (x[0].size / x.shape[1])
        slope = np.abs(away) ** (self.alpha - 1)
        value = share * (slope * np.abs(away)).reshape(len(x), -1).sum(axis=1)
        return value, (share * self.alpha) * slope * np.sign(away)


@dataclass(frozen=True)
class TotalVariation:
    """λ Σ (Σ_axes (x(p + 1) - x(p))²)^(β/2) / places, with the difference 0 at the last place of an axis.

    Attributes:
        weight: λ.
        beta: β, 1 or more.

    References:
        Mahendran and Vedaldi, Understanding deep image representations by inverting them, CVPR 2015.
    """

    weight: float
    beta: float = 2.0

    def __post_init__(self) -> None:
        at_least(1, beta=self.beta)
        at_least(0, weight=self.weight)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return the penalty of each x and its gradient."""
        steps = [np.diff(x, axis=axis, append=np.take(x, [-1], axis=axis)) for axis in range(2, x.ndim)]
        square = sum(step * step for step in steps)
        share = self.weight / (x[0].size / x.shape[1])
        value = share * (square ** (self.beta / 2)).reshape(len(x), -1).sum(axis=1)
        factor = share * self.beta
        if self.beta != 2:
            factor = factor * np.where(square > 0, square, 1) ** (self.beta / 2 - 1)
        slope = np.zeros_like(x)
        for axis, step in zip(range(2, x.ndim), steps, strict=True):
            part = factor * step
            slope -= part
            ahead, behind = ([slice(None)] * x.ndim for _ in range(2))
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            slope[tuple(ahead)] += part[tuple(behind)]
        return value, slope


# -- operators: (step, x, gradient), x changed in place


@dataclass(frozen=True)
class Decay:
    """x ← c + (1 - share)(x - c).

    Attributes:
        share: The share by which x decays at each step.
        centre: c.
    """

    share: float
    centre: float = 0.5

    def __call__(self, step: int, x: Array, gradient: Array) -> None:
        """Change x in place."""
        x -= self.share * (x - np.float32(self.centre))


@dataclass(frozen=True)
class Blur:
    """x ← x blurred by a Gaussian, at every `every`-th step; edges are repeated.

    Attributes:
        radius: Its standard deviation in pixels.
        every: The number of steps between two blurs.
    """

    radius: float
    every: int = 4

    def __call__(self, step: int, x: Array, gradient: Array) -> None:
        """Change x in place."""
        if step % self.every == 0 and self.radius > 0:
            x[...] = blurred(x, self.radius)


@dataclass(frozen=True)
class ClipSmallNorm:
    """x ← c at places whose norm over channels ‖x - c‖ is below a percentile of the picture.

    Attributes:
        percentile: The percentile.
        centre: c.
    """

    percentile: float
    centre: float = 0.5

    def __call__(self, step: int, x: Array, gradient: Array) -> None:
        """Change x in place."""
        away = x - np.float32(self.centre)
        _clear(x, np.sqrt((away * away).sum(axis=1)), self.percentile, self.centre)


@dataclass(frozen=True)
class ClipSmallContribution:
    """x ← c at places whose contribution |Σ_channels (x - c) ∂f/∂x| is below a percentile of the picture.

    Attributes:
        percentile: The percentile.
        centre: c.
    """

    percentile: float
    centre: float = 0.5

    def __call__(self, step: int, x: Array, gradient: Array) -> None:
        """Change x in place."""
        away = x - np.float32(self.centre)
        _clear(x, np.abs((away * gradient).sum(axis=1)), self.percentile, self.centre)


@dataclass(frozen=True)
class KeepInRange:
    """x ← x clipped to the pixels that there are, 0 to 1."""

    def __call__(self, step: int, x: Array, gradient: Array) -> None:
        """Change x in place."""
        np.clip(x, 0, 1, out=x)


def blurred(x: Array, radius: float) -> Array:
    """Return x [N, C, *space] blurred along each axis of space by a Gaussian of a standard deviation in pixels."""
    reach = max(1, int(np.ceil(3 * radius)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in range(2, x.ndim):
        pads = [(reach, reach) if a == axis else (0, 0) for a in range(x.ndim)]
        wide, length = np.pad(x, pads, mode="edge"), x.shape[axis]
        x = np.zeros_like(x)
        for shift, weight in enumerate(kernel):
            at = [slice(None)] * x.ndim
            at[axis] = slice(shift, shift + length)
            x += weight * wide[tuple(at)]
    return x


def _clear(x: Array, size: Array, percentile: float, value: float) -> None:
    """Set the places [N, *space] of a size below a percentile of their picture to a value."""
    flat = size.reshape(len(x), -1)
    small = flat < np.percentile(flat, percentile, axis=1, keepdims=True)
    np.copyto(x, np.float32(value), where=small.reshape(len(x), 1, *x.shape[2:]))
