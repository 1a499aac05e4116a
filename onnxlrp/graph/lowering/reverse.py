"""ReverseSequence: the first steps of each sample in reverse order, as a Gather, or as a GatherND within the sample."""

from __future__ import annotations

import numpy as np

from ..graph import Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph


def reverse(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write y[t] = x[n − 1 − t] for t < n, and x[t] behind, by the places of the steps.

    Returns:
        A Gather where all lengths n are one number; a GatherND within each sample where the model computes them; no
        layer where they are other constants.
    """
    source, lengths = layer.inputs
    rank = len(graph.shape(source))
    time = int(layer.attributes.get("time_axis", 0)) % rank
    batch = int(layer.attributes.get("batch_axis", 1)) % rank
    steps, known = np.arange(graph.shape(source)[time]), graph.constant(lengths)
    build = Builder(graph, layer)
    if known is not None:
        if not known.size or (known != known.flat[0]).any():
            return []
        length = int(known.flat[0])
        order = np.where(steps < length, length - 1 - steps, steps)
        build.add("Gather", source, build.integers(order, f"{build.out}/order"), name=layer.name, axis=time)
        return build.layers
    turned = (batch, time, *(axis for axis in range(rank) if axis not in (batch, time)))
    shape = tuple(graph.shape(source)[axis] for axis in turned)
    if turned != tuple(range(rank)):
        source = build.add("Transpose", source, out=f"{build.out}/in_front", shape=shape, perm=turned)
    places, out = _places(build, lengths, shape[:2], steps), build.out
    if turned == tuple(range(rank)):
        build.add("GatherND", source, places, name=layer.name, batch_dims=1)
        return build.layers
    found = build.add("GatherND", source, places, out=f"{out}/reversed", name=layer.name, shape=shape, batch_dims=1)
    build.add("Transpose", found, name=f"{layer.name}/back", perm=tuple(int(axis) for axis in np.argsort(turned)))
    return build.layers


def _places(build: Builder, lengths: str, shape: tuple[int, ...], steps: np.ndarray) -> str:
    """Write which step each step of a sample is taken from [N, steps, 1], of lengths [N]."""
    out, types = build.out, build.graph.dtypes
    column = build.reshape(lengths, (shape[0], 1), f"{out}/lengths")
    numbers = build.integers(steps[None], f"{out}/steps")
    later = build.integers(steps[None] + 1, f"{out}/steps_and_one")
    mirrored = build.add("Sub", column, later, out=f"{out}/mirrored", shape=shape)
    inside = build.add("Less", numbers, column, out=f"{out}/inside", shape=shape)
    chosen = build.add("Where", inside, mirrored, numbers, out=f"{out}/chosen", shape=shape)
    places = build.reshape(chosen, (*shape, 1), f"{out}/tuples")
    types.update(dict.fromkeys((column, mirrored, chosen, places), "int64") | {inside: "bool"})
    return places
