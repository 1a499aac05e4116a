"""Samples that a model sorts by their lengths, and puts back: without the sorting they stay where they are.

PyTorch writes this around a packed sequence with `enforce_sorted=False`: TopK of the lengths, Gather of the samples by
its indices, the recurrent layers, Gather by the inverse of the indices.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Layer
from ..rewriting.mutable_graph import MutableGraph, captured


def undo_sorting(graph: MutableGraph) -> None:
    """Drop each sorting of the samples that the graph undoes before its outputs.

    Between the two, layers must treat each sample alone: the pass that frees the batch refuses all others.
    """
    for layer in list(graph.layers):
        if layer.op == "TopK" and _orders_samples(graph, layer):
            _undo(graph, layer)


def sorts(graph: MutableGraph) -> bool:
    """Return whether there is a sorting that `undo_sorting` drops."""
    made = graph.copy()
    undo_sorting(made)
    return made.layers != graph.layers


def _orders_samples(graph: MutableGraph, layer: Layer) -> bool:
    """Return whether a TopK sorts all samples by one number of each."""
    count = graph.constant(layer.inputs[1])
    shape = graph.shapes.get(layer.inputs[0])
    return shape == (graph.batch,) and count is not None and int(count.reshape(())) == graph.batch > 1


def _undo(graph: MutableGraph, top: Layer) -> None:
    made: list[Layer] = []
    order, inverse, apart = {top.outputs[1]}, set[str](), {top.outputs[0]}
    for layer in graph.layers:
        inputs = set(layer.inputs) - graph.constants.keys() - {""}
        outputs = {name for name in layer.outputs if name}
        if layer is top:
            made.append(Layer("Identity", layer.name, layer.path, layer.inputs[:1], layer.outputs[:1]))
            # Whoever reads the order still has it, until nobody does.
            made.append(replace(layer, name=f"{layer.name}/order", outputs=("", layer.outputs[1])))
            continue
        if captured(layer) & (order | inverse | apart):
            return
        if not inputs & (order | inverse | apart):
            made.append(layer)
            continue
        if layer.op in ("Cast", "Identity") and (inputs <= order or inputs <= inverse):
            (order if inputs <= order else inverse).update(outputs)
            made.append(layer)
        elif _inverts(graph, layer, order):
            inverse |= outputs
            made.append(layer)
        elif _picks(graph, layer, order) and layer.inputs[0] not in apart:
            apart |= outputs
            made.append(_handed_on(layer))
        elif _picks(graph, layer, inverse) and layer.inputs[0] in apart:
            made.append(_handed_on(layer))
        elif inputs <= apart:
            apart |= outputs
            made.append(layer)
        else:
            return
    if not apart.intersection(graph.outputs) and not (order | inverse).intersection(graph.outputs):
        graph.layers = made
        graph.prune()


def _handed_on(layer: Layer) -> Layer:
    return Layer("Identity", layer.name, layer.path, layer.inputs[:1], layer.outputs)


def _picks(graph: MutableGraph, layer: Layer, indices: set[str]) -> bool:
    """Return whether a layer takes all samples in another order."""
    if layer.op != "Gather" or layer.inputs[1] not in indices:
        return False
    shape, axis = graph.shapes.get(layer.inputs[0], ()), int(layer.attributes.get("axis", 0))
    return bool(shape) and shape[axis] == graph.batch


def _inverts(graph: MutableGraph, layer: Layer, order: set[str]) -> bool:
    """Return whether a layer makes the inverse of an order: it writes 0, 1, 2, … to its places, or sorts it."""
    if layer.op == "ScatterElements" and layer.inputs[1] in order:
        numbers = graph.constant(layer.inputs[2])
        reads_only = layer.inputs[0] not in order and layer.inputs[2] not in order
        return reads_only and numbers is not None and np.array_equal(numbers, np.arange(graph.batch))
    if layer.op == "TopK" and layer.inputs[0] in order:
        return _orders_samples(graph, layer) and not layer.attributes.get("largest", 1)
    return False
