"""Which tensors hold places that a score still depends on: behind a class token that is read alone, none does."""

from __future__ import annotations

from collections.abc import Mapping

from ..axes.parts import NOWHERE, Axes, Picked
from ..axes.places import has_others
from ..axes.tracing import contracted, selected
from ..facts import relevant
from ..graph import Graph, Layer
from ..operators import MATRIX_PRODUCTS


def reaching(graph: Graph, traced: Mapping[str, Axes], target: str) -> frozenset[str]:
    """Return the tensors whose places reach a tensor: its gradient by them need not be zero.

    Tokens mix only where a layer sums over them. Behind the last mixing, the tokens of places go nowhere, where the
    head reads the class token alone.

    Args:
        graph: The graph.
        traced: The axes of its tensors, as `trace_axes` gives them.
        target: The tensor, such as that of the logits.
    """
    inside = relevant(graph, (graph.inputs[0].name,), target)
    read, found = {target}, {target}
    for layer in reversed(graph.layers):
        if layer.name not in inside:
            continue
        results = [name for name in layer.outputs if name in read]
        for position, name in enumerate(layer.inputs):
            if results and name not in graph.constants:
                read.add(name)
                if _reaches(graph, traced, layer, position, any(result in found for result in results)):
                    found.add(name)
    return frozenset(found)


def only_for_attention(graph: Graph, tensor: str) -> bool:
    """Return whether all that reads a tensor are products of two activations, past layers without weights.

    So are queries, keys and values: parts of the attention, not the features of a layer.

    Args:
        graph: The graph.
        tensor: The tensor.
    """
    readers = graph.consumers(tensor)
    for layer in readers:
        if layer.op in MATRIX_PRODUCTS:
            if any(name in graph.constants for name in layer.inputs[:2]):
                return False
        elif not all(only_for_attention(graph, name) for name in layer.outputs if name):
            return False
    return bool(readers)


def _reaches(graph: Graph, traced: Mapping[str, Axes], layer: Layer, position: int, result: bool) -> bool:
    """Whether the places of an operand reach the target, where those of the result do or not."""
    axes = traced.get(layer.inputs[position])
    if axes is None or not has_others(axes):
        return True
    chosen = selected(graph, layer) if position == 0 else None
    if chosen is not None:
        source = next((part[0] for part in axes[chosen[0]] if isinstance(part[0], Picked)), None)
        if source is not None and axes[chosen[0]] == ((source, len(source.positions), 1),):
            return result and any(source.positions[n] != NOWHERE for n in chosen[1])
    if layer.op in MATRIX_PRODUCTS and position < 2:
        split = contracted(graph, layer, axes, position)
        if split is None or has_others((split[0],)):
            return True
    kept = any(has_others(traced.get(name, ())) for name in layer.outputs)
    return result if kept else True
