"""Quantisation of activations: relevance passes through it, the gradient keeps its clip mask."""

from __future__ import annotations

import numpy as np

from ..graph.graph import Array
from ..program.op import Op
from ..program.value import Value
from . import Node, layer, unsupported


@layer("QuantizeLinear", kind="activation")
def quantize(node: Node) -> Op:
    """y = clip(round(x/s) + z): dy/dx is 1/s where x/s rounds into the range, 0 beyond it (straight-through estimator,
    Bengio et al. 2013)."""
    x, scale = node.operand(0), _along(node, 1, 1.0)
    low, high = _range(node)
    zero = _along(node, 2, 0)
    # Read from x: y is an integer that stands for many values, and its ends stand for the clipped ones too.
    least, most = ((end - zero + half) * scale for end, half in ((low, -0.5), (high, 0.5)))
    constant = node.trace.constant

    def gradient(r: Value) -> tuple[Value, ...]:
        inside = (x > constant(least)) * (x < constant(most))
        return (r * inside * constant(1 / scale),)

    return Op("activation", (x,), node.result, gradient, name=node.layer.label)


@layer("DequantizeLinear", kind="activation")
def dequantize(node: Node) -> Op:
    """y = (x − z)·s, so that dy/dx = s."""
    x, scale = node.operand(0), _along(node, 1, 1.0)
    return Op("activation", (x,), node.result, lambda r: (r * node.trace.constant(scale),), name=node.layer.label)


@layer("DynamicQuantizeLinear", kind="activation")
def quantize_by_sample(node: Node) -> Op:
    """y = s·round(x/s), s the range of the sample in 255 steps: nothing lies beyond the range, so that dy/dx = 1."""
    return Op("activation", (node.operand(0),), node.result, lambda r: (r,), name=node.layer.label)


def _along(node: Node, position: int, default: float) -> Array:
    """A scale or zero point, one number or one for each place of an axis, as it broadcasts over a sample."""
    values = node.array(position, default).astype(np.float64)
    shape = node.result.shape
    if values.size == 1:
        return values.reshape(())
    axis = int(node.attribute("axis", 1)) % (len(shape) + 1) - 1
    if values.ndim != 1 or node.attribute("block_size", 0) or axis < 0:
        raise unsupported(node.layer)
    return values.reshape([-1 if n == axis else 1 for n in range(len(shape))])


def _range(node: Node) -> tuple[float, float]:
    """The lowest and highest integer of the result's type."""
    dtype = node.graph.dtypes.get(node.layer.outputs[0], "")
    if dtype not in ("uint8", "int8", "uint16", "int16"):
        raise unsupported(node.layer)
    kind = np.iinfo(dtype)
    return float(kind.min), float(kind.max)
