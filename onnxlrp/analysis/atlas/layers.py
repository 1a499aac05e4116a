"""The layers of an atlas: those that a pattern names, else the results of all that have weights."""

from __future__ import annotations

from ...errors import UnsupportedError, UsageError
from ...graph.facts import relevant
from ...graph.graph import Graph, Layer
from ...graph.operators import ELEMENTWISE, ROUNDINGS, WEIGHTED
from ...graph.outputs import units
from ...graph.outputs.units import Unit


def chosen(graph: Graph, pattern: str | None, logits: str, propagated: bool) -> list[Unit]:
    """Return the layers whose units an atlas shows.

    By default the results of convolutions and matrix products with weights, behind their activation function where one
    follows, without the scores of classes. Each tensor is there once.

    Args:
        graph: The graph.
        pattern: A regular expression for paths and node names; None for the default.
        logits: The tensor of the scores.
        propagated: Relevance is asked for, so that layers behind the scores, or off the way to them, are left out.

    Raises:
        UsageError: No layer fits.
        UnsupportedError: The model has no layer with weights.
    """
    reached = {name for layer in graph.layers if layer.name in relevant(graph, (graph.inputs[0].name,), logits)
               for name in layer.outputs}  # fmt: skip
    if pattern is not None:
        found = units.layers(graph, pattern)
        kept = [unit for unit in found if unit.tensor in reached or not propagated]
        if not kept:
            raise UsageError(
                f'no relevance reaches a layer that fits "{pattern}"', "name layers between input and scores"
            )
        return kept
    named = {unit.tensor: unit for unit in units.layers(graph, ".*")}
    tensors = dict.fromkeys(_behind(graph, layer) for layer in graph.layers if _is_weighted(graph, layer))
    kept = [named[name] for name in tensors if name in named and name in reached and name != logits]
    if not kept:
        raise UnsupportedError("the model has no layer with weights before its scores", "name layers: --layers 'REGEX'")
    return kept


def _is_weighted(graph: Graph, layer: Layer) -> bool:
    return layer.op in WEIGHTED and any(name in graph.constants for name in layer.inputs[:2])


def _behind(graph: Graph, layer: Layer) -> str:
    """The result of a layer behind what alone reads it: batch normalisation and a function of one operand."""
    tensor = layer.outputs[0]
    while len(readers := graph.consumers(tensor)) == 1:
        (reader,) = readers
        operands = [name for name in reader.inputs if name and name not in graph.constants]
        if reader.op not in (ELEMENTWISE | {"BatchNormalization"}) - ROUNDINGS or operands != [tensor]:
            break
        tensor = reader.outputs[0]
    return tensor
