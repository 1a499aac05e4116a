"""Channel axis and spatial axes of the explained input, read off the first layers that tell them apart."""

from __future__ import annotations

from typing import NamedTuple

from ..graph import Graph, Layer, Tensor
from ..operators import CONVOLUTIONS, MATRIX_PRODUCTS, RECURRENT
from .parts import Axes, Axis, inputs_of
from .tracing import POOLS, contracted, trace_axes

_STRENGTH = ("tokens", "convolution", "pooling", "product")  # whose word goes first


class InputAxes(NamedTuple):
    """The reading of an input by the graph.

    Attributes:
        name: image, signal, volume, tokens or vector.
        channel_axis: The axis of a sample that is taken as channels; None without one.
        spatial_axes: The axes of a sample that layers slide along.
        layer: The first layer that tells them apart.
        others: First layers that read the input in another way.
        by_product: The layer is a product with a matrix, which is weak evidence: it sums over features, or it resizes
            a picture along an axis.
    """

    name: str
    channel_axis: int | None
    spatial_axes: tuple[int, ...]
    layer: str
    others: tuple[str, ...] = ()
    by_product: bool = False


class _Reading(NamedTuple):
    """The reading of the input by one layer: it sums over `channels` and moves along each axis of `space`."""

    layer: str
    strength: str
    channels: Axis
    space: Axes


def input_axes(graph: Graph, source: Tensor) -> InputAxes | None:
    """Follow an input through operators that move or scale its values to the first layers that mix them.

    A convolution, transposed convolution or pooling takes one axis as channels and slides along the others; a product
    with a matrix, or a recurrent layer, sums over one axis at every position of the others; a Gather takes whole
    numbers as tokens.

    Args:
        graph: The graph, free of the batch.
        source: An input of it.

    Returns:
        The reading of the strongest first layer; None where no layer tells the axes apart, such as where all are
        flattened before the first product.
    """
    found = []
    for reading in _readings(graph, source):
        told = _told(reading, source.shape)
        if told is not None:
            found.append((_STRENGTH.index(reading.strength), told))
    if not found:
        return None
    strength, first = min(found, key=lambda pair: pair[0])
    same = first.name, first.channel_axis, first.spatial_axes
    others = [a.layer for _, a in found if (a.name, a.channel_axis, a.spatial_axes) != same]
    return InputAxes(*same, first.layer, tuple(dict.fromkeys(others)), _STRENGTH[strength] == "product")


def _readings(graph: Graph, source: Tensor) -> list[_Reading]:
    known = trace_axes(graph, source)
    raw, derived = {source.name}, set(known)
    found = []
    for layer in graph.layers:
        operands = [name for name in layer.inputs if name in derived]
        if not operands or not raw.issuperset(operands):
            continue
        reading = _reading(graph, layer, known, raw)
        if reading is not None:
            found.append(reading)
        elif layer.op not in CONVOLUTIONS | POOLS | MATRIX_PRODUCTS | RECURRENT:
            raw.update(name for name in layer.outputs if name in known)
    return found


def _reading(graph: Graph, layer: Layer, known: dict[str, Axes], raw: set[str]) -> _Reading | None:
    axes = known.get(layer.inputs[0], ()) if layer.inputs[0] in raw else ()
    if layer.op in CONVOLUTIONS | POOLS and axes:
        strength = "convolution" if layer.op in CONVOLUTIONS else "pooling"
        return _Reading(layer.label, strength, axes[0], axes[1:])
    if layer.op in RECURRENT and axes:
        return _Reading(layer.label, "product", axes[-1], axes[:-1])
    if layer.op == "Gather" and layer.inputs[1] in raw and _is_embedding(graph, layer):
        return _Reading(layer.label, "tokens", (), known[layer.inputs[1]])
    if layer.op in MATRIX_PRODUCTS:
        for position, name in enumerate(layer.inputs[:2]):
            if name in raw and layer.inputs[1 - position] in graph.constants and known[name]:
                split = contracted(graph, layer, known[name], position)
                return None if split is None else _Reading(layer.label, "product", *split)
    return None


def _is_embedding(graph: Graph, layer: Layer) -> bool:
    """A table with a row for each number; one value for each is a curve of brightness, not a meaning."""
    table = graph.constants.get(layer.inputs[0])
    return table is None or table.ndim > 1


def _told(reading: _Reading, shape: tuple[int, ...]) -> InputAxes | None:
    """The axes of the input by one reading; None where it does not tell them apart."""
    if reading.strength == "tokens":
        return InputAxes("tokens", None, _long(shape, None), reading.layer)
    slides = [_inputs(axis, shape) for axis in reading.space]
    along = {axis for axes in slides for axis in axes}
    summed = [axis for axis in _inputs(reading.channels, shape, short=True) if axis not in along]
    if reading.strength == "product" and _blurs(shape, summed, along):
        return None
    if not summed and not along:  # behind a sum over all of it, as a distance is
        return None
    if len(shape) == 1 and sum(map(bool, slides)) > 1:
        return InputAxes("vector", None, (), reading.layer)  # a flattened picture
    # Behind a sum over colours, or where they are taken apart, a layer sees no trace of their axis: it is left over.
    lost = [axis for axis in range(len(shape)) if axis not in along]
    lost.sort(key=lambda axis: -shape[axis])
    channel = summed[-1] if summed else lost[0] if lost and along else None
    spatial = _long(shape, channel)
    name = {0: "vector", 1: "signal", 2: "image"}.get(len(spatial), "volume")
    return InputAxes(name, None if name == "vector" else channel, spatial, reading.layer)


def _blurs(shape: tuple[int, ...], summed: list[int], along: set[int]) -> bool:
    """A product over several axes at once tells nothing of channels."""
    long = [axis for axis, n in enumerate(shape) if n > 1]
    flat = len(long) > 1 and not along
    return flat or len([axis for axis in summed if axis in long]) > 1


def _inputs(axis: Axis, shape: tuple[int, ...], short: bool = False) -> list[int]:
    """The axes of the input that a traced axis holds parts of, with those of length 1 if `short`."""
    return list(dict.fromkeys(n for n in inputs_of(axis) if short or shape[n] > 1))


def _long(shape: tuple[int, ...], channel: int | None) -> tuple[int, ...]:
    return tuple(axis for axis, n in enumerate(shape) if n > 1 and axis != channel)
