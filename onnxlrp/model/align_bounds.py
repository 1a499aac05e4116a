"""Bounds of the input, for zBox."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import facts
from ..graph.graph import Graph


def align_bounds(graph: Graph, bound: Any) -> Any:
    """A bound of the first input, a number or an array or one number a channel, as the first layers' operand has it."""
    array, shape = np.asarray(bound, np.float64), graph.inputs[0].shape
    if array.size and np.ptp(array) == 0:
        return float(array.flat[0])
    if array.ndim == 1 and len(shape) == 3 and shape[0] == len(array) != shape[2]:
        array = array[:, None, None]
    first = facts.first_layers(graph, graph.inputs[0].name)
    operand = next((graph.shapes.get(y.inputs[0]) for y in graph.layers if y.name in first), shape)
    if len(shape) == 3 and operand == (shape[2], *shape[:2]) != shape:  # NHWC, transposed for the convolution
        return np.moveaxis(array.reshape((1,) * (3 - array.ndim) + array.shape), 2, 0)
    return np.broadcast_to(array, shape).reshape(-1) if operand == (int(np.prod(shape)),) else array
