"""BatchNormalization and per-channel arithmetic behind a linear layer become part of it, in float64."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .. import operators
from ..graph import Array, Layer
from ..rewriting.mutable_graph import MutableGraph
from ..writing.to_onnx import is_floating

Vector = npt.NDArray[np.float64]
# Per channel: y = scale * x + shift.
Affine = tuple[Vector, Vector]
# How often each tensor is read.
Uses = Counter[str]


def merge_affine(graph: MutableGraph) -> None:
    """Fold y = scale * f(x) + shift into a linear f, wherever nothing else reads f(x).

    So it is where f(x) is reshaped in between, if each channel of f keeps one scale and one shift.

    Folded weights are new float64 constants; a weight that another layer shares stays as it is.

    Args:
        graph: Has the shapes of all activations, and all attributes spelled out.
    """
    uses = graph.uses()
    merged: list[Layer] = []
    position: dict[str, int] = {}
    reshaped: dict[str, int] = {}  # of results of what stands at a position
    channels_last: set[str] = set()
    for layer in graph.layers:
        source, affine = _affine(graph, layer, channels_last)
        at = position.get(source)
        if affine is not None and uses[source] == 1 and (reshape := reshaped.get(source)) is not None:
            before = merged[reshape].inputs[0]
            own = _before_reshape(graph, affine, before, source, before in channels_last)
            if own is not None:
                place = position[before]
                merged[place] = _APPLY[merged[place].op](graph, merged[place], own, uses)
                merged[reshape] = replace(merged[reshape], outputs=layer.outputs[:1])
                reshaped[layer.outputs[0]] = reshape
                continue
        if affine is not None and at is not None and uses[source] == 1:
            fused = _APPLY[merged[at].op](graph, merged[at], affine, uses)
            merged[at] = replace(fused, outputs=layer.outputs[:1])
        else:
            at = len(merged)
            merged.append(layer)
        if _is_affine(graph, merged[at]):
            position[merged[at].outputs[0]] = at
            if merged[at].op == "MatMul":
                channels_last.add(merged[at].outputs[0])
        elif layer.op in operators.RESHAPES and layer.inputs[0] in position and uses[layer.inputs[0]] == 1:
            reshaped[layer.outputs[0]] = at
    graph.layers = merged


def _before_reshape(graph: MutableGraph, affine: Affine, before: str, behind: str, last: bool) -> Affine | None:
    """Scale and shift of a reshaped activation as those of the channels before; None where a channel has several.

    Args:
        graph: Has the shapes of both.
        affine: Scale and shift per channel (axis 1) of the reshaped activation.
        before: The activation.
        behind: The reshaped one.
        last: The channels of the activation are on its last axis, not on axis 1.
    """
    old, new = graph.shapes.get(before, ()), graph.shapes.get(behind, ())
    if len(old) < 2 or len(new) < 2 or new[1] != len(affine[0]):
        return None
    if old[0] == new[0]:  # the batch stays where it is
        old, new = (1, *old[1:]), (1, *new[1:])
    channels = len(old) - 1 if last else 1
    found = []
    for vector in affine:
        full = np.broadcast_to(vector.reshape(1, -1, *[1] * (len(new) - 2)), new).reshape(old)
        rows = np.moveaxis(full, channels, 0).reshape(old[channels], -1)
        if (rows != rows[:, :1]).any():
            return None
        found.append(np.array(rows[:, 0]))
    return found[0], found[1]


def _affine(graph: MutableGraph, layer: Layer, channels_last: Container[str]) -> tuple[str, Affine | None]:
    """(the activation, scale and shift) of a layer that is affine per channel.

    Channels are on axis 1, and on the last one where a MatMul of more than two axes (tokens) gives the activation.
    """
    if layer.op == "BatchNormalization":
        parameters = None if layer.inputs[0] in channels_last else _batch_norm(graph, layer)
        return layer.inputs[0], parameters
    if layer.op not in operators.ARITHMETIC or len(layer.inputs) != 2:
        return "", None
    left, right = layer.inputs
    constant_left = left in graph.constants
    source, operand = (right, left) if constant_left else (left, right)
    shape = graph.shapes.get(source, ())
    vector = _per_channel(graph, operand, shape, len(shape) - 1 if source in channels_last else 1)
    if vector is None or graph.shapes.get(source) != graph.shapes.get(layer.outputs[0]):
        return source, None
    one, zero = np.ones_like(vector), np.zeros_like(vector)
    if layer.op == "Mul":
        return source, (vector, zero)
    if layer.op == "Add":
        return source, (one, vector)
    if layer.op == "Sub":
        return source, ((-one, vector) if constant_left else (one, -vector))
    return source, (None if constant_left or not vector.all() else (1 / vector, zero))


def _per_channel(graph: MutableGraph, name: str, shape: tuple[int, ...], channels: int) -> Vector | None:
    """A constant that has one number per channel (axis `channels`), or one in all."""
    value = graph.constant(name)
    if value is None or len(shape) < 2 or value.ndim > len(shape) or not is_floating(value):
        return None
    full = (1,) * (len(shape) - value.ndim) + value.shape
    width = shape[channels]
    if full[channels] not in (1, width) or any(length != 1 for axis, length in enumerate(full) if axis != channels):
        return None
    return np.array(np.broadcast_to(value.astype(np.float64).reshape(-1), (width,)))


def _batch_norm(graph: MutableGraph, layer: Layer) -> Affine | None:
    values = [graph.constant(name) for name in layer.inputs[1:]]
    if layer.attributes["training_mode"] or len(values) != 4:
        return None
    scale, shift, mean, variance = (None if v is None else v.astype(np.float64) for v in values)
    if scale is None or shift is None or mean is None or variance is None:
        return None
    factor = scale / np.sqrt(variance + layer.attributes["epsilon"])
    return factor, shift - mean * factor


def _is_affine(graph: MutableGraph, layer: Layer) -> bool:
    """Return whether a scale and a shift can be folded into a layer."""
    if layer.op == "BatchNormalization":
        return _batch_norm(graph, layer) is not None
    if layer.op not in _APPLY:
        return False
    if layer.op == "Gemm" and (layer.attributes["alpha"] != 1 or layer.attributes["beta"] != 1):
        return False
    constants = [graph.constant(name) for name in layer.inputs[1:] if name]
    if layer.op == "MatMul" and (constants[0] is None or constants[0].ndim != 2):
        return False
    return all(c is not None and is_floating(c) for c in constants) and all(
        c is not None and c.ndim == 1 for c in constants[1:]
    )


def _conv(graph: MutableGraph, layer: Layer, affine: Affine, uses: Uses) -> Layer:
    return _linear(graph, layer, affine, uses, lambda w, scale: w * scale.reshape(-1, *[1] * (w.ndim - 1)))


def _conv_transpose(graph: MutableGraph, layer: Layer, affine: Affine, uses: Uses) -> Layer:
    group = layer.attributes["group"]

    def scaled(w: Array, scale: Vector) -> Array:
        blocks = w.reshape(group, w.shape[0] // group, *w.shape[1:])
        return (blocks * scale.reshape(group, 1, -1, *[1] * (w.ndim - 2))).reshape(w.shape)

    return _linear(graph, layer, affine, uses, scaled)


def _gemm(graph: MutableGraph, layer: Layer, affine: Affine, uses: Uses) -> Layer:
    transposed = layer.attributes["transB"]
    return _linear(graph, layer, affine, uses, lambda w, scale: w * (scale[:, None] if transposed else scale))


def _matmul(graph: MutableGraph, layer: Layer, affine: Affine, uses: Uses) -> Layer:
    # A bias as third input, as a Gemm has it: ONNX has no such MatMul, and `emit` writes an Add behind it.
    return _linear(graph, layer, affine, uses, lambda w, scale: w * scale)


def _linear(
    graph: MutableGraph, layer: Layer, affine: Affine, uses: Uses, scaled: Callable[[Array, Vector], Array]
) -> Layer:
    scale, shift = affine
    source, weight, bias = (*layer.inputs, "")[:3]
    old = graph.constants[bias].astype(np.float64) if bias else np.zeros_like(shift)
    if (scale != 1).any():
        weight = _store(graph, scaled(graph.constants[weight].astype(np.float64), scale), weight, uses)
    bias = _store(graph, old * scale + shift, bias or f"{layer.name}/bias", uses)
    return replace(layer, inputs=(source, weight, bias))


def _batch_norm_again(graph: MutableGraph, layer: Layer, affine: Affine, uses: Uses) -> Layer:
    scale, shift = affine
    source, old_scale, old_shift, *statistics = layer.inputs
    new_scale = _store(graph, graph.constants[old_scale].astype(np.float64) * scale, old_scale, uses)
    new_shift = _store(graph, graph.constants[old_shift].astype(np.float64) * scale + shift, old_shift, uses)
    return replace(layer, inputs=(source, new_scale, new_shift, *statistics))


def _store(graph: MutableGraph, value: Array, name: str, uses: Uses) -> str:
    """Under its own name where this layer alone reads it, else under a new one."""
    if name not in graph.constants or uses[name] == 1:
        graph.constants[name] = value
        return name
    return graph.add_constant(value, name)


_APPLY: dict[str, Callable[[MutableGraph, Layer, Affine, Uses], Layer]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm_again,
}
