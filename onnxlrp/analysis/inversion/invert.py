"""Inversion of samples, by optimisation or by a decoder, and what it is evidence of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UsageError, did_you_mean
from ...graph.outputs.units import Unit, unit
from ..ascent import domain
from ..ascent.domain import Domain
from ..ascent.optimize import Array, Progress
from ..networks import PictureNetwork, check_code, check_layer, open_network
from .figure import draw
from .files import write
from .result import Result
from .search import Inversion, error_of, invert, represent, strength_at

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...preprocessing.samples import Samples


class Inverted(Result):
    """Pictures that have the representation of samples in a layer."""

    def save(self, *paths: Any) -> list[Any]:
        """Write .png (the bare picture; several are numbered), .npz or .json files. Raises UsageError, InputError."""
        return [path for named in paths for path in write(self, named)]

    def figure(self) -> Image:
        """Return the captioned figure: each sample beside its inversion."""
        return draw(self)


def by_optimisation(
    model: Any,
    samples: Samples,
    layer: str | Unit | None,
    how: Inversion,
    *,
    mean: Samples | None = None,
    low: Any = None,
    high: Any = None,
    progress: Callable[[Progress], bool] | None = None,
) -> Inverted:
    """Invert the representation of samples in a layer (Mahendran & Vedaldi 2015).

    Args:
        model: The model.
        samples: The samples.
        layer: The layer.
        how: The options.
        mean: Pictures whose mean is the one to be better than.
        low: The lowest value of an input that is no picture: a number, or one for each channel.
        high: The highest value.
        progress: Called after each step; returns whether to go on.

    Raises:
        UsageError: There is no such layer.
        UnsupportedError: The input is none that can be optimised, or nothing in the layer is active.
    """
    if layer is None:
        raise UsageError("no layer is named", "--layer NAME; onnxlrp inspect lists them")
    chosen = layer_of(model, layer)
    where = domain.decide(model, samples, low, high)
    target = represent(model, chosen, samples.values, how.batch_size)
    spread = _spread(where.from_input(samples.values))
    if how.regularisation is None:
        how = replace(how, regularisation=strength_at(chosen, model.graph))
    found = invert(model, chosen, target, where, spread, how, progress)
    about = {"method": "optimisation", **asdict(how), "spread": spread, "done": found.steps, "range": where.source}
    about |= {"errors of the restarts": found.errors, "no gradient": found.dead}
    return _made(model, samples, chosen, target, where, found.z, mean, about, found.stopped, how.batch_size)


def by_decoder(
    model: Any,
    samples: Samples,
    layer: str | Unit | None,
    decoder: Any,
    name: str,
    *,
    mean: Samples | None = None,
    pixels: tuple[float, float] | None = None,
    low: Any = None,
    high: Any = None,
    batch_size: int | None = None,
) -> Inverted:
    """Invert the representation of samples in a layer by a decoder (Dosovitskiy & Brox 2016).

    Args:
        model: The model.
        samples: The samples.
        layer: The layer; None for the one that the decoder's metadata names.
        decoder: The decoder, a loaded model from the layer to pictures, its output as it is.
        name: What messages call it.
        mean: Pictures whose mean is the one to be better than.
        pixels: What black and white are in the decoder's pictures, where its metadata does not say so.
        low: As of `by_optimisation`.
        high: As of `by_optimisation`.
        batch_size: Samples at a time.

    Raises:
        UsageError: The decoder is of another layer or shape.
    """
    where = domain.decide(model, samples, low, high)
    network = open_network(decoder, name, "decoder", where, pixels)
    chosen = decoded_layer(model, layer, network)
    target = represent(model, chosen, samples.values, batch_size)
    z = network(target.reshape(len(target), *network.code_shape), batch_size)
    about = {"method": "decoder", "decoder": name, "range": where.source}
    return _made(model, samples, chosen, target, where, z, mean, about, False, batch_size)


def options(how: Mapping[str, Any]) -> Inversion:
    """Return the options of a search by name. Raises UsageError for one that there is not."""
    known = [one.name for one in fields(Inversion)]
    for name in how:
        if name not in known:
            raise UsageError(f'invert has no option "{name}"', did_you_mean(name, known))
    return Inversion(**how)


def layer_of(model: Any, layer: str | Unit) -> Unit:
    """Return the layer that a word names. Raises UsageError where there is none, or it is a part of one."""
    chosen = unit(model.graph, layer)
    if not chosen.is_whole:
        raise UsageError(f"--layer {layer}: a part of a layer is not inverted", "name the layer alone")
    if chosen.tensor in {source.name for source in model.graph.inputs}:
        raise UsageError(f'"{layer}" is the input itself', "name a layer; onnxlrp inspect lists them")
    return chosen


def decoded_layer(model: Any, layer: str | Unit | None, network: PictureNetwork, role: str = "decoder") -> Unit:
    """Return the layer whose values a network takes. Raises UsageError where it does not fit the network."""
    flag = "--layer" if role == "decoder" else "--code-layer"
    word = network.layer if layer is None else layer
    if word is None:
        raise UsageError(f"{network.name} does not say which layer it is for", f"{flag} NAME")
    check_layer(network, model.graph, role)
    chosen = layer_of(model, word)
    check_code(network, model.graph, chosen, role, flag)
    return chosen


def _spread(z: Array) -> float:
    """The standard deviation σ of pictures, at least that of a faint one."""
    return max(float(z.std(dtype=np.float64)), 0.05)


def _made(
    model: Any,
    samples: Samples,
    layer: Unit,
    target: Array,
    where: Domain,
    z: Array,
    mean: Samples | None,
    about: Mapping[str, Any],
    stopped: bool,
    batch_size: int | None,
) -> Inverted:
    """The result, with its errors as a file of it has them."""
    z, original = np.clip(z, 0, 1), where.from_input(samples.values)
    written = z if where.preprocessing is None else np.rint(z * 255) / np.float32(255)
    x = where.to_input(written)
    between = model.relaxed() if where.whole_numbers else model
    tried = [(model, x)] if between is None else [(model, x), (between, where.relaxed(z))]
    errors = [error_of(represent(own, layer, values, batch_size), target) for own, values in tried]
    mean_z, source = _mean(where, original, mean)
    return Inverted(
        written,
        x,
        original,
        tuple(samples.names),
        where,
        layer,
        errors[0],
        errors[-1],
        _squared(written - original),
        _squared(mean_z - original),
        source,
        about,
        stopped,
    )


def _mean(where: Domain, original: Array, mean: Samples | None) -> tuple[Array, str]:
    """The mean picture, z [1 or N, C, *space], and which one it is."""
    if mean is not None:
        return where.from_input(mean.values).mean(axis=0, keepdims=True), f"the mean of {len(mean)} pictures"
    axes = tuple(range(2, original.ndim)) or (1,)
    words = "a plain picture of its own mean colour" if where.kind.is_image else "the mean of each of its channels"
    return original.mean(axis=axes, keepdims=True), words if where.space else "the mean of its values"


def _squared(away: Array) -> Array:
    return np.asarray(np.square(away.astype(np.float64)).reshape(len(away), -1).mean(axis=1))
