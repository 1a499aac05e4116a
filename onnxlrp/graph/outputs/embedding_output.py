"""Embeddings that are told by the division by their norm."""

from __future__ import annotations

from .. import operators
from ..graph import Graph, Layer
from .head_patterns import number


def is_normalised(graph: Graph, tensor: str) -> bool:
    """Return whether a tensor is z / ‖z‖₂, whatever keeps the norm away from 0.

    Args:
        graph: The graph.
        tensor: The tensor.
    """
    layer = graph.producer(_before(graph, tensor, operators.COPIES | operators.RESHAPES))
    if layer is None:
        return False
    if layer.op == "LpNormalization":
        return bool(layer.attributes.get("p", 2) == 2)
    if layer.op == "Div":
        return _is_norm(graph, layer.inputs[1], layer.inputs[0])
    if layer.op == "Mul":
        for own, other in (layer.inputs, layer.inputs[::-1]):
            inverse = graph.producer(_before(graph, other, operators.AROUND_A_DENOMINATOR))
            if inverse is not None and inverse.op == "Reciprocal" and _is_norm(graph, inverse.inputs[0], own):
                return True
    return False


def _is_norm(graph: Graph, tensor: str, z: str) -> bool:
    """Whether a tensor is ‖z‖₂: ReduceL2, or the root of a sum of squares."""
    layer = graph.producer(_before(graph, tensor, operators.AROUND_A_DENOMINATOR))
    if layer is not None and layer.op == "ReduceL2":
        return layer.inputs[0] == z
    if layer is None or not (layer.op == "Sqrt" or (layer.op == "Pow" and number(graph, layer.inputs[1]) == 0.5)):
        return False
    total = graph.producer(_before(graph, layer.inputs[0], operators.AROUND_A_DENOMINATOR))
    if total is not None and total.op == "ReduceSumSquare":
        return total.inputs[0] == z
    return total is not None and total.op == "ReduceSum" and _is_square(graph.producer(total.inputs[0]), graph, z)


def _is_square(layer: Layer | None, graph: Graph, z: str) -> bool:
    if layer is None:
        return False
    if layer.op == "Mul":
        return layer.inputs == (z, z)
    return layer.op == "Pow" and layer.inputs[0] == z and number(graph, layer.inputs[1]) == 2


def _before(graph: Graph, tensor: str, passed: frozenset[str]) -> str:
    """The tensor before layers of these operators, each with one operand that is no constant."""
    while (layer := graph.producer(tensor)) is not None and layer.op in passed:
        live = [name for name in layer.inputs if name and name not in graph.constants]
        if not live:
            break
        tensor = live[0]
    return tensor
