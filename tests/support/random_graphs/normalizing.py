"""Softmax and the normalisations, as operators and written out."""

from __future__ import annotations

import math

import numpy as np

from .graph import Graph


def softmax(g: Graph) -> None:
    """Over one axis; before opset 13 over all axes from one on."""
    op = g.pick(["Softmax", "Softmax", "LogSoftmax"])
    axis = g.number(1, len(g.shape))
    if g.opset >= 13 and g.chance(0.4):
        axis -= len(g.shape) + 1
    g.op(op, g.last, axis=axis)


def softmax_written_out(g: Graph) -> None:
    x, axis = g.last, [len(g.shape)]
    if g.chance(0.6):
        top = g.put("ReduceMax", x, *g.axes_input(axis, 18), **g.axes_attribute(axis, 18), keepdims=1)
        x = g.put("Sub", x, top)
    e = g.put("Exp", x)
    g.op("Div", e, g.put("ReduceSum", e, *g.axes_input(axis, 13), **g.axes_attribute(axis, 13), keepdims=1))


def _mean(g: Graph, x: str, axes: list[int]) -> str:
    return str(g.put("ReduceMean", x, *g.axes_input(axes, 18), **g.axes_attribute(axes, 18), keepdims=1))


def layer_norm(g: Graph) -> None:
    """Over the last axis or two; as one operator since opset 17."""
    count = 2 if len(g.shape) > 1 and g.chance(0.3) else 1
    over = g.shape[-count:]
    if math.prod(over) < 3:
        return
    scale, shift = g.weight(g.rng.random(over) + 0.5), g.weight(g.rng.normal(size=over))
    if g.opset >= 17 and g.chance(0.6):
        g.op("LayerNormalization", g.last, scale, *([shift] if g.chance(0.7) else []), axis=-count, epsilon=1e-3)
        return
    x, axes = g.last, list(range(len(g.shape) + 1 - count, len(g.shape) + 1))
    centred = g.put("Sub", x, _mean(g, x, axes))
    square = g.put("Pow", centred, g.weight(2.0)) if g.chance(0.6) else g.put("Mul", centred, centred)
    deviation = g.put("Sqrt", g.put("Add", _mean(g, square, axes), g.weight(1e-3)))
    g.op("Div", centred, deviation)
    g.op("Add", g.put("Mul", g.last, scale), shift)


def rms_norm(g: Graph) -> None:
    n = g.shape[-1]
    if n < 3:
        return
    scale = g.weight(g.rng.random(n) + 0.5)
    if g.opset >= 23 and g.chance(0.6):
        g.op("RMSNormalization", g.last, scale, axis=-1, epsilon=1e-3)
        return
    x = g.last
    mean = _mean(g, g.put("Mul", x, x), [len(g.shape)])
    factor = g.put("Reciprocal", g.put("Sqrt", g.put("Add", mean, g.weight(1e-3))))
    g.op("Mul", g.put("Mul", x, factor), scale)


def instance_norm(g: Graph) -> None:
    if len(g.shape) < 2 or math.prod(g.shape[1:]) < 3:
        return
    c = g.shape[0]
    g.op("InstanceNormalization", g.last, g.random(c), g.random(c), epsilon=1e-3)


def group_norm(g: Graph) -> None:
    """As one operator since opset 18, with a scale for each channel since 21; torch writes a detour by instances."""
    if len(g.shape) < 2:
        return
    c, sides = g.shape[0], g.shape[1:]
    groups = int(g.pick([n for n in range(1, c + 1) if c % n == 0]))
    if math.prod(g.shape) // groups < 3:
        return
    if g.opset >= 18 and g.chance(0.5):
        n = c if g.opset >= 21 else groups
        g.op("GroupNormalization", g.last, g.random(n), g.random(n), num_groups=groups, epsilon=1e-3)
        return
    shape = g.shape
    g.reshape(groups, math.prod(shape) // groups)
    ones, zeros = g.weight(np.ones(groups)), g.weight(np.zeros(groups))
    g.op("InstanceNormalization", g.last, ones, zeros, epsilon=1e-3)
    g.reshape(*shape)
    each = (c, *[1] * len(sides))
    g.op("Add", g.put("Mul", g.last, g.random(*each)), g.random(*each))


def unit_length(g: Graph) -> None:
    """Divided by its length, as embeddings are."""
    axis = [len(g.shape)]
    length = g.put("ReduceL2", g.last, *g.axes_input(axis, 18), **g.axes_attribute(axis, 18), keepdims=1)
    g.op("Div", g.last, g.put("Add", length, g.weight(0.1)))


LAYERS = (softmax, softmax_written_out, layer_norm, layer_norm, rms_norm, instance_norm, group_norm, unit_length)
