"""Gathering and scattering by constant indices: a Gather from flattened axes, or slices side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..graph import Array, Layer
from ..rewriting.builder import Builder, Shape
from ..rewriting.mutable_graph import MutableGraph
from .constant_indices import Addressed, as_box, as_grid, by_elements, by_tuples, same_in_all_samples

# Updates that one element may receive.
_MOST_UPDATES = 16


def gather_elements(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write a GatherElements with constant indices as y = flat(x)[indices]."""
    return _gather(graph, layer, by_elements(graph, layer))


def gather_nd(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write a GatherND with constant indices as y = flat(x)[indices]."""
    return _gather(graph, layer, by_tuples(graph, layer, layer.attributes.get("batch_dims", 0)))


def _gather(graph: MutableGraph, layer: Layer, addressed: Addressed | None) -> list[Layer]:
    if addressed is None or layer.inputs[0] not in graph.shapes:
        return []
    build = Builder(graph, layer)
    flat = _flattened(build, layer.inputs[0], addressed)
    indices = build.integers(addressed.indices, f"{build.out}/places")
    build.keep(op="Gather", inputs=(flat, indices), attributes={"axis": addressed.first})
    return build.layers


def scatter(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write a ScatterElements or ScatterND with constant indices by slices, Gathers and sums.

    Elements that are replaced: a box of them by slices side by side, a grid of them by a mask, others by a Gather from
    the data and the updates. Elements that are added to: a sum of Gathers from the updates.
    """
    data, updates = layer.inputs[0], layer.inputs[2]
    addressed = by_tuples(graph, layer, 0) if layer.op == "ScatterND" else by_elements(graph, layer)
    reduction = layer.attributes.get("reduction", "none")
    if addressed is None or (data in graph.constants and updates in graph.constants):
        return []
    build = Builder(graph, layer)
    if reduction == "add":
        return _added(build, addressed)
    if reduction != "none" or len(np.unique(addressed.indices)) != addressed.indices.size:
        return []
    shape = graph.shape(data)
    box = as_box(addressed, shape)
    if box is not None:
        boxed = _in_shape(build, updates, tuple(b - a for a, b in box), "box")
        _inserted(build, data, boxed, box, build.out)
        return build.layers
    grid = as_grid(addressed, shape)
    if grid is not None:
        return _laid_out(build, addressed, grid)
    size = math.prod(shape[addressed.first : addressed.last])
    source = np.arange(size)
    source[addressed.flattened()] = size + np.arange(addressed.indices.size)
    both = [_flattened(build, name, addressed) for name in (data, updates)]
    joined = build.concat(both, addressed.first, f"{build.out}/both")
    indices = build.constant(source.reshape(shape[addressed.first : addressed.last]), f"{build.out}/places")
    build.keep(op="Gather", inputs=(joined, indices), attributes={"axis": addressed.first})
    return build.layers


def _laid_out(build: Builder, addressed: Addressed, grid: list[Array]) -> list[Layer]:
    """Sum of data ⊙ (1 - mask) and the updates laid out along each axis, with zeros between them."""
    data, updates, out, first, last = *build.layer.inputs[::2], build.out, addressed.first, addressed.last
    shape = build.shape(data)
    part = _in_shape(build, updates, (*shape[:first], *map(len, grid), *shape[last:]), "grid")
    for axis, along in enumerate(grid, first):
        if len(along) == shape[axis]:
            continue
        source = np.zeros(shape[axis], np.int64)
        source[along] = 1 + np.arange(len(along))
        part = _gather_or_zero(build, part, axis, source, f"{out}/along{axis}")
    mask = np.zeros(shape[first:last], np.float32)
    mask[np.ix_(*grid)] = 1
    kept = (1 - mask).reshape(*mask.shape, *[1] * (len(shape) - last))
    rest = build.graph.constant(data)
    if rest is None:
        operand = build.constant(kept, f"{out}/kept")
        left = build.add("Mul", data, operand, out=f"{out}/left", name=f"{out}/left", shape=shape)
    else:
        left = build.constant(rest[:1] * kept if same_in_all_samples(rest) else rest * kept, f"{out}/left")
    build.keep(op="Add", inputs=(left, part), attributes={})
    return build.layers


def _gather_or_zero(build: Builder, source: str, axis: int, indices: Array, out: str) -> str:
    """Gather along an axis, where index 0 stands for zero and n + 1 for the n-th element."""
    shape = build.shape(source)
    zero = np.broadcast_to(np.float32(0), (*shape[:axis], 1, *shape[axis + 1 :]))
    both = build.concat((build.constant(zero, f"{out}/nothing"), source), axis, f"{out}/both")
    operand = build.constant(indices, f"{out}/places")
    return build.add(
        "Gather", both, operand, out=out, shape=(*shape[:axis], *indices.shape, *shape[axis + 1 :]), axis=axis
    )


def _added(build: Builder, addressed: Addressed) -> list[Layer]:
    """Sum data + Σ_k (0, updates)[source_k], where source_k names the k-th update of each element, or zero."""
    data, updates, out = *build.layer.inputs[::2], build.out
    shape = build.shape(data)
    inner, indices = shape[addressed.first : addressed.last], addressed.flattened()
    counts = np.bincount(indices, minlength=math.prod(inner))
    if counts.max() > _MOST_UPDATES:
        return []
    order = np.argsort(indices, kind="stable")
    rank = np.arange(indices.size) - np.repeat(np.cumsum(counts) - counts, counts)
    flat = _flattened(build, updates, addressed)
    total = data
    for k in range(int(counts.max())):
        source = np.zeros(counts.size, np.int64)
        source[indices[order[rank == k]]] = 1 + order[rank == k]
        part = _gather_or_zero(build, flat, addressed.first, source.reshape(inner), f"{out}/part{k}")
        if k == counts.max() - 1:
            build.add("Add", total, part, name=build.layer.name)
        else:
            total = build.add("Add", total, part, out=f"{out}/total{k}", name=f"{out}/total{k}", shape=shape)
    return build.layers


def _flattened(build: Builder, name: str, addressed: Addressed) -> str:
    """An operand with the axes that are indexed as one; updates have the axes of the indices there."""
    shape, data = build.shape(name), build.shape(build.layer.inputs[0])
    last = len(shape) - (len(data) - addressed.last)
    length = math.prod(shape[addressed.first : last])
    return _in_shape(build, name, (*shape[: addressed.first], length, *shape[last:]), f"{name}/flat")


def _in_shape(build: Builder, name: str, shape: Shape, what: str) -> str:
    if build.shape(name) == shape:
        return name
    out, value = f"{build.out}/{what}", build.graph.constant(name)
    if value is None:
        return out if out in build.graph.shapes else build.reshape(name, shape, out)
    if shape[0] == len(value) and same_in_all_samples(value):
        # What all samples share is kept once.
        return build.constant(np.broadcast_to(value[:1].reshape(1, *shape[1:]), shape), out)
    return build.constant(value.reshape(shape), out)


def _inserted(build: Builder, data: str, updates: str, box: Sequence[tuple[int, int]], out: str) -> None:
    """Put updates into a box of the data: along one axis what is before the box, the box itself, what is behind it."""
    shape = build.shape(data)
    axis = next((i for i, (bounds, n) in enumerate(zip(box, shape, strict=True)) if bounds != (0, n)), -1)
    if axis < 0:
        build.add("Identity", updates, out=out)
        return
    start, end = box[axis]

    def piece(a: int, b: int) -> str:
        if data in build.graph.constants:
            within = tuple(slice(a, b) if i == axis else slice(None) for i in range(len(shape)))
            return build.constant(build.graph.constants[data][within], f"{out}/{axis}/{a}")
        return build.slice(data, (a, b), axis, f"{out}/{axis}/{a}")

    rest = [(0, end - start) if i == axis else bounds for i, bounds in enumerate(box)]
    middle = updates
    if any(bounds != (0, n) for i, (bounds, n) in enumerate(zip(box, shape, strict=True)) if i != axis):
        inner = piece(start, end)
        middle = build.declare(f"{out}/{axis}/inside", build.shape(inner))
        _inserted(build, inner, updates, rest, middle)
    before = (piece(0, start),) if start else ()
    behind = (piece(end, shape[axis]),) if end < shape[axis] else ()
    build.concat((*before, middle, *behind), axis, out)
