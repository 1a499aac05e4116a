"""Networks that draw: decoders and generators, models from the values of a layer to pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UnsupportedError, UsageError
from ..graph.outputs.units import Unit, unit
from ..methods.registry import make_composite
from .ascent.domain import Domain
from .ascent.optimize import Array, Pullback

KEY = "onnxlrp.decoder"


@dataclass(frozen=True, eq=False)
class PictureNetwork:
    """A network y = D(code), whose pictures y are inputs of another model.

    y is in the values that the model takes, unless the network states its black and white (`pixels` in its metadata, or
    the user); it may be larger than the model's input, of which it is then the centre.

    Attributes:
        model: The network, its output as it is.
        name: What messages call it.
        domain: The domain of the other model's input.
        low: y of black, None where y is in the model's own values.
        high: y of white.
        margins: What is cut off before and behind each axis of y.
        layer: The layer whose values it takes, where its metadata says so.
    """

    model: Any
    name: str
    domain: Domain
    low: float | None = None
    high: float | None = None
    margins: tuple[tuple[int, int], ...] = ()
    layer: str | None = None

    @property
    def code_shape(self) -> tuple[int, ...]:
        """The shape of a code."""
        shape: tuple[int, ...] = self.model.graph.inputs[0].shape
        return shape

    def __call__(self, codes: Array, batch_size: int | None = None) -> Array:
        """Draw pictures z [N, C, *space], from 0 to 1, of codes [N, *code_shape]."""
        drawn = self.model.outputs(np.asarray(codes, np.float32), batch_size=batch_size)["logits"]
        return self._pictures(drawn.reshape(len(codes), *self._drawn))

    def pullback(self, codes: Array) -> tuple[Array, Pullback]:
        """Draw pictures z, and return the map from ∂f/∂z to ∂f/∂code with them."""

        def pull(slope: Array) -> Array:
            seed = self._widened(slope)
            found: Array = self.model.outputs(codes, make_composite("gradient"), seed=seed)["relevance"]
            return found

        return self(codes), pull

    @property
    def _drawn(self) -> tuple[int, ...]:
        """The shape of y."""
        shape: tuple[int, ...] = self.model.graph.outputs[0].shape
        return shape

    @property
    def _inner(self) -> tuple[slice, ...]:
        return (slice(None), *(slice(a, n - b) for (a, b), n in zip(self.margins, self._drawn, strict=True)))

    def _pictures(self, y: Array) -> Array:
        y = y[self._inner]
        if self.low is None or self.high is None:
            return self.domain.from_input(y)
        return (self.domain.canonical(y) - np.float32(self.low)) / np.float32(self.high - self.low)

    def _widened(self, slope: Array) -> Array:
        """The adjoint of `_pictures`."""
        if self.low is None or self.high is None:
            inner = self.domain.laid(slope / (self.domain.high - self.domain.low))
        else:
            inner = self.domain.laid(slope) / np.float32(self.high - self.low)
        wide = np.zeros((len(slope), *self._drawn), np.float32)
        wide[self._inner] = inner
        return wide


def open_network(
    network: Any,
    name: str,
    role: str,
    domain: Domain,
    pixels: tuple[float, float] | None = None,
) -> PictureNetwork:
    """Return a network that draws inputs of a model.

    Args:
        network: A loaded model from codes to pictures, its output as it is (`head="as-is"`).
        name: What messages call it.
        role: "decoder" or "generator", for messages.
        domain: The domain of the model that takes the pictures.
        pixels: What black and white are in its pictures, where the user says so.

    Raises:
        UsageError: Its pictures do not fit the model's input.
        UnsupportedError: Its codes are whole numbers.
    """
    source, drawn = network.graph.inputs[0], network.graph.outputs[0].shape
    if not source.dtype.startswith("float"):
        raise UnsupportedError(f"{name}: the {role} takes {source.dtype}, not real numbers", f"give another {role}")
    layer, stated = _facts(network.graph.metadata, name)
    black, white = pixels or stated or (None, None)
    wanted = domain.kind.shape
    rest = [n - m for n, m in zip(drawn, wanted, strict=False)]
    channel = domain.kind.channel_axis
    if len(drawn) != len(wanted) or min(rest) < 0 or (channel is not None and rest[channel]):
        raise UsageError(
            f"{name}: the {role} draws {_sizes(drawn)}, the model takes {_sizes(wanted)}",
            f"give a {role} whose output has the shape and the layout of the model's input, or a larger picture",
        )
    if black is not None and domain.guessed:
        raise UsageError(
            f"{name}: the {role} draws pixels from {black:g} to {white:g}; what these are to the model is not known",
            "give pictures, or the values of black and white: --low and --high",
        )
    margins = tuple((n // 2, n - n // 2) for n in rest)
    return PictureNetwork(network, name, domain, black, white, margins, layer)


def check_layer(network: PictureNetwork, graph: Any, role: str) -> None:
    """Raise UsageError where a network states that it was made for a layer that a model does not have."""
    if network.layer is not None:
        try:
            unit(graph, network.layer)
        except UsageError:
            raise UsageError(
                f"{network.name}: the {role} was made for the layer {network.layer}, and this model has none",
                f"give the model that it was made for, or another {role}",
            ) from None


def check_code(network: PictureNetwork, graph: Any, layer: Unit, role: str, flag: str) -> None:
    """Refuse a network that starts from another layer, by its metadata, or from values of another shape.

    Raises:
        UsageError: It does, with the layer that it starts from where that is known.
    """
    made = network.layer
    if made is not None and unit(graph, made).tensor != layer.tensor:
        raise UsageError(
            f"{network.name}: the {role} was made for the layer {made}, not {layer.label}", f"{flag} {made}"
        )
    own = network.code_shape
    if _long(own) != _long(layer.shape):
        fitting = [one.label for one in graph.layers if _long(graph.shapes.get(one.outputs[0], ())) == _long(own)]
        raise UsageError(
            f"{network.name}: the {role} takes {_sizes(own)}, the layer {layer.label} has {_sizes(layer.shape)}",
            f"of this shape: {flag} {fitting[-1]}" if fitting else f"give a {role} of this layer",
        )


def _long(shape: tuple[int, ...]) -> list[int]:
    """The axes that are longer than 1: [512] and [512, 1, 1] hold the same values in the same order."""
    return [n for n in shape if n != 1]


def _facts(metadata: Any, name: str) -> tuple[str | None, tuple[float, float] | None]:
    """The layer and the black and white that the metadata of a file state."""
    text = dict(metadata).get(KEY)
    if text is None:
        return None, None
    try:
        stated = json.loads(text)
        layer = stated.get("layer")
        pixels = None if stated.get("pixels") is None else tuple(float(value) for value in stated["pixels"])
        if pixels is not None and not (len(pixels) == 2 and np.isfinite(pixels).all() and pixels[0] != pixels[1]):
            raise ValueError(text)
    except (ValueError, TypeError, AttributeError, KeyError):
        raise UsageError(
            f"{name}: its metadata {KEY} is {text[:80]}", 'write it as {"layer": "relu3", "pixels": [0, 1]}'
        ) from None
    return (None if layer is None else str(layer)), (None if pixels is None else (pixels[0], pixels[1]))


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one value"
