"""Products of matrices, with the batch in front of what is stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Layer
from .layout import FRONT, Layout, Stored, in_front, refuse


def matmul(layout: Layout, layer: Layer) -> Stored:
    left, right = layer.inputs
    rank = len(layout.shape(layer, layer.outputs[0]))
    if layout.draft.constant(left) is None and layout.draft.constant(right) is None:
        place = layout.common(layer)
        if place.axis >= rank - 2:
            raise refuse(layer, "multiplies matrices across samples")
        return place, [layer]
    position = 1 if left in layout.places else 0
    place = layout.places[layer.inputs[1 - position]]
    rank = max(rank, len(layout.shape(layer, layer.inputs[1 - position])))
    value = layout.draft.constants[layer.inputs[position]]
    if value.ndim > 2:
        # The batch axes of the constant broadcast; its last two are the matrix.
        if place.axis >= rank - 2:
            raise refuse(layer, "multiplies matrices across samples")
        stored = place.stored_constant(value, rank, layout.draft.batch)
        if stored is None:
            raise refuse(layer, "has a constant operand that differs between samples")
        return place, [layer if stored.shape == value.shape else layout.with_constant(layer, position, stored)]
    if place.axis == rank - 1 or (position == 0 and place.axis == rank - 2):
        raise refuse(layer, "multiplies matrices across samples")
    return place, [layer]


def gemm(layout: Layout, layer: Layer) -> Stored:
    """A Gemm whose rows hold more than the batch is a MatMul and an Add."""
    place = layout.places.get(layer.inputs[0], FRONT)
    if place == FRONT:
        return in_front(layout, layer)
    weight = layout.draft.constant(layer.inputs[1])
    attributes = layer.attributes
    if weight is None or place.axis or attributes.get("transA", 0):
        raise refuse(layer, "multiplies matrices across samples")
    weight = np.ascontiguousarray(weight.T if attributes.get("transB", 0) else weight)
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    weight = weight if alpha == 1 else weight.astype(np.float64) * alpha
    product = layout.with_constant(replace(layer, inputs=layer.inputs[:2]), 1, weight, op="MatMul", attributes={})
    if len(layer.inputs) < 3:
        return place, [product]
    bias = layout.draft.constant(layer.inputs[2])
    if bias is None or (bias.ndim == 2 and bias.shape[0] != 1):
        raise refuse(layer, "adds a bias that differs between rows")
    middle = f"{layer.outputs[0]}/product"
    bias = bias.reshape(-1) if beta == 1 else bias.reshape(-1).astype(np.float64) * beta
    operand = layout.draft.add_constant(bias, layer.inputs[2])
    total = Layer("Add", f"{layer.name}/bias", layer.path, (middle, operand), layer.outputs)
    return place, [replace(product, outputs=(middle,)), total]
