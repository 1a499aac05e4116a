"""Operators whose operands broadcast, with the batch as axis 0 of stored tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Layer
from ..rewriting.builder import Builder
from .layout import FRONT, Layout, Stored, in_front, refuse


def elementwise(layout: Layout, layer: Layer) -> Stored:
    """Operators whose operands broadcast: all have the batch on one axis, counted from the last."""
    added, layer = _aligned(layout, layer)
    batch_axis, layers = _same_rank(layout, layer)
    return batch_axis, [*added, *layers]


def _aligned(layout: Layout, layer: Layer) -> tuple[list[Layer], Layer]:
    """Give operands of a lower rank the axes that they lack, where their batch then meets that of the others.

    Broadcasting aligns operands at their last axes, as [N, C] with [H, W, N, C].
    """
    rank, build, inputs = len(layout.shape(layer, layer.outputs[0])), Builder(layout.graph, layer), list(layer.inputs)
    lacking = {name: rank - len(layout.shape(layer, name)) for name in layout.activations(layer)}
    meeting = {replace(layout.batch_axes[name], axis=layout.batch_axes[name].axis + n) for name, n in lacking.items()}
    if len(meeting) != 1 or not any(lacking.values()):
        return [], layer
    batch_axis = meeting.pop()
    for position, name in enumerate(inputs):
        if lacking.get(name):
            shape, out = layout.shape(layer, name), f"{layer.outputs[0]}/operand{position}"
            layout.graph.shapes[out] = whole = (1,) * lacking[name] + shape
            inputs[position] = layout.reshape(build, name, batch_axis.stored_shape(whole), out)
            layout.batch_axes[out] = batch_axis
    return build.layers, replace(layer, inputs=tuple(inputs))


def _same_rank(layout: Layout, layer: Layer) -> Stored:
    batch_axis = layout.common(layer) if layout.activations(layer) else FRONT
    rank = len(layout.shape(layer, layer.outputs[0]))
    if any(len(layout.shape(layer, name)) != rank for name in layout.activations(layer)):
        return in_front(layout, layer)
    for position, name in enumerate(layer.inputs):
        value = layout.graph.constant(name)
        if value is None or value.ndim == 0:
            continue
        stored = batch_axis.stored_constant(value, rank, layout.graph.batch)
        if stored is None:
            raise refuse(layer, "has a constant operand that differs between samples")
        if stored.shape != value.shape:
            layer = layout.with_constant(layer, position, stored)
    return batch_axis, [layer]


def expand(layout: Layout, layer: Layer) -> Stored:
    """Expand, to a shape that leaves the batch as it is; axes may come before it, as torch's `x.expand(K, -1, -1)`."""
    source, target = layout.shape(layer, layer.inputs[0]), layout.shape(layer, layer.outputs[0])
    batch_axis, added = layout.batch_axes[layer.inputs[0]], len(target) - len(source)
    after, whole = replace(batch_axis, axis=batch_axis.axis + added), (1,) * added + source
    if whole[after.axis] != target[after.axis]:
        raise refuse(layer, "repeats the batch")
    build, (operand, *others) = Builder(layout.graph, layer), layer.inputs
    if added:
        operand = layout.reshape(build, operand, after.stored_shape(whole), f"{layer.outputs[0]}/operand")
        layout.graph.shapes[operand], layout.batch_axes[operand] = whole, after
    expanded = replace(layer, inputs=(operand, *others))
    sizes = np.array([1, *after.stored_shape(target)], np.int64)
    return after, [*build.layers, layout.with_constant(expanded, 1, sizes)]
