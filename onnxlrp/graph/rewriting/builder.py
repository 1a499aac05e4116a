"""New layers that stand for parts of one, with the shapes and types of what they write."""

from __future__ import annotations

import numpy as np

from ..graph import Layer
from .mutable_graph import MutableGraph

Shape = tuple[int, ...]


def shape_of(graph: MutableGraph, name: str) -> Shape:
    """Of an activation or a constant; () where it is not known."""
    value = graph.constant(name)
    return graph.shapes.get(name, ()) if value is None else value.shape


def declare(graph: MutableGraph, name: str, shape: Shape, like: str) -> str:
    """A new activation of the type of another."""
    graph.shapes[name] = tuple(int(n) for n in shape)
    if like in graph.dtypes:
        graph.dtypes[name] = graph.dtypes[like]
    return name


def reshaped(graph: MutableGraph, layer: Layer, source: str, shape: Shape, out: str) -> Layer:
    """The elements of `source` in another shape."""
    target = graph.add_constant(np.array(shape, np.int64), f"{out}/shape")
    name = layer.name if out == layer.outputs[0] else f"{layer.name}/{out}"
    return Layer("Reshape", name, layer.path, (source, target), (declare(graph, out, shape, layer.outputs[0]),))


def sliced(graph: MutableGraph, layer: Layer, source: str, bounds: tuple[int, int], axis: int, out: str) -> Layer:
    """`source[start:end]` along one axis."""
    where = [graph.add_constant(np.array([v], np.int64), f"{out}/{part}")
             for part, v in (("start", bounds[0]), ("end", bounds[1]), ("axis", axis))]  # fmt: skip
    shape = tuple(bounds[1] - bounds[0] if i == axis else n for i, n in enumerate(shape_of(graph, source)))
    declare(graph, out, shape, layer.outputs[0])
    return Layer("Slice", f"{layer.name}/{out}", layer.path, (source, *where), (out,))


def joined(graph: MutableGraph, layer: Layer, parts: tuple[str, ...], axis: int, out: str) -> Layer:
    """`parts` one behind the other along one axis."""
    shape = list(shape_of(graph, parts[0]))
    shape[axis] = sum(shape_of(graph, part)[axis] for part in parts)
    declare(graph, out, tuple(shape), layer.outputs[0])
    return Layer("Concat", f"{layer.name}/{out}", layer.path, parts, (out,), {"axis": axis})
