"""The channel axis of every tensor: the axis that units lie along, read off the layer that computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ..graph import Graph, Layer
from ..operators import CHANNELS_FIRST, MATRIX_PRODUCTS, RECURRENT, REDUCTIONS, RESHAPES
from .input_axes import input_axes
from .tracing import einsum_terms, full_axis

Shape = tuple[int, ...]


def channel_axes(graph: Graph) -> dict[str, int]:
    """Return the axis of channels of every tensor, among the axes of a sample.

    Convolutions and poolings have their channels first, products with a matrix, embeddings and recurrent layers last;
    transposes and reshapes move the axis, and what keeps a shape keeps it. Of what is left, vectors lie along their one
    axis, matrices [T, C] have channels last, and maps [C, h, w] first.

    Args:
        graph: The graph.
    """
    known: dict[str, int] = {}
    for source in graph.inputs:
        read = input_axes(graph, source)
        told = None if read is None else read.channel_axis
        known[source.name] = _usual(source.shape) if told is None else told
    for layer in graph.layers:
        for name in layer.outputs:
            shape = graph.shapes.get(name)
            if shape is not None:
                found = _of_result(graph, layer, known, shape)
                known[name] = found if found is not None and 0 <= found < max(1, len(shape)) else _usual(shape)
    return known


def _usual(shape: Shape) -> int:
    return 1 if len(shape) == 2 else 0


def _of_result(graph: Graph, layer: Layer, known: Mapping[str, int], shape: Shape) -> int | None:
    op = layer.op
    if op in CHANNELS_FIRST:
        return 0
    if op in MATRIX_PRODUCTS:
        return _of_product(graph, layer, known, shape)
    if op in RECURRENT:
        return len(shape) - 1
    if op in _MOVES:
        first = layer.inputs[0]
        return _MOVES[op](graph, layer, known.get(first), shape)
    return _kept(graph, layer, known, shape)


def _of_product(graph: Graph, layer: Layer, known: Mapping[str, int], shape: Shape) -> int | None:
    """The axis of filters of a constant operand; of a product of activations the channels of the right one."""
    fixed = [name in graph.constants for name in layer.inputs[:2]]
    if layer.op == "Einsum":
        terms, result = einsum_terms(layer)
        named = [n for n, name in enumerate(layer.inputs) if name in graph.constants]
        own = set("".join(terms[n] for n in named)) - set("".join(t for n, t in enumerate(terms) if n not in named))
        places = [n - 1 for n, letter in enumerate(result) if letter in own]
        return places[-1] if places and "." not in result else None
    if fixed[1] or layer.op == "Gemm":
        return len(shape) - 1
    if fixed[0]:
        return len(shape) - 2
    right = layer.inputs[1]
    return len(shape) - 1 if known.get(right) == len(graph.shapes[right]) - 1 else None


def _kept(graph: Graph, layer: Layer, known: Mapping[str, int], shape: Shape) -> int | None:
    """The axis of the first operand of as many axes whose channels are as many, else of the first of as many axes."""
    if not shape:  # one number for each sample
        return None
    operands = [name for name in layer.inputs if name in known and len(graph.shapes[name]) == len(shape)]
    for name in operands:
        if graph.shapes[name][known[name]] == shape[known[name]]:
            return known[name]
    return known[operands[0]] if operands else None


def _transposed(graph: Graph, layer: Layer, axis: int | None, shape: Shape) -> int | None:
    order = layer.attributes.get("perm")
    if axis is None or order is None or order[0] != 0:
        return None
    return int(list(order).index(axis + 1)) - 1


def _reshaped(graph: Graph, layer: Layer, axis: int | None, shape: Shape) -> int | None:
    """The axis of as many elements with as many before it."""
    before = graph.shapes.get(layer.inputs[0])
    if axis is None or before is None or not before:
        return None
    for n, length in enumerate(shape):
        if (length, math.prod(shape[:n])) == (before[axis], math.prod(before[:axis])):
            return n
    last = axis == len(before) - 1  # channels cut into heads
    return len(shape) - 1 if last and len(shape) > 1 else None


def _reduced(graph: Graph, layer: Layer, axis: int | None, shape: Shape) -> int | None:
    before = graph.shapes.get(layer.inputs[0])
    if axis is None or before is None or len(shape) == len(before):
        return axis
    over = layer.attributes.get("axes")
    if over is None and len(layer.inputs) > 1 and layer.inputs[1] in graph.constants:
        over = graph.constants[layer.inputs[1]].reshape(-1).tolist()
    gone = {full_axis(int(a), len(before)) for a in over or ()}
    return None if axis in gone else axis - sum(a < axis for a in gone)


def _gathered(graph: Graph, layer: Layer, axis: int | None, shape: Shape) -> int | None:
    data, indices = layer.inputs[:2]
    if data in graph.constants:  # an embedding
        return len(shape) - 1
    before, picked = graph.shapes.get(data), graph.constants.get(indices)
    if axis is None or before is None or picked is None:
        return None
    at, more = full_axis(int(layer.attributes.get("axis", 0)), len(before)), picked.ndim - 1
    if axis == at:
        return axis if more == 0 else None
    return axis + more * (at < axis)


_MOVES: Mapping[str, Callable[[Graph, Layer, int | None, Shape], int | None]] = {
    "Transpose": _transposed,
    "Gather": _gathered,
    **dict.fromkeys(RESHAPES, _reshaped),
    **dict.fromkeys(REDUCTIONS, _reduced),
}
