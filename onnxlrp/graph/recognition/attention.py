"""Attention: which factor of a matrix product holds weights, and where positions are added; facts about a graph."""

from __future__ import annotations

from typing import NamedTuple

from .. import operators
from ..facts import is_weighted
from ..graph import Graph, Layer

_MOVES = operators.BETWEEN_GATE_AND_PRODUCT | operators.COPIES
_SHARES = operators.ops("Softmax Hardmax")


class Weights(NamedTuple):
    """Attention weights: a factor of a matrix product, which comes of a softmax.

    Attributes:
        layer: The product.
        tensor: The weights [..., queries, keys], or [..., keys, queries] where `flipped`.
        flipped: They are the second factor.
    """

    layer: Layer
    tensor: str
    flipped: bool


def every_weights(graph: Graph) -> tuple[Weights, ...]:
    """Return the attention weights of a graph, in the order in which they are computed.

    Args:
        graph: The model.
    """
    found = []
    for layer in graph.layers:
        side = weights_of(graph, layer) if layer.op in operators.MATRIX_PRODUCTS else None
        if side is not None:
            found.append(Weights(layer, layer.inputs[side], bool(side)))
    return tuple(found)


def weights_of(graph: Graph, layer: Layer) -> int | None:
    """Return which factor of a matrix product of two activations holds attention weights: 0, 1 or None.

    It is the one that comes of a softmax. Between them may stand what moves or copies values, masks and factors, the
    division by a sum, and linear maps over the heads (talking heads). Where both factors do or neither, there is none.

    Args:
        graph: The model.
        layer: The product.

    References:
        Vaswani et al., Attention is all you need, NeurIPS 2017.
    """
    live = [name for name in layer.inputs if name and name not in graph.constants]
    if len(live) != 2 or len(layer.inputs) != 2:
        return None
    found = [_comes_of_softmax(graph, name) for name in live]
    return found.index(True) if found[0] != found[1] else None


def has_attention(graph: Graph) -> bool:
    """Return whether attention weights multiply activations anywhere in a graph.

    Args:
        graph: The model.
    """
    if not any(layer.op in _SHARES for layer in graph.layers):
        return False
    products = (layer for layer in graph.layers if layer.op in operators.MATRIX_PRODUCTS)
    return any(weights_of(graph, layer) is not None for layer in products)


def adds_positions(graph: Graph, layer: Layer) -> bool:
    """Return whether a layer adds a constant that differs from place to place: a position embedding.

    A bias has one value for each channel. A mean picture, which is subtracted from pixels, is preprocessing: no layer
    with weights comes before it.

    Args:
        graph: The model.
        layer: An addition or subtraction of an activation and constants.
    """
    result = graph.shapes[layer.outputs[0]]
    constants = [graph.constant_shape(name) for name in layer.inputs if name in graph.constants]
    wide = [shape[-len(result) :] for shape in constants if result and sum(n > 1 for n in shape[-len(result) :]) > 1]
    return bool(wide) and _is_behind_weights(graph, layer)


def _comes_of_softmax(graph: Graph, tensor: str) -> bool:
    while (layer := graph.producer(tensor)) is not None:
        if layer.op in _SHARES:
            return True
        live = [name for name in layer.inputs if name and name not in graph.constants]
        if layer.op == "Where":
            live = [name for name in layer.inputs[1:] if name not in graph.constants]
        moves = layer.op in _MOVES or layer.op == "Where"
        linear = layer.op in ("Mul", "Div") or is_weighted(graph, layer)
        divided = layer.op == "Div" and len(live) == 2 and _is_sum_of(graph, live[1], live[0])
        if not live or not (divided or (len(live) == 1 and (moves or linear))):
            return False
        if is_weighted(graph, layer) and not _mixes_heads(graph, layer, live[0]):
            return False
        tensor = live[0]
    return False


def _mixes_heads(graph: Graph, layer: Layer, operand: str) -> bool:
    """Return whether a linear map makes as many weights, of heads, queries and keys, of as many."""
    shape = graph.shapes[operand]
    return len(shape) == 3 and graph.shapes[layer.outputs[0]] == shape


def _is_sum_of(graph: Graph, tensor: str, source: str) -> bool:
    """Return whether a tensor is a sum over axes of another, perhaps with a constant added."""
    while (layer := graph.producer(tensor)) is not None:
        live = [name for name in layer.inputs if name and name not in graph.constants]
        if len(live) != 1:
            return False
        if layer.op in ("ReduceSum", "ReduceL1"):
            return live[0] == source
        if layer.op not in operators.SHIFTS | _MOVES:
            return False
        tensor = live[0]
    return False


def _is_behind_weights(graph: Graph, layer: Layer) -> bool:
    """Return whether a layer with weights, or a table of embeddings, comes before a layer."""
    names = {name for name in layer.inputs if name not in graph.constants}
    seen: set[str] = set()
    while names:
        name = names.pop()
        seen.add(name)
        producer = graph.producer(name)
        if producer is None:
            continue
        table = producer.op == "Gather" and producer.inputs[0] in graph.constants
        if table or is_weighted(graph, producer):
            return True
        names |= {n for n in producer.inputs if n and n not in graph.constants} - seen
    return False
