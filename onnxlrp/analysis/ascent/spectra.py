"""The real Fourier transform of pictures [N, C, *space] and its exact adjoint; coefficients as pairs of numbers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .optimize import Array


@lru_cache(maxsize=8)
def frequencies(space: tuple[int, ...]) -> Array:
    """Return |f| in cycles a pixel of each coefficient [*frequencies], half of them along the last axis."""
    axes = [np.fft.fftfreq(n) for n in space[:-1]] + [np.fft.rfftfreq(space[-1])]
    grids = np.meshgrid(*axes, indexing="ij")
    return np.asarray(np.sqrt(sum(grid**2 for grid in grids)))


@lru_cache(maxsize=8)
def weights(length: int) -> Array:
    """Return how many coefficients of the whole spectrum each of the half stands for, along the last axis."""
    counts = np.full(length // 2 + 1, 2.0, np.float32)
    counts[0] = 1
    if length % 2 == 0:
        counts[-1] = 1
    return counts


def inverse(coefficients: Array, space: tuple[int, ...]) -> Array:
    """Return F⁻¹ c [N, C, *space] of complex c [N, C, *frequencies], unitary."""
    axes = tuple(range(2, 2 + len(space)))
    return np.fft.irfftn(coefficients, space, axes, norm="ortho").astype(np.float32, copy=False)


def inverse_adjoint(x: Array) -> Array:
    """Return (F⁻¹)ᵀ x: the adjoint of `inverse` for ⟨c, d⟩ = Σ Re c Re d + Im c Im d."""
    made = forward(x)
    made *= weights(x.shape[-1])
    return made


def forward(x: Array) -> Array:
    """Return F x [N, C, *frequencies] in complex64; `inverse` undoes it."""
    made = np.fft.rfftn(x.astype(np.float32, copy=False), axes=tuple(range(2, x.ndim)), norm="ortho")
    return np.asarray(made.astype(np.complex64, copy=False))


def pairs(coefficients: Array) -> Array:
    """Return complex numbers as pairs of real ones [..., 2], the same memory."""
    return np.ascontiguousarray(coefficients, np.complex64).view(np.float32).reshape(*coefficients.shape, 2)


def from_pairs(values: Array) -> Array:
    """Return pairs [..., 2] as complex numbers, the same memory."""
    return np.ascontiguousarray(values, np.float32).view(np.complex64)[..., 0]
