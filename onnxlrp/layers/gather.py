"""Selections by constant indices: Slice, Pad, Tile, Gather."""

from __future__ import annotations

import numpy as np

from ..graph.facts import looked_up
from ..graph.graph import Array
from ..program.affine import Affine
from ..program.linear import Sum
from ..program.op import Op
from ..program.value import Value
from . import Node, layer, unsupported
from .places import taken
from .selection import NO_SOURCE, copy_mask, map_sequence, route

Picks = list[Array | None]


def _selected(node: Node, x: Value, picks: Picks, filled: bool = False) -> Op:
    maps = map_sequence(node, x)
    maps.select(picks)
    maps.reshape(node.result.shape)
    holes = any(pick is not None and (pick == NO_SOURCE).any() for pick in picks)
    return route(node, maps.linear(), copy_mask(picks, x.shape) if holes else None, filled)


def _axes(node: Node, i: int, rank: int, count: int) -> list[int]:
    """Return the axes that input i lists, or without it the first `count`; the batch is axis 0."""
    return [int(a) % rank for a in node.array(i, range(count)).reshape(-1)]


@layer("Slice", kind="routing")
def slice_(node: Node) -> Op:
    """A strided box: the elements that were taken receive their relevance."""
    x = node.operand(0)
    starts, ends = (node.array(i).reshape(-1).tolist() for i in (1, 2))
    axes = _axes(node, 3, len(x.shape) + 1, len(starts))
    steps = node.array(4, [1] * len(starts)).reshape(-1).tolist()
    picks: Picks = [None] * len(x.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if axis == 0:
            if (start, step) != (0, 1):
                raise unsupported(node.layer)
            continue
        picks[axis - 1] = np.arange(x.shape[axis - 1])[slice(start, end, step)]
    return _selected(node, x, picks)


@layer("Pad", kind="routing")
def pad(node: Node) -> Op:
    """Padding: elements and their copies at the borders return relevance, constant padding drops its own."""
    x, mode = node.operand(0), str(node.attribute("mode", "constant"))
    rank = len(x.shape) + 1
    axes, amounts = _axes(node, 3, rank, rank), node.array(1).reshape(-1)
    picks: Picks = [None] * len(x.shape)
    for i, axis in enumerate(axes):
        before, after = int(amounts[i]), int(amounts[i + len(axes)])
        if axis == 0:
            if before or after:
                raise unsupported(node.layer)
            continue
        if before or after:
            picks[axis - 1] = _padded(x.shape[axis - 1], before, after, mode)
    fill = mode == "constant" and bool(node.array(2, 0.0).any())
    return _selected(node, x, picks, filled=fill)


def _padded(length: int, before: int, after: int, mode: str) -> Array:
    """Return the source index of each element of a padded axis; a negative amount crops before the rest is padded."""
    kept = np.arange(length)[max(0, -before) : length - max(0, -after)]
    amounts = (max(0, before), max(0, after))
    if mode == "constant":
        return np.pad(kept, amounts, constant_values=NO_SOURCE)
    return np.asarray(np.pad(kept, amounts, mode=mode))  # type: ignore[call-overload]


@layer("Tile", kind="routing")
def tile(node: Node) -> Op:
    """Repetition: an element receives the relevance of all its copies."""
    x, repeats = node.operand(0), node.array(1).reshape(-1).tolist()
    if repeats[0] != 1:
        raise unsupported(node.layer)
    picks: Picks = [None if k == 1 else np.tile(np.arange(n), k) for n, k in zip(x.shape, repeats[1:], strict=True)]
    return _selected(node, x, picks)


@layer("Gather", kind="routing")
def gather(node: Node) -> Op:
    """Elements by indices: each receives the relevance of all its copies; ids, that of their embeddings."""
    if ids := looked_up(node.graph, node.layer):
        return _embedded(node, node.values[ids])
    if node.activations != (0,):
        return taken(node)
    x, indices = node.operand(0), node.array(1).reshape(-1)
    axis = int(node.attribute("axis", 0)) % (len(x.shape) + 1)
    if axis == 0:
        raise unsupported(node.layer)
    picks: Picks = [None] * len(x.shape)
    picks[axis - 1] = indices % x.shape[axis - 1]
    return _selected(node, x, picks)


def _embedded(node: Node, ids: Value) -> Op:
    """Rows of a table: an id receives the sum of the relevance of its row."""
    y, width = node.result, node.array(0).ndim - 1
    rows = y.shape[: len(y.shape) - width]
    total = Sum(y.shape, rows, tuple(range(len(rows), len(y.shape))))

    def vjp(r: Value) -> tuple[Value, ...]:
        summed = Affine(total)(node.trace.broadcast_to(r, y.shape))
        return (node.trace.reshape(summed, ids.shape),)

    return Op("routing", (ids,), y, vjp, name=node.layer.label)
