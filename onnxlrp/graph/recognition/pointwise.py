"""Products with a matrix that are convolutions of width 1: in blocks that take the channels of a picture last."""

from __future__ import annotations

from .. import operators
from ..facts import is_weighted
from ..graph import Graph, Layer

_NORMS = operators.ops("LayerNormalization RMSNormalization")
_WITHIN = operators.ELEMENTWISE | (operators.AXES_AS_OPERAND - {"Slice"}) | _NORMS


def is_pointwise(graph: Graph, layer: Layer) -> bool:
    """Return whether a product with a constant matrix maps the channels of a picture, place by place.

    Such a layer stands between a Transpose of a picture [C, H, W] to [H, W, C] and one that leads back, or the mean
    over all places, and nothing in between moves values to other places: blocks of ConvNeXt. Written with convolutions
    of width 1 they are the same function, and get the same rules. Tokens of transformers are mixed by attention, which
    moves values: their products are dense layers, whichever axes they lie along.

    Args:
        graph: The model.
        layer: A MatMul.
    """
    live = [name for name in layer.inputs[:2] if name not in graph.constants]
    if len(live) != 1 or live[0] != layer.inputs[0] or len(graph.constant_shape(layer.inputs[1])) != 2:
        return False
    rank = len(graph.shapes[live[0]]) + 1
    if rank < 4:
        return False
    to_last, to_first = (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))
    seen: set[str] = set()
    pending, ends = [layer], 0
    while pending:
        part = pending.pop()
        if part.name in seen:
            continue
        seen.add(part.name)
        perm = tuple(part.attributes.get("perm", ())) if part.op == "Transpose" else ()
        if perm == to_first or _is_over_places(graph, part, rank):
            ends += 1
            pending += _before(graph, part)
        elif perm == to_last:
            pending += graph.consumers(part.outputs[0])
        elif part.op in _WITHIN or (part.op == "MatMul" and is_weighted(graph, part)):
            before = _before(graph, part)
            live = [name for name in part.inputs if name and name not in graph.constants]
            if len(before) < len(live):
                return False  # it reads an input of the model
            pending += [*before, *(reader for name in part.outputs for reader in graph.consumers(name))]
        else:
            return False
    return ends > 0


def _before(graph: Graph, layer: Layer) -> list[Layer]:
    return [made for name in layer.inputs if name and (made := graph.producer(name)) is not None]


def _is_over_places(graph: Graph, layer: Layer, rank: int) -> bool:
    """Return whether a layer takes the mean over all places and leaves [C]."""
    if layer.op != "ReduceMean":
        return False
    source = graph.shapes.get(layer.inputs[0], ())
    return len(source) == rank - 1 and graph.shapes[layer.outputs[0]] == source[-1:]
