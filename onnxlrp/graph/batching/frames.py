"""Layers over maps where axis 0 holds several maps of each sample: frames of a video, crops, patches of a bag.

With the frames as one more spatial axis, of kernel length 1, the batch is alone on axis 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .. import operators
from ..graph import Layer
from ..rewriting.builder import Builder
from .layout import FRONT, Layout, Stored, in_front

# Global pooling as a reduction over the axes behind the channels.
REDUCTIONS = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}
# The value of each attribute for the axis of frames.
_OF_FRAMES = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0, "pads": 0}


def spatial(layout: Layout, layer: Layer) -> Stored:
    """Convolutions, pooling and BatchNormalization, over frames as over one more spatial axis."""
    batch_axis = layout.batch_axes.get(layer.inputs[0], FRONT)
    layers = None if batch_axis == FRONT else _over_frames(layout, layer)
    return in_front(layout, layer) if layers is None else (batch_axis, layers)


def global_pool(layout: Layout, layer: Layer) -> Stored:
    """GlobalAveragePool and GlobalMaxPool, of frames as a reduction."""
    batch_axis = layout.batch_axes[layer.inputs[0]]
    if batch_axis == FRONT or batch_axis.axis:
        return in_front(layout, layer)
    return batch_axis, [_pooled_whole(layout, layer)]


def _over_frames(layout: Layout, layer: Layer) -> list[Layer] | None:
    """The layers that compute the same on stored [N, T, C, H, W], through [N, C, T, H, W]; None where they do not."""
    source, rank = layer.inputs[0], len(layout.shape(layer, layer.inputs[0]))
    batch_axis = layout.batch_axes[source]
    others = [layout.graph.constant(name) for name in layer.inputs[1:] if name]
    unfit = "output_shape" in layer.attributes or len(layer.outputs) > 1
    if unfit or batch_axis.axis or len(batch_axis.factors) != 1 or rank < 3 or any(value is None for value in others):
        return None
    if layer.op in operators.CONVOLUTIONS:
        kernel = layout.graph.constants[layer.inputs[1]]
        layer = layout.with_constant(layer, 1, kernel.reshape(*kernel.shape[:2], 1, *kernel.shape[2:]))
    if layer.op != "BatchNormalization":
        layer = replace(layer, attributes={k: _with_frames(k, v) for k, v in layer.attributes.items()})
    behind, inner, out = tuple(range(3, rank + 1)), f"{layer.outputs[0]}/frames", f"{layer.outputs[0]}/of_frames"
    swap, build = (0, 2, 1, *behind), Builder(layout.graph, layer)
    build.add("Transpose", source, out=inner, name=f"{layer.name}/frames", perm=swap)
    build.keep(inputs=(inner, *layer.inputs[1:]), outputs=(out,))
    build.add("Transpose", out, name=f"{layer.name}/of_frames", perm=swap)
    return build.layers


def _with_frames(name: str, value: object) -> object:
    if name not in _OF_FRAMES or not isinstance(value, Sequence):
        return value
    own, whole = _OF_FRAMES[name], tuple(value)
    half = len(whole) // 2
    return (0, *whole[:half], 0, *whole[half:]) if name == "pads" else (own, *whole)


def _pooled_whole(layout: Layout, layer: Layer) -> Layer:
    """GlobalAveragePool and GlobalMaxPool as a reduction of the axes behind the channels."""
    rank = len(layout.shape(layer, layer.inputs[0]))
    axes = [layout.batch_axes[layer.inputs[0]].stored_axes(axis)[0] for axis in range(2, rank)]
    reduced = replace(layer, op=REDUCTIONS[layer.op], attributes={"keepdims": 1})
    return layout.with_constant(reduced, 1, np.array(axes, np.int64))
