"""Pairs of moves that undo each other are dropped, and what stands between them is written in the layout outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import operators
from ..graph import Array, Layer
from ..rewriting.constant_folding import drop_noops
from ..rewriting.mutable_graph import MutableGraph

Order = tuple[int, ...]


def cancel_moves(graph: MutableGraph) -> None:
    """Drop reshapes and transposes that give back what went in, elementwise layers between two transposes included.

    So a normalisation is found behind its convolution whatever layout an exporter wrote it in.

    Args:
        graph: Has the shapes of all activations, and all attributes spelled out.
    """
    _without_transposes_around(graph)
    producers = graph.producers()
    layers = []
    for layer in graph.layers:
        source = _undone(graph, layer, producers)
        made = layer if source is None else replace(layer, op="Identity", inputs=(source,), attributes={})
        layers.append(made)
        producers[layer.outputs[0]] = made
    if layers != graph.layers:
        graph.layers = layers
        drop_noops(graph)


def _undone(graph: MutableGraph, layer: Layer, producers: dict[str, Layer]) -> str | None:
    """The tensor that a reshape or transpose gives back, or None."""
    tensor, shape = layer.inputs[0] if layer.inputs else "", graph.shape(layer.outputs[0])
    if layer.op == "Transpose":
        before = producers.get(tensor)
        if before is not None and before.op == "Transpose" and _composed(before, layer) == tuple(range(len(shape))):
            return before.inputs[0]
    while layer.op in operators.RESHAPES:
        if tensor in graph.shapes and graph.shape(tensor) == shape:
            return tensor
        before = producers.get(tensor)
        if before is None or not (before.op in operators.RESHAPES or before.op == "Identity"):
            break
        tensor = before.inputs[0]
    return None


def _composed(first: Layer, second: Layer) -> Order:
    return tuple(first.attributes["perm"][axis] for axis in second.attributes["perm"])


def _without_transposes_around(graph: MutableGraph) -> None:
    """Take away a transpose, elementwise layers with constants behind it, and the transpose back."""
    uses = graph.uses()
    readers = {name: layer for layer in graph.layers for name in layer.inputs}
    changed: dict[str, Layer] = {}
    for first in (layer for layer in graph.layers if layer.op == "Transpose"):
        order = tuple(first.attributes["perm"])
        chain: list[Layer] = []
        tensor = first.outputs[0]
        while (
            uses[tensor] == 1 and (layer := readers.get(tensor)) is not None and _is_elementwise(graph, layer, tensor)
        ):
            chain.append(layer)
            tensor = layer.outputs[0]
        last = readers.get(tensor) if uses[tensor] == 1 else None
        if not chain or last is None or last.op != "Transpose" or _composed(first, last) != tuple(range(len(order))):
            continue
        back = tuple(int(axis) for axis in np.argsort(order))
        source = first.inputs[0]
        for layer in chain:
            inputs = tuple(
                source if name == layer.inputs[_own(graph, layer)] else _moved(graph, name, len(order), back)
                for name in layer.inputs
            )
            changed[layer.name] = replace(layer, inputs=inputs)
            source = layer.outputs[0]
            graph.shapes[source] = tuple(graph.shapes[source][axis] for axis in back)
        changed[last.name] = replace(last, op="Identity", inputs=(source,), attributes={})
    if changed:
        graph.layers = [changed.get(layer.name, layer) for layer in graph.layers]
        drop_noops(graph)


def _own(graph: MutableGraph, layer: Layer) -> int:
    return next(n for n, name in enumerate(layer.inputs) if name not in graph.constants)


def _is_elementwise(graph: MutableGraph, layer: Layer, tensor: str) -> bool:
    """Whether a layer is elementwise in one activation, with constants that broadcast over it."""
    live = [name for name in layer.inputs if name and name not in graph.constants]
    if live != [tensor] or layer.op not in operators.ELEMENTWISE or layer.op in operators.ROUNDINGS:
        return False
    same = graph.shapes.get(layer.outputs[0]) == graph.shapes.get(tensor) and len(layer.outputs) == 1
    broadcasts = layer.op in operators.ARITHMETIC or all(
        graph.constants[name].size == 1 for name in layer.inputs if name in graph.constants
    )
    return same and broadcasts


def _moved(graph: MutableGraph, name: str, rank: int, back: Order) -> str:
    """A constant that broadcasts over the transposed activation, for the one that is not transposed."""
    value: Array | None = graph.constant(name)
    if value is None or value.size == 1:
        return name
    full = value.reshape((1,) * (rank - value.ndim) + value.shape)
    return graph.add_constant(np.ascontiguousarray(full.transpose(back)), name)
