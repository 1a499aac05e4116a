"""Gathering and scattering at constant places: a Gather from flattened axes, or slices side by side."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..graph import Array, Layer
from ..rewriting.builder import Shape, declare, joined, reshaped, shape_of, sliced
from ..rewriting.mutable_graph import MutableGraph
from .constant_indices import Reach, alike, box_of, elements, grid_of, tuples

# Updates that one place may receive.
_MOST = 16


def gather_elements(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """y = flat(x)[places]."""
    return _gather(graph, layer, elements(graph, layer))


def gather_nd(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """The same, its places given as tuples."""
    return _gather(graph, layer, tuples(graph, layer, layer.attributes.get("batch_dims", 0)))


def _gather(graph: MutableGraph, layer: Layer, reach: Reach | None) -> list[Layer]:
    if reach is None or layer.inputs[0] not in graph.shapes:
        return []
    flat, layers = _flattened(graph, layer, layer.inputs[0], reach)
    indices = graph.add_constant(reach.places.astype(np.int64), f"{layer.outputs[0]}/places")
    return [*layers, replace(layer, op="Gather", inputs=(flat, indices), attributes={"axis": reach.first})]


def scatter(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Elements replaced: of a box, by slices side by side; else by a Gather from the data and the updates. Elements
    added to: a sum of Gathers from the updates."""
    data, updates = layer.inputs[0], layer.inputs[2]
    reach = tuples(graph, layer, 0) if layer.op == "ScatterND" else elements(graph, layer)
    reduction = layer.attributes.get("reduction", "none")
    if reach is None or (data in graph.constants and updates in graph.constants):
        return []
    if reduction == "add":
        return _added(graph, layer, reach)
    if reduction != "none" or len(np.unique(reach.places)) != reach.places.size:
        return []
    shape = shape_of(graph, data)
    box = box_of(reach, shape)
    if box is not None:
        boxed, layers = _in_shape(graph, layer, updates, tuple(b - a for a, b in box), "box")
        return [*layers, *_inserted(graph, layer, data, boxed, box, layer.outputs[0])]
    grid = grid_of(reach, shape)
    if grid is not None:
        return _spread(graph, layer, reach, grid)
    size = math.prod(shape[reach.first : reach.last])
    source = np.arange(size)
    source[reach.places.reshape(-1)] = size + np.arange(reach.places.size)
    flats = [_flattened(graph, layer, name, reach) for name in (data, updates)]
    both = joined(graph, layer, tuple(flat for flat, _ in flats), reach.first, f"{layer.outputs[0]}/both")
    indices = graph.add_constant(source.reshape(shape[reach.first : reach.last]), f"{layer.outputs[0]}/places")
    picked = replace(layer, op="Gather", inputs=(both.outputs[0], indices), attributes={"axis": reach.first})
    return [*(other for _, layers in flats for other in layers), both, picked]


def _spread(graph: MutableGraph, layer: Layer, reach: Reach, grid: list[Array]) -> list[Layer]:
    """data ⊙ (1 - mask) + the updates laid out along each axis, with nothing between them."""
    data, updates, out = layer.inputs[0], layer.inputs[2], layer.outputs[0]
    shape = shape_of(graph, data)
    whole = (*shape[: reach.first], *(len(along) for along in grid), *shape[reach.last :])
    part, layers = _in_shape(graph, layer, updates, whole, "grid")
    for axis, along in enumerate(grid, reach.first):
        if len(along) == shape[axis]:
            continue
        source = np.zeros(shape[axis], np.int64)
        source[along] = 1 + np.arange(len(along))
        behind, picked = _with_nothing(graph, layer, part, axis, source, f"{out}/along{axis}")
        layers += [behind, picked]
        part = picked.outputs[0]
    mask = np.zeros(shape[reach.first : reach.last], np.float32)
    mask[np.ix_(*grid)] = 1
    kept = (1 - mask).reshape(*mask.shape, *[1] * (len(shape) - reach.last))
    rest = graph.constant(data)
    if rest is None:
        operand = graph.add_constant(kept, f"{out}/kept")
        left = declare(graph, f"{out}/left", shape, out)
        layers.append(Layer("Mul", left, layer.path, (data, operand), (left,)))
    else:
        left = graph.add_constant(rest[:1] * kept if alike(rest) else rest * kept, f"{out}/left")
    return [*layers, replace(layer, op="Add", inputs=(left, part), attributes={})]


def _with_nothing(
    graph: MutableGraph, layer: Layer, source: str, axis: int, places: Array, out: str
) -> tuple[Layer, Layer]:
    """(zero in front of a tensor, what `places` pick of both)."""
    shape = shape_of(graph, source)
    zero = np.broadcast_to(np.float32(0), (*shape[:axis], 1, *shape[axis + 1 :]))
    both = joined(graph, layer, (graph.add_constant(zero, f"{out}/nothing"), source), axis, f"{out}/both")
    indices = graph.add_constant(places, f"{out}/places")
    declare(graph, out, (*shape[:axis], *places.shape, *shape[axis + 1 :]), layer.outputs[0])
    return both, Layer("Gather", f"{layer.name}/{out}", layer.path, (both.outputs[0], indices), (out,), {"axis": axis})


def _added(graph: MutableGraph, layer: Layer, reach: Reach) -> list[Layer]:
    """data + Σ_k (nothing, updates)[source_k]: source_k names the k-th update of each place, or nothing."""
    data, updates, out = layer.inputs[0], layer.inputs[2], layer.outputs[0]
    shape = shape_of(graph, data)
    inner, places = shape[reach.first : reach.last], reach.places.reshape(-1)
    counts = np.bincount(places, minlength=math.prod(inner))
    if counts.max() > _MOST:
        return []
    order = np.argsort(places, kind="stable")
    rank = np.arange(places.size) - np.repeat(np.cumsum(counts) - counts, counts)
    flat, layers = _flattened(graph, layer, updates, reach)
    total = data
    for k in range(int(counts.max())):
        source = np.zeros(counts.size, np.int64)
        source[places[order[rank == k]]] = 1 + order[rank == k]
        both, part = _with_nothing(graph, layer, flat, reach.first, source.reshape(inner), f"{out}/part{k}")
        layers += [both, part]
        last = k == counts.max() - 1
        after = out if last else declare(graph, f"{out}/total{k}", shape, out)
        name = layer.name if last else after
        layers.append(Layer("Add", name, layer.path, (total, part.outputs[0]), (after,)))
        total = after
    return layers


def _flattened(graph: MutableGraph, layer: Layer, name: str, reach: Reach) -> tuple[str, list[Layer]]:
    """An operand with the axes that are reached as one; updates have the axes of the places there."""
    shape, data = shape_of(graph, name), shape_of(graph, layer.inputs[0])
    last = len(shape) - (len(data) - reach.last)
    length = math.prod(shape[reach.first : last])
    return _in_shape(graph, layer, name, (*shape[: reach.first], length, *shape[last:]), f"{name}/flat")


def _in_shape(graph: MutableGraph, layer: Layer, name: str, shape: Shape, what: str) -> tuple[str, list[Layer]]:
    if shape_of(graph, name) == shape:
        return name, []
    out, value = f"{layer.outputs[0]}/{what}", graph.constant(name)
    if value is None:
        return out, [] if out in graph.shapes else [reshaped(graph, layer, name, shape, out)]
    if shape[0] == len(value) and alike(value):
        # What all samples share is kept once.
        return graph.add_constant(np.broadcast_to(value[:1].reshape(1, *shape[1:]), shape), out), []
    return graph.add_constant(value.reshape(shape), out), []


def _inserted(
    graph: MutableGraph, layer: Layer, data: str, updates: str, box: list[tuple[int, int]], out: str
) -> list[Layer]:
    """Along one axis: what stands before the box, the box (with its other axes), what stands behind it."""
    shape = shape_of(graph, data)
    axis = next((i for i, (bounds, n) in enumerate(zip(box, shape, strict=True)) if bounds != (0, n)), -1)
    if axis < 0:
        return [Layer("Identity", f"{layer.name}/{out}", layer.path, (updates,), (out,))]
    layers: list[Layer] = []
    start, end = box[axis]

    def piece(a: int, b: int) -> str:
        if data in graph.constants:
            within = tuple(slice(a, b) if i == axis else slice(None) for i in range(len(shape)))
            return graph.add_constant(graph.constants[data][within], f"{out}/{axis}/{a}")
        layers.append(sliced(graph, layer, data, (a, b), axis, f"{out}/{axis}/{a}"))
        return layers[-1].outputs[0]

    rest = [(0, end - start) if i == axis else bounds for i, bounds in enumerate(box)]
    middle = updates
    if any(bounds != (0, n) for i, (bounds, n) in enumerate(zip(box, shape, strict=True)) if i != axis):
        inner = piece(start, end)
        middle = declare(graph, f"{out}/{axis}/inside", shape_of(graph, inner), layer.outputs[0])
        layers.extend(_inserted(graph, layer, inner, updates, rest, middle))
    before = (piece(0, start),) if start else ()
    behind = (piece(end, shape[axis]),) if end < shape[axis] else ()
    return [*layers, joined(graph, layer, (*before, middle, *behind), axis, out)]
