"""Operators that name the axes that they work along, with the batch as axis 0 of stored tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import operators
from ..graph import Layer
from ..rewriting.builder import Builder
from .batch_axis import BatchAxis
from .layout import FRONT, Layout, Stored, in_front, refuse


def along_axis(layout: Layout, layer: Layer) -> Stored:
    """Operators with an `axis`: it is renumbered, and may be removed; it may not be that of the batch."""
    if layer.inputs[0] not in layout.batch_axes:
        return in_front(layout, layer)
    batch_axis, rank = layout.common(layer), len(layout.shape(layer, layer.inputs[0]))
    axis = layer.attributes.get("axis", operators.DEFAULT_AXIS[layer.op]) % rank
    if batch_axis == FRONT and (axis or layout.graph.batch > 1):
        return batch_axis, [layer]
    stored = layout.along(batch_axis, axis)
    if stored is None:
        raise refuse(layer, "works along the batch axis")
    lost = rank - len(layout.shape(layer, layer.outputs[0]))
    if lost and axis == batch_axis.axis:
        raise refuse(layer, "works along the batch axis")
    after = replace(batch_axis, axis=batch_axis.axis - (lost if axis < batch_axis.axis else 0))
    return after, [replace(layer, attributes={**layer.attributes, "axis": stored})]


def normalization(layout: Layout, layer: Layer) -> Stored:
    """LayerNormalization and RMSNormalization: along the last axes, which their scale and bias have alone."""
    data, *operands = layer.inputs
    if data not in layout.batch_axes or any(name in layout.batch_axes for name in operands):
        return in_front(layout, layer)
    batch_axis, rank = layout.batch_axes[data], len(layout.shape(layer, data))
    axis = layer.attributes.get("axis", -1) % rank
    if axis <= batch_axis.axis:
        raise refuse(layer, "works along the batch axis")
    for position, name in enumerate(operands, 1):
        value = layout.graph.constant(name)
        if value is not None and value.ndim > rank - axis:
            # Broadcast to the whole operand (rms_norm of torch without a weight).
            rows = value.reshape(-1, *value.shape[value.ndim - (rank - axis) :])
            if rows.strides[0] and (rows != rows[:1]).any():
                raise refuse(layer, "has a constant operand that differs between samples or places")
            layer = layout.with_constant(layer, position, np.ascontiguousarray(rows[0]))
    return batch_axis, [replace(layer, attributes={**layer.attributes, "axis": axis - rank})]


def along_axes(layout: Layout, layer: Layer) -> Stored:
    """Slice and the reductions: their axes are a constant operand."""
    batch_axis = layout.batch_axes[layer.inputs[0]]
    if batch_axis == FRONT and layout.graph.batch > 1:
        return in_front(layout, layer)
    position = 3 if layer.op == "Slice" else 1
    rank = len(layout.shape(layer, layer.inputs[0]))
    operand = layer.inputs[position] if len(layer.inputs) > position else ""
    axes = layout.graph.constant(operand)
    kept = layer.op == "Slice" or layer.attributes.get("keepdims", 1)
    true = [] if axes is None else [a % rank for a in axes.tolist()]
    along = [layout.along(batch_axis, a) for a in true]
    if axes is None or None in along or (batch_axis.axis in true and layer.op != "Slice"):
        raise refuse(layer, "works along the batch axis")
    stored = np.array(along, np.int64)
    after = batch_axis if kept else replace(batch_axis, axis=batch_axis.axis - sum(a < batch_axis.axis for a in true))
    return after, [layout.with_constant(layer, position, stored)]


def along_constant_axis(layout: Layout, layer: Layer) -> Stored:
    """CumSum: its axis is a constant operand."""
    batch_axis = layout.batch_axes[layer.inputs[0]]
    axis = layout.graph.constant(layer.inputs[1])
    rank = len(layout.shape(layer, layer.inputs[0]))
    if axis is None or int(axis.reshape(())) % rank == batch_axis.axis:
        raise refuse(layer, "works along the batch axis")
    (stored,) = batch_axis.stored_axes(int(axis.reshape(())) % rank)
    return batch_axis, [layout.with_constant(layer, 1, np.array(stored, np.int64))]


def for_each_axis(layout: Layout, layer: Layer) -> Stored:
    """Pad and Tile: an amount for each axis, none for the batch."""
    batch_axis, rank = layout.batch_axes[layer.inputs[0]], len(layout.shape(layer, layer.inputs[0]))
    amounts = layout.graph.constant(layer.inputs[1])
    axes = layout.graph.constant(layer.inputs[3]) if len(layer.inputs) > 3 else np.arange(rank)
    if amounts is None or axes is None:
        raise refuse(layer, "repeats or pads by amounts that are computed at run time")
    nothing, ends = (1, 1) if layer.op == "Tile" else (0, 2)
    full = np.full((ends, rank), nothing)
    full[:, axes % rank] = amounts.reshape(ends, -1)
    if (full[:, batch_axis.axis] != nothing).any():
        raise refuse(layer, "repeats or pads the batch")
    stored = np.full((ends, rank + len(batch_axis.factors)), nothing)
    for axis in set(range(rank)) - {batch_axis.axis}:
        stored[:, batch_axis.stored_axes(axis)[0]] = full[:, axis]
    layer = replace(layer, inputs=tuple(layer.inputs[:3]))
    return batch_axis, [layout.with_constant(layer, 1, stored.reshape(-1).astype(np.int64))]


def triangle(layout: Layout, layer: Layer) -> Stored:
    """Trilu: on the last two axes, of which the batch may be none."""
    batch_axis, rank = layout.batch_axes[layer.inputs[0]], len(layout.shape(layer, layer.inputs[0]))
    if batch_axis.axis >= rank - 2:
        raise refuse(layer, "works along the batch axis")
    return batch_axis, [layer]


def concat(layout: Layout, layer: Layer) -> Stored:
    """Concat: a constant among the operands, such as a class token, is expanded over the batch."""
    batch_axis, layers = along_axis(layout, layer) if not _constants(layout, layer) else (layout.common(layer), [layer])
    if not _constants(layout, layer):
        return batch_axis, layers
    rank = len(layout.shape(layer, layer.outputs[0]))
    axis = layer.attributes["axis"] % rank
    if axis == batch_axis.axis:
        raise refuse(layer, "works along the batch axis")
    build = Builder(layout.graph, layer)
    inputs = constants_for_all(layout, build, batch_axis, rank)
    build.keep(inputs=inputs, attributes={**layer.attributes, "axis": batch_axis.stored_axes(axis)[0]})
    return batch_axis, build.layers


def constants_for_all(layout: Layout, build: Builder, batch_axis: BatchAxis, rank: int) -> tuple[str, ...]:
    """Append an Expand over the batch of each constant operand of a layer, and return its operands.

    Raises:
        UnsupportedError: A constant differs between samples.
    """
    layer = build.layer
    inputs = list(layer.inputs)
    for position, name in enumerate(inputs):
        value = layout.graph.constant(name)
        if value is None:
            continue
        sample = batch_axis.stored_constant(value, rank, layout.graph.batch)
        if sample is None:
            raise refuse(layer, "has a constant operand that differs between samples")
        out = f"{layer.outputs[0]}/operand{position}"
        operands = (build.constant(sample, name), build.integers([-1, *sample.shape[1:]], f"{out}/shape"))
        inputs[position] = build.add("Expand", *operands, out=out, name=out)
    return tuple(inputs)


def _constants(layout: Layout, layer: Layer) -> bool:
    return any(layout.graph.constant(name) is not None for name in layer.inputs)


def resize(layout: Layout, layer: Layer) -> Stored:
    """Resize: `sizes`, `scales` and `roi` without the batch; whole lengths as sizes, which runtimes read alike."""
    source, target = layout.shape(layer, layer.inputs[0]), layout.shape(layer, layer.outputs[0])
    attributes, rank = dict(layer.attributes), len(source)
    roi, scales, sizes = (None if len(layer.inputs) <= i else layout.graph.constant(layer.inputs[i]) for i in (1, 2, 3))
    if source[0] != target[0] or (roi is scales is sizes is None):
        raise refuse(layer, "resizes the batch, or by sizes that are computed at run time")
    axes = [a % rank for a in attributes.get("axes", range(rank))]
    kept = [i for i, a in enumerate(axes) if a]
    stretched = attributes.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    if len(kept) < len(axes) and not stretched:
        raise refuse(layer, "keeps an aspect ratio over the batch")
    crops = attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if roi is not None and roi.size and crops:
        layer = layout.with_constant(layer, 1, roi.reshape(2, -1)[:, kept].reshape(-1))
    elif len(layer.inputs) > 1 and layer.inputs[1]:
        layer = replace(layer, inputs=(layer.inputs[0], "", *layer.inputs[2:]))
    chosen = tuple(axes[i] for i in kept)
    attributes["axes"] = chosen
    if scales is not None and scales.size:
        whole = all(abs(float(scales[i]) * source[axes[i]] - target[axes[i]]) < 1e-4 for i in kept)
        if not whole or crops:
            return in_front(layout, layout.with_constant(layer, 2, scales[kept], attributes=attributes))
        layer = replace(layer, inputs=layer.inputs[:2])
        sizes, kept = np.array([target[a] for a in chosen], np.int64), list(range(len(chosen)))
    assert sizes is not None
    layer = replace(layer, inputs=(*layer.inputs, "", "")[:4])
    return in_front(layout, layout.with_constant(layer, 3, sizes[kept], attributes=attributes))
