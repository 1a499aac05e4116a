"""Products of matrices, with the batch as axis 0 of stored tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Layer
from ..rewriting.builder import Builder
from .layout import FRONT, Layout, Stored, in_front, refuse


def matmul(layout: Layout, layer: Layer) -> Stored:
    """MatMul: the batch is neither of the axes of the matrices, or the rows of one times a constant."""
    left, right = layer.inputs
    rank = len(layout.shape(layer, layer.outputs[0]))
    if layout.graph.constant(left) is None and layout.graph.constant(right) is None:
        batch_axis = layout.common(layer)
        if batch_axis.axis >= rank - 2:
            raise refuse(layer, "multiplies matrices across samples")
        return batch_axis, [layer]
    position = 1 if left in layout.batch_axes else 0
    batch_axis = layout.batch_axes[layer.inputs[1 - position]]
    rank = max(rank, len(layout.shape(layer, layer.inputs[1 - position])))
    value = layout.graph.constants[layer.inputs[position]]
    if value.ndim > 2:
        # The batch axes of the constant broadcast; its last two are the matrix.
        if batch_axis.axis >= rank - 2:
            raise refuse(layer, "multiplies matrices across samples")
        stored = batch_axis.stored_constant(value, rank, layout.graph.batch)
        if stored is None:
            raise refuse(layer, "has a constant operand that differs between samples")
        return batch_axis, [layer if stored.shape == value.shape else layout.with_constant(layer, position, stored)]
    if batch_axis.axis == rank - 1 or (position == 0 and batch_axis.axis == rank - 2):
        raise refuse(layer, "multiplies matrices across samples")
    return batch_axis, [layer]


def gemm(layout: Layout, layer: Layer) -> Stored:
    """Gemm: where its rows hold more than the batch, a MatMul and an Add."""
    batch_axis = layout.batch_axes.get(layer.inputs[0], FRONT)
    if batch_axis == FRONT:
        return in_front(layout, layer)
    weight = layout.graph.constant(layer.inputs[1])
    attributes = layer.attributes
    if weight is None or batch_axis.axis or attributes.get("transA", 0):
        raise refuse(layer, "multiplies matrices across samples")
    weight = np.ascontiguousarray(weight.T if attributes.get("transB", 0) else weight)
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    weight = weight if alpha == 1 else weight.astype(np.float64) * alpha
    product = layout.with_constant(replace(layer, inputs=layer.inputs[:2]), 1, weight, op="MatMul", attributes={})
    if len(layer.inputs) < 3:
        return batch_axis, [product]
    bias = layout.graph.constant(layer.inputs[2])
    if bias is None or (bias.ndim == 2 and bias.shape[0] != 1):
        raise refuse(layer, "adds a bias that differs between rows")
    middle = f"{layer.outputs[0]}/product"
    bias = bias.reshape(-1) if beta == 1 else bias.reshape(-1).astype(np.float64) * beta
    build = Builder(layout.graph, product)
    build.keep(outputs=(middle,))
    build.add("Add", middle, build.constant(bias, layer.inputs[2]), name=f"{layer.name}/bias")
    return batch_axis, build.layers
