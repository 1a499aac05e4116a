"""Padding that repeats or reflects along an axis that is too long for one selection: slices side by side."""

from __future__ import annotations

import numpy as np

from ..graph import Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph

# Elements of source times elements of the result, above which a selection along one axis is no small matrix.
LARGE = 1 << 24


def pad(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write a Pad of mode "reflect", "edge" or "wrap" along a long axis as Concat(before, x, after).

    What is before and after are Gathers from the slice that they copy, axis by axis; a border that is longer than the
    axis, so that it repeats, is left to the layer itself.

    Args:
        graph: Gets the constants and shapes.
        layer: A Pad whose amounts are known and not negative.

    Returns:
        The layers that stand for it; none where it stays.
    """
    mode, source = str(layer.attributes.get("mode", "constant")), graph.shapes.get(layer.inputs[0], ())
    amounts = graph.constant(layer.inputs[1])
    listed = graph.constant(layer.inputs[3]) if len(layer.inputs) > 3 and layer.inputs[3] else np.arange(len(source))
    if mode == "constant" or amounts is None or listed is None or not source:
        return []
    pairs = amounts.reshape(2, -1).T.tolist()
    borders = {int(axis) % len(source): pair for axis, pair in zip(listed.tolist(), pairs, strict=True) if any(pair)}
    if 0 in borders or not any(source[a] * (source[a] + sum(pair)) > LARGE for a, pair in borders.items()):
        return []
    if any(max(pair) >= source[axis] for axis, pair in borders.items()):
        return []
    build, x = Builder(graph, layer), layer.inputs[0]
    for axis, (before, after) in borders.items():
        length = source[axis]
        places = np.pad(np.arange(length), (before, after), mode=mode)  # type: ignore[call-overload]
        parts = [_border(build, x, axis, places[:before], "before"), x]
        parts.append(_border(build, x, axis, places[before + length :], "after"))
        last = axis == list(borders)[-1]
        x = build.concat([part for part in parts if part], axis, build.out if last else f"{build.out}/axis{axis}")
    return build.layers


def _border(build: Builder, x: str, axis: int, places: np.ndarray, side: str) -> str:
    """Append what one border copies; "" for none."""
    if not len(places):
        return ""
    low, high = int(places.min()), int(places.max()) + 1
    name = f"{build.out}/axis{axis}/{side}"
    part = build.slice(x, (low, high), axis, f"{name}/copied")
    indices = build.integers(places - low, f"{name}/places")
    shape = [len(places) if i == axis else n for i, n in enumerate(build.shape(x))]
    return build.add("Gather", part, indices, out=name, shape=shape, axis=axis)
