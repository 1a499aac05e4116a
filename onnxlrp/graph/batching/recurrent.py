"""Recurrent layers, with the batch as axis 0 of stored tensors: their `layout` 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Layer
from .batch_axis import BatchAxis
from .layout import FRONT, Layout, Stored, refuse

# The axis of the batch in each operand that has one, and in each result.
_OPERANDS = {0: BatchAxis(1), 4: FRONT, 5: BatchAxis(1), 6: BatchAxis(1)}
_RESULTS = (BatchAxis(2), BatchAxis(1), BatchAxis(1))
_WEIGHTS = (1, 2, 3, 7)


def recurrent(layout: Layout, layer: Layer) -> Stored:
    """LSTM, GRU and RNN: the steps are axis 0 of what they read, the batch axis 1; stored it is the other way round."""
    if any(_given(layer, i) and layout.graph.constant(layer.inputs[i]) is None for i in _WEIGHTS):
        raise refuse(layer, "is recurrent, and reads weights that are computed at run time")
    if layer.inputs[0] not in layout.batch_axes:
        raise refuse(layer, "is recurrent, and reads a constant")
    for position, wanted in _OPERANDS.items():
        if not _given(layer, position):
            continue
        name = layer.inputs[position]
        value = layout.graph.constant(name)
        width = layout.graph.constants[layer.inputs[2]].shape[-1]
        if position > 4 and layout.graph.shape(name)[-1:] != (width,):
            raise refuse(layer, f"has states {width} wide, and initial ones of another width (proj_size in PyTorch)")
        if value is not None:
            stored = wanted.stored_constant(value, value.ndim, layout.graph.batch)
            if stored is None:
                raise refuse(layer, f"has a constant input {position} that differs between samples")
            layer = _without(layer, position) if _means_nothing(layout, layer, position, stored) else (
                layout.with_constant(layer, position, stored))  # fmt: skip
        elif layout.batch_axes[name] != wanted:
            raise refuse(
                layer,
                "is recurrent, and its batch is not the batch of the model",
                "export the model with the batch on axis 0 of its inputs (batch_first=True in PyTorch)",
            )
    layout.batch_axes.update({name: axis for name, axis in zip(layer.outputs, _RESULTS, strict=False) if name})
    return _RESULTS[0], [replace(layer, attributes={**layer.attributes, "layout": 1})]


def _given(layer: Layer, position: int) -> bool:
    return position < len(layer.inputs) and bool(layer.inputs[position])


def _without(layer: Layer, position: int) -> Layer:
    return replace(layer, inputs=tuple("" if i == position else name for i, name in enumerate(layer.inputs)))


def _means_nothing(layout: Layout, layer: Layer, position: int, value: np.ndarray) -> bool:
    """Return whether a constant says what its absence says: an initial state of zero, lengths of all steps."""
    if position == 4:
        return bool((value == layout.shape(layer, layer.inputs[0])[0]).all())
    return not value.any()
