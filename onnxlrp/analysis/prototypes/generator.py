"""Preferred inputs through a generator: the ascent runs in its codes, so that pictures stay like those it learned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import UsageError
from ...graph.outputs.units import Unit
from ..ascent.domain import Domain
from ..ascent.optimize import Array, Pullback
from ..ascent.optimizers import Momentum
from ..inversion.invert import decoded_layer
from ..inversion.search import represent
from ..networks import PictureNetwork, open_network
from .styles import Plan

STEPS = 200
# The first step in σ of codes (8 in the paper, for codes of σ 2), the share that codes lose at each step, and the
# largest code in σ.
RATE, DECAY, BOUND = 4.0, 0.01, 3.0


@dataclass(frozen=True, eq=False)
class Codes:
    """x = G(code): codes are optimised, within bounds.

    Attributes:
        network: G.
        low: The lowest code [*code_shape]; -inf without a bound.
        high: The highest.
        first: The code to start from.
        noise: The standard deviation of the noise around it [*code_shape].
        spread: σ, the standard deviation of codes.
        source: Where the bounds come from, in words.
    """

    network: PictureNetwork
    low: Array
    high: Array
    first: Array
    noise: Array
    spread: float
    source: str

    def start(self, n: int, rng: np.random.Generator) -> Array:
        """Return n codes around the first."""
        noise = rng.standard_normal((n, *self.network.code_shape), np.float32)
        return np.clip(self.first + self.noise * noise, self.low, self.high).astype(np.float32)

    def image(self, parameters: Array) -> tuple[Array, Pullback]:
        """Return the pictures of codes, and the map of gradients."""
        return self.network.pullback(parameters)

    def __call__(self, step: int, x: Array, gradient: Array) -> None:
        """Let codes decay, and clip them to the bounds, in place: an operator."""
        x *= np.float32(1 - DECAY)
        np.clip(x, self.low, self.high, out=x)


@dataclass(frozen=True, eq=False)
class Generator:
    """A generator for a model.

    Attributes:
        network: The generator.
        layer: The layer that codes are values of; None where they are of no layer of the model.
    """

    network: PictureNetwork
    layer: Unit | None = None

    def codes(self, model: Any, pictures: Array | None, start: Array | None, batch_size: int | None = None) -> Codes:
        """Return the codes to optimise, bounded by those of pictures where there are some.

        Args:
            model: The model.
            pictures: Inputs [N, *shape] of the model, of the user.
            start: An input [1, *shape] whose code is the one to start from.
            batch_size: Samples at a time.

        Raises:
            UsageError: A start without a layer that encodes it.
        """
        codes = self._unbounded(model) if pictures is None else self._bounded(model, pictures, batch_size)
        if start is None:
            return codes
        if self.layer is None:
            raise UsageError("a picture to start from needs the layer that its code is of", "--code-layer NAME")
        first = represent(model, self.layer, start[:1], batch_size).reshape(self.network.code_shape)
        return replace(codes, first=first, noise=np.zeros_like(first))

    def _bounded(self, model: Any, pictures: Array, batch_size: int | None) -> Codes:
        """Codes within those of pictures."""
        if self.layer is None:
            return self._unbounded(model)
        shape = self.network.code_shape
        values = represent(model, self.layer, pictures, batch_size).reshape(len(pictures), *shape).astype(np.float64)
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        floor = np.zeros(shape) if values.min() >= 0 else mean - BOUND * deviation
        words = "0" if values.min() >= 0 else f"mean - {BOUND:g} σ"
        source = f"{words} to mean + {BOUND:g} σ of {len(values)} pictures at {self.layer.label}"
        spread = float(deviation.mean())
        return Codes(self.network, floor, mean + BOUND * deviation, mean, deviation, spread, source)

    def _unbounded(self, model: Any) -> Codes:
        """Codes without statistics: of a layer that ends in a ReLU not negative."""
        shape = self.network.code_shape
        makers = [one.op for one in model.graph.layers if self.layer is not None and self.layer.tensor in one.outputs]
        floor = 0.0 if makers == ["Relu"] else -np.inf
        bounds = "not negative, no upper bound" if floor == 0 else "no bounds"
        source = f"{bounds}: no codes of pictures are known"
        low, high = np.full(shape, floor), np.full(shape, np.inf)
        return Codes(self.network, low, high, np.zeros(shape), np.ones(shape), 1.0, source)


def open_generator(
    model: Any, network: Any, name: str, layer: str | None, where: Domain, pixels: tuple[float, float] | None = None
) -> Generator:
    """Return a generator for a model.

    Args:
        model: The model.
        network: The generator, a loaded model from codes to pictures, its output as it is.
        name: What messages call it.
        layer: The layer that codes are values of; None for the one that the metadata names, if any.
        where: The domain of the model's input.
        pixels: What black and white are in its pictures, where its metadata does not say so.

    Raises:
        UsageError: It does not fit the model or the layer.
    """
    drawn = open_network(network, name, "generator", where, pixels)
    if layer is None and drawn.layer is None:
        return Generator(drawn)
    return Generator(drawn, decoded_layer(model, layer, drawn, "generator"))


def plan(codes: Codes, steps: int) -> Plan:
    """Return how preferred inputs are found (Nguyen et al. 2016).

    code ← clip(.99 (code + r g / mean|g|)), with g the gradient and r falling from 4 standard deviations of codes to 0.

    References:
        Nguyen et al., Synthesizing the preferred inputs for neurons in neural networks via deep generator networks,
        NeurIPS 2016.
    """
    rate = RATE * codes.spread
    return Plan(
        codes,
        Momentum(lambda step: rate * (1 - step / steps), 0.0),
        operators=[codes],
        normalised=True,
    )
