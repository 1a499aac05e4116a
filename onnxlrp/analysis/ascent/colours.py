"""Statistics of pictures that parameterisations use: mean colour, correlation of colours, spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .optimize import Array
from .spectra import forward, frequencies

# Mean and covariance of the colours (R, G, B) of 19 photographs from 0 to 1.
_MEAN = (0.52, 0.49, 0.42)
_COVARIANCE = ((0.0733, 0.0627, 0.0572), (0.0627, 0.0699, 0.0690), (0.0572, 0.0690, 0.0792))
_POWER = 1.2  # of 1/f, the magnitude of photographs by frequency
_FEW = 8  # places for each channel under which no covariance is estimated


@dataclass(frozen=True, eq=False)
class Colours:
    """Colours and spectrum of the pictures that a model is for.

    u are independent channels of variance 1 at most, v = logit(mean) + L u pixels before the sigmoid.

    Attributes:
        mean: The mean of each channel [C], from 0 to 1.
        mixing: L [C, C], a square root of the covariance over its largest eigenvalue.
        contrast: The standard deviation of the strongest channel u in pixels.
        magnitude: |F(f)| of each channel u [C, *frequencies], of mean square 1 for the strongest.
        source: Where these come from, in words.
    """

    mean: Array
    mixing: Array
    contrast: float
    magnitude: Array
    source: str

    def mixed(self, u: Array) -> Array:
        """Return v = logit(mean) + L u for u [N, C, *space]."""
        v = _channels(self.mixing, u)
        v += logit(self.mean).reshape(-1, *[1] * (u.ndim - 2))
        return v

    def mixed_adjoint(self, gradient: Array) -> Array:
        """Return Lᵀ g."""
        return _channels(self.mixing.T, gradient)

    def whitened(self, v: Array) -> Array:
        """Return u = L⁻¹ (v - logit(mean)) of one picture [C, *space]."""
        centred = v - logit(self.mean).reshape(-1, *[1] * (v.ndim - 1))
        return np.asarray(_channels(np.linalg.inv(self.mixing), centred[None])[0])


def estimated(pictures: Array, source: str) -> Colours:
    """Estimate colours and spectrum from pictures.

    Args:
        pictures: Pictures [N, C, *space] of values from 0 to 1.
        source: Where they come from.
    """
    channels, space = pictures.shape[1], pictures.shape[2:]
    mean = np.clip(pictures.mean(axis=(0, *range(2, pictures.ndim))), 0.02, 0.98)
    values = np.moveaxis(pictures, 1, 0).reshape(channels, -1)
    covariance = np.cov(values).reshape(channels, channels) + 1e-6 * np.eye(channels)
    if values.shape[1] < _FEW * channels:
        covariance = np.diag(np.diag(covariance))
    mixing, contrast = _root(covariance)
    made = Colours(mean, mixing, contrast, np.ones((channels, *frequencies(space).shape)), source)
    u = np.stack(
        [_channels(np.linalg.inv(mixing), (one - mean.reshape(-1, *[1] * len(space)))[None])[0] for one in pictures]
    )
    magnitude = np.zeros(made.magnitude.shape)
    for one in u:
        magnitude += np.abs(forward(one[None])[0]) / len(u)
    return Colours(mean, mixing, contrast, _scaled(magnitude, space), source)


def assumed(channels: int, space: tuple[int, ...], order: str = "") -> Colours:
    """Return colours where no pictures are given.

    Args:
        channels: C.
        space: The lengths of the axes of space.
        order: "RGB" or "BGR" for photographs in colour; else the channels are taken as independent and grey.
    """
    size = frequencies(space)
    falling = np.maximum(size, 1 / max(space)) ** -_POWER
    magnitude = np.repeat(falling[None], channels, axis=0)
    if channels == 3 and order in ("RGB", "BGR"):
        turn = slice(None, None, -1 if order == "BGR" else 1)
        mixing, contrast = _root(np.array(_COVARIANCE)[turn, turn])
        words = "constants of photographs (no pictures given)"
        return Colours(np.array(_MEAN)[turn], mixing, contrast, _scaled(magnitude, space), words)
    words = f"none: {'channels' if channels > 1 else 'grey'}{' independent' if channels > 1 else ''}, 1/f spectrum"
    return Colours(np.full(channels, 0.5), np.eye(channels), 0.25, _scaled(magnitude, space), words)


def sigmoid(v: Array) -> Array:
    """Return 1/(1 + e^-v), computed in place."""
    v *= 0.5
    np.tanh(v, out=v)
    v += 1
    v *= 0.5
    return v


def logit(x: Array) -> Array:
    """Return the inverse of the sigmoid; values beyond .004 and .996, a level of 8 bits from the end, are cut."""
    cut = np.clip(np.asarray(x, np.float32), 0.004, 0.996)
    return np.asarray(np.log(cut / (1 - cut)))


def _root(covariance: Array) -> tuple[Array, float]:
    """Return U √Λ over the largest √λ, channels by falling λ; and that √λ."""
    values, vectors = np.linalg.eigh(covariance)
    largest = float(np.sqrt(values[-1]))
    return vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 1e-6 * values[-1])) / largest, largest


def _scaled(magnitude: Array, space: tuple[int, ...]) -> Array:
    """Scale magnitudes [C, *frequencies] without their mean to a mean square of 1 over pixels of the first channel."""
    magnitude = magnitude.copy()
    magnitude.reshape(len(magnitude), -1)[:, 0] = 0  # the mean is that of the colours
    power = (magnitude**2).reshape(len(magnitude), -1).max(axis=0).sum() * 2 / np.prod(space)
    return np.asarray(magnitude / np.sqrt(max(power, 1e-12)), np.float32)


def _channels(matrix: Array, x: Array) -> Array:
    """Return the matrix times the channels of x [N, C, *space], as a new array."""
    flat = np.matmul(np.asarray(matrix, np.float32), x.reshape(*x.shape[:2], -1).astype(np.float32, copy=False))
    return np.asarray(flat.reshape(x.shape))
