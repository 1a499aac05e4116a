"""Quantisation of activations: relevance passes unchanged, the gradient is that of the straight-through estimator."""

from __future__ import annotations

import numpy as np

from ..graph.graph import Array
from ..program.op import Op
from ..program.value import Value
from . import Node, layer, unsupported


@layer("QuantizeLinear", kind="activation")
def quantize(node: Node) -> Op:
    """QuantizeLinear: y = clip(round(x/s) + z), with dy/dx = 1/s where x/s rounds into the range, 0 beyond it.

    References:
        Bengio et al., Estimating or propagating gradients through stochastic neurons for conditional computation, 2013
        (straight-through estimator).
    """
    x, scale = node.operand(0), _along(node, 1, 1.0)
    low, high = _range(node)
    zero = _along(node, 2, 0)
    # From x, not from y: the lowest and highest integer stand for clipped values too.
    least, most = ((end - zero + half) * scale for end, half in ((low, -0.5), (high, 0.5)))
    constant = node.trace.constant

    def gradient(r: Value) -> tuple[Value, ...]:
        inside = (x > constant(least)) * (x < constant(most))
        return (r * inside * constant(1 / scale),)

    return Op("activation", (x,), node.result, gradient, name=node.layer.label)


@layer("DequantizeLinear", kind="activation")
def dequantize(node: Node) -> Op:
    """DequantizeLinear: y = (x − z)·s, so that dy/dx = s."""
    x, scale = node.operand(0), _along(node, 1, 1.0)
    return Op("activation", (x,), node.result, lambda r: (r * node.trace.constant(scale),), name=node.layer.label)


@layer("DynamicQuantizeLinear", kind="activation")
def quantize_by_sample(node: Node) -> Op:
    """DynamicQuantizeLinear: y = s·round(x/s), s a 255th of the sample's range; nothing is clipped: dy/dx = 1."""
    return Op("activation", (node.operand(0),), node.result, lambda r: (r,), name=node.layer.label)


def _along(node: Node, position: int, default: float) -> Array:
    """Return a scale or zero point, one number or one for each index of an axis, as it broadcasts over a sample."""
    values = node.array(position, default).astype(np.float64)
    shape = node.result.shape
    if values.size == 1:
        return values.reshape(())
    axis = int(node.attribute("axis", 1)) % (len(shape) + 1) - 1
    if values.ndim != 1 or node.attribute("block_size", 0) or axis < 0:
        raise unsupported(node.layer)
    return values.reshape([-1 if n == axis else 1 for n in range(len(shape))])


def _range(node: Node) -> tuple[float, float]:
    """Return the lowest and highest integer of the result's type."""
    dtype = node.graph.dtypes.get(node.layer.outputs[0], "")
    if dtype not in ("uint8", "int8", "uint16", "int16"):
        raise unsupported(node.layer)
    kind = np.iinfo(dtype)
    return float(kind.min), float(kind.max)
