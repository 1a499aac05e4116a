"""Which elements of a tensor constant indices reach, sample by sample or within the axes that they name."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..graph import Array, Layer
from ..rewriting.builder import Shape, shape_of
from ..rewriting.mutable_graph import MutableGraph

# Elements of the axes that are indexed.
_LARGEST = 1 << 26


@dataclass(frozen=True)
class Reach:
    """Which elements an operator reaches: `places` counts within the axes `first` to `last`, flattened."""

    places: Array
    first: int
    last: int


def elements(graph: MutableGraph, layer: Layer) -> Reach | None:
    """Of GatherElements and ScatterElements; None where samples differ, or are mixed."""
    indices, shape = graph.constant(layer.inputs[1]), shape_of(graph, layer.inputs[0])
    axis = layer.attributes.get("axis", 0) % max(len(shape), 1)
    if indices is None or not axis or not alike(indices) or indices.shape[0] != shape[0]:
        return None
    row = indices[0] % shape[axis]
    places = list(np.indices(row.shape))
    places[axis - 1] = row
    return Reach(np.asarray(np.ravel_multi_index(places, shape[1:])), 1, len(shape))


def tuples(graph: MutableGraph, layer: Layer, batch_dims: int) -> Reach | None:
    """Of GatherND and ScatterND, whose indices are tuples on their last axis: within each sample, where the samples
    name themselves first; else within the axes that the tuples index, which the batch is none of."""
    indices, shape = graph.constant(layer.inputs[1]), shape_of(graph, layer.inputs[0])
    if indices is None or not shape or batch_dims > 1:
        return None
    depth = indices.shape[-1]
    if indices.ndim > 1 and indices.shape[0] == shape[0]:
        # Each sample names itself first.
        own = np.arange(shape[0]).reshape(-1, *([1] * (indices.ndim - 2)))
        named = batch_dims == 1 or (depth > 0 and bool((indices[..., 0] % shape[0] == own).all()))
        within = indices if batch_dims else indices[..., 1:]
        if named and alike(within):
            inner = np.arange(math.prod(shape[1:])).reshape(shape[1:])
            places = inner[tuple(within[0, ..., i] for i in range(within.shape[-1]))]
            return Reach(np.asarray(places), 1, len(shape))
    lead = shape[:depth]
    if batch_dims or not depth or (graph.batch > 1 and graph.batch in lead) or math.prod(lead) > _LARGEST:
        return None
    return Reach(np.ravel_multi_index(tuple(indices[..., i] % n for i, n in enumerate(lead)), lead), 0, depth)


def alike(indices: Array) -> bool:
    return bool((indices == indices[:1]).all())


def box_of(reach: Reach, shape: tuple[int, ...]) -> list[tuple[int, int]] | None:
    """The box that the places are, in its own order; whole along the other axes."""
    inner = shape[reach.first : reach.last]
    coordinates = np.unravel_index(reach.places.reshape(-1), inner)
    box = [(int(c.min()), int(c.max()) + 1) for c in coordinates]
    within = np.arange(math.prod(inner)).reshape(inner)[tuple(slice(a, b) for a, b in box)]
    if not np.array_equal(within.reshape(-1), reach.places.reshape(-1)):
        return None
    return [*((0, n) for n in shape[: reach.first]), *box, *((0, n) for n in shape[reach.last :])]


def grid_of(reach: Reach, shape: Shape) -> list[Array] | None:
    """For each axis that is reached the places along it, where all their combinations are reached in order."""
    inner = shape[reach.first : reach.last]
    coordinates = np.unravel_index(reach.places.reshape(-1), inner)
    along = [np.unique(c) for c in coordinates]
    places = np.ravel_multi_index(np.ix_(*along), inner)
    return along if np.array_equal(places.reshape(-1), reach.places.reshape(-1)) else None
