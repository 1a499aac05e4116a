"""Tensors that may hold infinities, or numbers as large, as masks of attention do: facts about a graph."""

from __future__ import annotations

import numpy as np

from .. import operators
from ..graph import Graph, Layer

# Numbers of this size stand for an infinity: −3.4e38 in a mask is one, and two of them add up to one.
HUGE = 1e30


def may_be_infinite(graph: Graph) -> frozenset[str]:
    """Return the activations and constants that may hold infinite numbers for a finite input.

    They begin at constants, at logarithms, at broken powers, which are undefined below 0, and at further inputs, which
    may be masks, and end where a function is bounded (softmax, clip, comparison), at maxima over several elements, and
    at weights.

    Args:
        graph: The model.
    """
    found = {tensor.name for tensor in graph.inputs[1:] if tensor.dtype.startswith("float")}
    for layer in graph.layers:
        huge = {name for name in layer.inputs if layer.op in operators.READ_INFINITIES and _is_huge(graph, name)}
        found |= huge
        if (
            huge
            or layer.op == "Log"
            or (layer.op == "Pow" and _is_broken(graph, layer))
            or (layer.op in operators.HAND_INFINITIES_ON and found.intersection(_operands(layer)))
        ):
            found.update(name for name in layer.outputs if name)
    return frozenset(found)


def _is_broken(graph: Graph, layer: Layer) -> bool:
    """Whether exponents are no whole numbers; square roots stand in normalisations, where nothing is below 0."""
    exponents = graph.constants.get(layer.inputs[1])
    return exponents is not None and bool((np.abs(exponents) != 0.5).any() and (exponents % 1 != 0).any())


def _operands(layer: Layer) -> tuple[str, ...]:
    return layer.inputs[1:] if layer.op == "Where" else layer.inputs


def _is_huge(graph: Graph, name: str) -> bool:
    value = graph.constants.get(name)
    if value is None or value.dtype.kind != "f" or not value.size:
        return False
    return not bool(max(float(value.max()), -float(value.min())) < HUGE)
