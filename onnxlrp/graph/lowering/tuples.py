"""Tuples of a sample's own number and computed indices, as torch writes x[torch.arange(N), i]: within each sample."""

from __future__ import annotations

import math

import numpy as np

from ..graph import Array, Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph


def gather_within(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write a GatherND by such tuples as one within each sample, by what is left of the tuples."""
    parts = _behind_own_number(graph, layer)
    if not parts or layer.attributes.get("batch_dims", 0):
        return []
    build = Builder(graph, layer)
    rest = parts[0] if len(parts) == 1 else _typed(build, build.concat(parts, -1, f"{build.out}/within"))
    build.keep(inputs=(layer.inputs[0], rest), attributes={"batch_dims": 1})
    return build.layers


def scatter_within(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write a ScatterND by such tuples as a ScatterElements along the axes that they index, as one axis."""
    parts = _behind_own_number(graph, layer)
    if not parts:
        return []
    build, (data, _, updates) = Builder(graph, layer), layer.inputs
    shape, out = graph.shape(data), build.out
    indexed = shape[1 : 1 + len(parts)]
    rest = math.prod(shape[1 + len(parts) :])
    count = math.prod(graph.shape(parts[0])[1:])
    column = (graph.batch, count, 1)
    place = ""
    for k, (part, length) in enumerate(zip(parts, indexed, strict=True)):
        stride = math.prod(indexed[k + 1 :])
        flat = _typed(build, build.reshape(part, column, f"{out}/part{k}"))
        n = build.integers(length, f"{out}/length{k}")
        term = _typed(build, build.add("Mod", flat, n, out=f"{out}/within{k}", shape=column))
        if stride != 1:
            factor = build.integers(stride, f"{out}/stride{k}")
            term = _typed(build, build.add("Mul", term, factor, out=f"{out}/term{k}", shape=column))
        if place:
            term = _typed(build, build.add("Add", place, term, out=f"{out}/place{k}", shape=column))
        place = term
    many = (graph.batch, count, rest)
    target = build.integers((1, 1, rest), f"{out}/copies/shape")
    place = _typed(build, build.add("Expand", place, target, out=f"{out}/copies", shape=many))
    rows = build.reshape(data, (graph.batch, math.prod(indexed), rest), f"{out}/rows")
    given = build.reshape(updates, many, f"{out}/updates")
    attributes = {key: value for key, value in layer.attributes.items() if key == "reduction"}
    written = f"{out}/written"
    build.add("ScatterElements", rows, place, given, out=written, name=layer.name, shape=build.shape(rows), axis=1,
              **attributes)  # fmt: skip
    build.reshape(written, shape, out, f"{layer.name}/in_shape")
    return build.layers


def _behind_own_number(graph: MutableGraph, layer: Layer) -> tuple[str, ...]:
    """Return the indices behind a sample's own number in the tuples of a layer, each [N, …, 1]; () for other tuples."""
    data, indices = layer.inputs[:2]
    joined, own = graph.producers().get(indices), graph.shape(indices)
    if graph.shape(data)[:1] != (graph.batch,) or joined is None or joined.op != "Concat" or len(own) < 2:
        return ()
    parts = joined.inputs
    if joined.attributes["axis"] % len(own) != len(own) - 1 or any(graph.shape(part)[-1:] != (1,) for part in parts):
        return ()
    first = graph.constant(parts[0])
    if first is None or not _counts_samples(first, graph.batch):
        return ()
    # A constant among the others would have to be told apart by samples.
    return () if any(graph.constant(part) is not None for part in parts[1:]) else parts[1:]


def _counts_samples(value: Array, batch: int) -> bool:
    rows = np.moveaxis(value, 0, -1)
    return value.shape[0] == batch and bool((rows == np.arange(batch)).all())


def _typed(build: Builder, name: str) -> str:
    build.graph.dtypes[name] = "int64"
    return name
