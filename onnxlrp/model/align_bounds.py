"""Bounds of the input, for zBox."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import facts
from ..graph.graph import Graph
from ..inputs import InputKind


def align_bounds(graph: Graph, kind: InputKind, bound: Any) -> Any:
    """Return a bound of the explained input in the layout of the operand of the first layers.

    Args:
        graph: The graph, the explained input first.
        kind: The kind of that input.
        bound: A number, one number for each channel, or an array that broadcasts over the input's shape.

    Returns:
        A number where all values are one, else an array.
    """
    array, shape, axis = np.asarray(bound, np.float64), kind.shape, kind.channel_axis
    if array.size and np.ptp(array) == 0:
        return float(array.flat[0])
    if axis is not None and array.shape == (kind.channels,):
        array = array.reshape([-1 if n == axis else 1 for n in range(len(shape))])
    first = facts.first_layers(graph, graph.inputs[0].name)
    operand = next((graph.shapes.get(y.inputs[0]) for y in graph.layers if y.name in first), shape)
    if axis and operand == (shape[axis], *shape[:axis], *shape[axis + 1 :]) != shape:  # transposed for the convolution
        return np.moveaxis(array.reshape((1,) * (len(shape) - array.ndim) + array.shape), axis, 0)
    return np.broadcast_to(array, shape).reshape(-1) if operand == (int(np.prod(shape)),) else array
