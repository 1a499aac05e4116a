"""New layers in a draft that stand for parts of one, with the shapes and types of what they write."""

from __future__ import annotations

import numpy as np

from ..graph import Layer
from .mutable_graph import MutableGraph

Shape = tuple[int, ...]


def shape_of(draft: MutableGraph, name: str) -> Shape:
    """Of an activation or a constant; () where it is not known."""
    value = draft.constant(name)
    return draft.shapes.get(name, ()) if value is None else value.shape


def declare(draft: MutableGraph, name: str, shape: Shape, like: str) -> str:
    """A new activation of the type of another."""
    draft.shapes[name] = tuple(int(n) for n in shape)
    if like in draft.dtypes:
        draft.dtypes[name] = draft.dtypes[like]
    return name


def reshaped(draft: MutableGraph, layer: Layer, source: str, shape: Shape, out: str) -> Layer:
    """The elements of `source` in another shape."""
    target = draft.add_constant(np.array(shape, np.int64), f"{out}/shape")
    name = layer.name if out == layer.outputs[0] else f"{layer.name}/{out}"
    return Layer("Reshape", name, layer.path, (source, target), (declare(draft, out, shape, layer.outputs[0]),))


def sliced(draft: MutableGraph, layer: Layer, source: str, bounds: tuple[int, int], axis: int, out: str) -> Layer:
    """`source[start:end]` along one axis."""
    where = [draft.add_constant(np.array([v], np.int64), f"{out}/{part}")
             for part, v in (("start", bounds[0]), ("end", bounds[1]), ("axis", axis))]  # fmt: skip
    shape = tuple(bounds[1] - bounds[0] if i == axis else n for i, n in enumerate(shape_of(draft, source)))
    declare(draft, out, shape, layer.outputs[0])
    return Layer("Slice", f"{layer.name}/{out}", layer.path, (source, *where), (out,))


def joined(draft: MutableGraph, layer: Layer, parts: tuple[str, ...], axis: int, out: str) -> Layer:
    """`parts` one behind the other along one axis."""
    shape = list(shape_of(draft, parts[0]))
    shape[axis] = sum(shape_of(draft, part)[axis] for part in parts)
    declare(draft, out, tuple(shape), layer.outputs[0])
    return Layer("Concat", f"{layer.name}/{out}", layer.path, parts, (out,), {"axis": axis})
