"""Operators that rearrange elements, with the batch as axis 0 of stored tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Layer
from ..rewriting.builder import Builder
from .axes import along_axis
from .batch_axis import BatchAxis, batch_axis_after_reshape
from .layout import FRONT, Layout, Stored, refuse


def transpose(layout: Layout, layer: Layer) -> Stored:
    """Transpose: the other axes change places, and the batch stays stored as axis 0."""
    source = layer.inputs[0]
    batch_axis, rank = layout.batch_axes[source], len(layout.shape(layer, source))
    perm = layer.attributes.get("perm") or tuple(reversed(range(rank)))
    stored = (0, *(axis for a in perm for axis in batch_axis.stored_axes(a)))
    after = replace(batch_axis, axis=perm.index(batch_axis.axis))
    if stored == tuple(range(len(stored))):
        return after, [replace(layer, op="Identity", attributes={})]
    return after, [replace(layer, attributes={"perm": stored})]


def reshape(layout: Layout, layer: Layer) -> Stored:
    """Reshape, Flatten, Squeeze, Unsqueeze: the elements keep their order."""
    source, target = layout.shape(layer, layer.inputs[0]), layout.shape(layer, layer.outputs[0])
    batch_axis = layout.batch_axes[layer.inputs[0]]
    after = batch_axis if source == target else batch_axis_after_reshape(batch_axis, source, target, layout.graph.batch)
    if after is None:
        raise refuse(layer, f"gives {list(target)}: the batch is no factor of an axis")
    # Of a batch of one the axis in front may be another than before: Unsqueeze in front of it.
    kept = layer.op == "Flatten" or (layer.op != "Reshape" and layout.graph.batch > 1)
    if kept and batch_axis == after == FRONT and len(layer.inputs) == (1 if layer.op == "Flatten" else 2):
        return after, [layer]
    shape = np.array([-1, *after.stored_shape(target)], np.int64)
    return after, [layout.with_constant(layer, 1, shape, op="Reshape", attributes={})]


def gather(layout: Layout, layer: Layer) -> Stored:
    """Gather: by constant indices along the axis of the batch, each sample must pick the same of its own elements.

    Torch's as_strided writes such indices.
    """
    data, indices, batch = layer.inputs[0], layout.graph.constant(layer.inputs[1]), layout.graph.batch
    if data not in layout.batch_axes or indices is None:
        return along_axis(layout, layer)
    batch_axis, shape = layout.batch_axes[data], layout.shape(layer, data)
    axis = layer.attributes.get("axis", 0) % len(shape)
    rows = np.atleast_1d(indices) % shape[axis]
    if axis != batch_axis.axis or batch_axis.pre > 1 or len(rows) % batch:
        return along_axis(layout, layer)
    samples = np.arange(batch).reshape(-1, *[1] * rows.ndim)
    own = rows.reshape(batch, -1, *rows.shape[1:]) - batch_axis.post * samples
    if own.min() < 0 or own.max() >= batch_axis.post or (own != own[:1]).any():
        raise refuse(layer, "works along the batch axis")
    picked = (*shape[:axis], *rows.shape, *shape[axis + 1 :])
    target = layout.shape(layer, layer.outputs[0])
    after = batch_axis_after_reshape(BatchAxis(axis, 1, len(own[0])), picked, target, batch)
    if after is None:
        raise refuse(layer, "works along the batch axis")
    build, stored = Builder(layout.graph, layer), after.stored_shape(target)
    if np.array_equal(own[0].reshape(-1), np.arange(batch_axis.post)):
        build.reshape(data, (-1, *stored), build.out, declare=False)
        return after, build.layers
    unfolded, taken = f"{build.out}/unfolded", f"{build.out}/taken"
    operand = build.integers(own[0], f"{layer.name}/places")
    layout.reshape(build, data, (*shape[:axis], batch_axis.post, *shape[axis + 1 :]), unfolded)
    build.keep(inputs=(unfolded, operand), outputs=(taken,), attributes={"axis": axis + 1})
    layout.reshape(build, taken, stored, build.out)
    return after, build.layers
