"""Parameterisations of pictures: pixels, Fourier coefficients (Olah et al. 2017), phases alone (MACO).

A picture is an array [N, C, *space] of values from 0 to 1, whatever the model's layout and preprocessing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .colours import Colours, logit, sigmoid
from .optimize import Array, Pullback
from .spectra import forward, frequencies, from_pairs, inverse, inverse_adjoint, pairs, weights


@dataclass(frozen=True)
class Pixels:
    """x itself, clipped to the range of pixels after each step (`clip`, an operator).

    Attributes:
        shape: (C, *space).
        start_at: The mean before the first step, broadcasting over [C, *space], or pictures [N, C, *space].
        noise: The standard deviation of the noise around it.
    """

    shape: tuple[int, ...]
    start_at: Array | float = 0.5
    noise: float = 0.01

    def start(self, n: int, rng: np.random.Generator) -> Array:
        """Return the mean with noise [N, C, *space]."""
        noise = rng.standard_normal((n, *self.shape), np.float32) * np.float32(self.noise)
        return np.asarray(noise + np.asarray(self.start_at, np.float32), np.float32)

    def image(self, parameters: Array) -> tuple[Array, Pullback]:
        """Return the parameters themselves."""
        return parameters, lambda gradient: gradient


@dataclass(frozen=True, eq=False)
class Fourier:
    """x = σ(logit(mean) + L F⁻¹(s ⊙ θ)), s = 1/(4 max(f, 1/size)^power): coefficients θ, colours correlated by L.

    Attributes:
        shape: (C, *space).
        colours: The mean of colours and L.
        noise: The standard deviation of θ before the first step.
        power: The exponent of the scale.
        first: A picture [C, *space] to start from, the noise added.

    References:
        Olah et al., Feature visualization, Distill 2017.
    """

    shape: tuple[int, ...]
    colours: Colours
    noise: float = 0.01
    power: float = 1.0
    first: Array | None = None

    @cached_property
    def scale(self) -> Array:
        """The factor s of each coefficient [*frequencies, 2], for its real and its imaginary part."""
        space = self.shape[1:]
        factor = (0.25 * np.maximum(frequencies(space), 1 / max(space)) ** -self.power).astype(np.float32)
        return np.repeat(factor[..., None], 2, axis=-1)  # in full: a product over pairs is slow in numpy

    @cached_property
    def _adjoint_scale(self) -> Array:
        """The factor s, times how many coefficients of the whole spectrum each stands for [*frequencies, 2]."""
        return np.asarray(self.scale * weights(self.shape[-1])[:, None])

    def start(self, n: int, rng: np.random.Generator) -> Array:
        """Return θ [N, C, *frequencies, 2], real and imaginary parts."""
        theta = rng.standard_normal((n, self.shape[0], *self.scale.shape[:-1], 2), np.float32) * np.float32(self.noise)
        if self.first is not None:
            theta += pairs(forward(self.colours.whitened(logit(self.first))[None])) / self.scale
        return np.asarray(theta)

    def image(self, parameters: Array) -> tuple[Array, Pullback]:
        """Return x [N, C, *space], and the map of gradients."""
        x = sigmoid(self.colours.mixed(inverse(from_pairs(parameters * self.scale), self.shape[1:])))

        def pullback(gradient: Array) -> Array:
            slope = _through_sigmoid(gradient, x)
            found = pairs(forward(self.colours.mixed_adjoint(slope)))
            found *= self._adjoint_scale
            return found

        return x, pullback


@dataclass(frozen=True, eq=False)
class Maco:
    """x = σ(logit(mean) + c L F⁻¹(m ⊙ e^iφ)): the magnitudes m are those of real pictures, the phases φ are optimised.

    Attributes:
        shape: (C, *space).
        colours: The mean of colours, L, the contrast and the magnitudes m.

    References:
        Fel et al., Unlocking feature visualization for deep networks with magnitude constrained optimization,
        NeurIPS 2023.
    """

    shape: tuple[int, ...]
    colours: Colours

    def start(self, n: int, rng: np.random.Generator) -> Array:
        """Return phases [N, C, *frequencies], drawn evenly."""
        shape = (n, *self.colours.magnitude.shape)
        return np.asarray(rng.uniform(-np.pi, np.pi, shape), np.float32)

    def image(self, parameters: Array) -> tuple[Array, Pullback]:
        """Return x [N, C, *space], and the map of gradients."""
        contrast = 4 * self.colours.contrast  # of the logit: the slope of the sigmoid at its middle is a quarter
        wave = np.empty(parameters.shape, np.complex64)
        np.cos(parameters, out=wave.real)
        np.sin(parameters, out=wave.imag)
        wave *= contrast * self.colours.magnitude
        x = sigmoid(self.colours.mixed(inverse(wave, self.shape[1:])))

        def pullback(gradient: Array) -> Array:
            slope = inverse_adjoint(self.colours.mixed_adjoint(_through_sigmoid(gradient, x)))
            return np.asarray(wave.real * slope.imag - wave.imag * slope.real)

        return x, pullback


def _through_sigmoid(gradient: Array, x: Array) -> Array:
    """Return g ⊙ x ⊙ (1 - x)."""
    slope = 1 - x
    slope *= x
    slope *= gradient
    return np.asarray(slope)
