"""Elements that constant indices address, sample by sample or within the axes that they name."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..graph import Array, Layer
from ..rewriting.builder import Shape
from ..rewriting.mutable_graph import MutableGraph

# Elements of the axes that are indexed.
_LARGEST = 1 << 26


class Addressed(NamedTuple):
    """The elements of a tensor that an operator reads or writes.

    Attributes:
        indices: Where each of them is within the axes `first` to `last`, flattened.
        first: The first of the axes that are indexed.
        last: The axis behind the last of them.
    """

    indices: Array
    first: int
    last: int

    def flattened(self) -> Array:
        """The indices as a vector."""
        return self.indices.reshape(-1)


def by_elements(graph: MutableGraph, layer: Layer) -> Addressed | None:
    """Return what a GatherElements or ScatterElements addresses; None where samples differ, or are mixed."""
    indices, shape = graph.constant(layer.inputs[1]), graph.shape(layer.inputs[0])
    axis = layer.attributes.get("axis", 0) % max(len(shape), 1)
    if indices is None or not axis or not same_in_all_samples(indices) or indices.shape[0] != shape[0]:
        return None
    row = indices[0] % shape[axis]
    coordinates = list(np.indices(row.shape))
    coordinates[axis - 1] = row
    return Addressed(np.asarray(np.ravel_multi_index(coordinates, shape[1:])), 1, len(shape))


def by_tuples(graph: MutableGraph, layer: Layer, batch_dims: int) -> Addressed | None:
    """Return what a GatherND or ScatterND addresses by tuples on the last axis of its indices.

    Where each tuple begins with its own sample, they are those within a sample; else those within the axes that the
    tuples index, among which the batch may not be.

    Args:
        graph: The graph of the layer.
        layer: The layer.
        batch_dims: Leading axes that indices and data share.

    Returns:
        The elements, or None where samples differ or are mixed.
    """
    indices, shape = graph.constant(layer.inputs[1]), graph.shape(layer.inputs[0])
    if indices is None or not shape or batch_dims > 1:
        return None
    depth = indices.shape[-1]
    if indices.ndim > 1 and indices.shape[0] == shape[0]:
        samples = np.arange(shape[0]).reshape(-1, *([1] * (indices.ndim - 2)))
        named = batch_dims == 1 or (depth > 0 and bool((indices[..., 0] % shape[0] == samples).all()))
        within = indices if batch_dims else indices[..., 1:]
        if named and same_in_all_samples(within):
            ends = np.array(shape[1 : 1 + within.shape[-1]])
            if ((within < -ends) | (within >= ends)).any():
                return None
            numbered = np.arange(math.prod(shape[1:])).reshape(shape[1:])
            found = numbered[tuple(within[0, ..., i] for i in range(within.shape[-1]))]
            return Addressed(np.asarray(found), 1, len(shape))
    lead = shape[:depth]
    if batch_dims or not depth or (graph.batch > 1 and graph.batch in lead) or math.prod(lead) > _LARGEST:
        return None
    return Addressed(np.ravel_multi_index(tuple(indices[..., i] % n for i, n in enumerate(lead)), lead), 0, depth)


def same_in_all_samples(values: Array) -> bool:
    """Whether axis 0 repeats one row."""
    return bool((values == values[:1]).all())


def as_box(addressed: Addressed, shape: Shape) -> list[tuple[int, int]] | None:
    """Return the (start, end) along each axis of a tensor of this shape, where the elements are such a box in order."""
    inner = shape[addressed.first : addressed.last]
    coordinates = np.unravel_index(addressed.flattened(), inner)
    box = [(int(c.min()), int(c.max()) + 1) for c in coordinates]
    within = np.arange(math.prod(inner)).reshape(inner)[tuple(slice(a, b) for a, b in box)]
    if not np.array_equal(within.reshape(-1), addressed.flattened()):
        return None
    return [*((0, n) for n in shape[: addressed.first]), *box, *((0, n) for n in shape[addressed.last :])]


def as_grid(addressed: Addressed, shape: Shape) -> list[Array] | None:
    """Return the indices along each axis that is indexed, where all their combinations are addressed in order."""
    inner = shape[addressed.first : addressed.last]
    along = [np.unique(c) for c in np.unravel_index(addressed.flattened(), inner)]
    combined = np.ravel_multi_index(np.ix_(*along), inner)
    return along if np.array_equal(combined.reshape(-1), addressed.flattened()) else None
