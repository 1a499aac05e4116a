"""Normalisations, affine maps if the standard deviation is taken as constant (Achtibat et al. 2024, section 3.3).

Their gradient differentiates mean and deviation too.
"""

from __future__ import annotations

import math

import numpy as np

from ..program.affine import Affine, Diagonal, LinearStep, composed
from ..program.linear import Sum
from ..program.op import Op, linear_op
from ..program.value import Value, power, square, stabilize
from . import Node, layer, unsupported
from .arithmetic import per_sample
from .functions import sign


@layer("BatchNormalization", kind="batchnorm")
def batch_normalization(node: Node) -> Op:
    """BatchNormalization: y = γ (x − μ) / √(σ² + ε) + β with constant μ and σ, a scale and a shift of each channel."""
    x, y, trace = node.operand(0), node.result, node.trace
    gamma, beta, mean, variance = (node.array(i).astype(np.float64) for i in (1, 2, 3, 4))
    scale = gamma / np.sqrt(variance + float(node.attribute("epsilon", 1e-5)))
    shape = (-1, *([1] * (len(x.shape) - 1)))
    factor, shift = trace.constant(scale.reshape(shape)), trace.constant((beta - mean * scale).reshape(shape))
    linear = Diagonal(x.shape, y.shape)
    trace.declare_linear(linear, x, factor, shift, y)
    return linear_op("batchnorm", ((Affine(linear, factor, shift), x),), y, node.layer.label)


@layer("LayerNormalization", "RMSNormalization", kind="normalization")
def layer_normalization(node: Node) -> Op:
    """LayerNormalization: y = γ (x − mean) / √(variance + ε) + β over the last axes; RMSNormalization has no mean."""
    rank = len(node.result.shape)
    axis = int(node.attribute("axis", -1)) % (rank + 1) - 1
    if axis < 0:
        raise unsupported(node.layer)
    gain, bias = (_constant(node, i) for i in (1, 2))
    centred = node.layer.op == "LayerNormalization"
    return _standardized(node, tuple(range(axis, rank)), node.attribute("epsilon", 1e-5), gain, bias, centred)


@layer("InstanceNormalization", kind="normalization")
def instance_normalization(node: Node) -> Op:
    """InstanceNormalization: y = γ (x − mean) / √(variance + ε) + β over the places of each channel."""
    rank = len(node.result.shape)
    channels = (-1, *([1] * (rank - 1)))
    gain, bias = (node.trace.constant(node.array(i).reshape(channels)) for i in (1, 2))
    return _standardized(node, tuple(range(1, rank)), node.attribute("epsilon", 1e-5), gain, bias)


@layer("MeanVarianceNormalization", kind="normalization")
def mean_variance_normalization(node: Node) -> Op:
    """MeanVarianceNormalization: y = (x − mean) / √variance over given axes."""
    rank = len(node.result.shape) + 1
    axes = tuple(sorted(a % rank - 1 for a in node.ints("axes", (0, 2, 3))))
    if axes[0] < 0:
        raise unsupported(node.layer)
    return _standardized(node, axes, 1e-18)


def _constant(node: Node, i: int) -> Value | None:
    if not node.has(i):
        return None
    node.array(i)
    return per_sample(node, node.operand(i))


def _standardized(
    node: Node,
    axes: tuple[int, ...],
    epsilon: float,
    gain: Value | None = None,
    bias: Value | None = None,
    centred: bool = True,
) -> Op:
    """Return the op of y = γ (x − mean) / √(variance + ε) + β over the axes; without the mean if not `centred`."""
    x, y, trace = node.operand(0), node.result, node.trace
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    sums, diagonal = Sum(x.shape, kept, axes), Diagonal(x.shape, y.shape)
    share = 1.0 / math.prod(x.shape[i] for i in axes)

    def mean(v: Value) -> Value:
        return trace.linear(sums, v) * share

    offset = x - mean(x) if centred else x
    inverse = power(mean(square(offset)) + epsilon, -0.5)
    weight = inverse if gain is None else inverse * gain
    parts = [(Affine(diagonal, weight, bias), x)]
    if centred:
        means = composed(LinearStep(sums), LinearStep(sums, adjoint=True), LinearStep(diagonal, layer_weight=True))
        parts.append((Affine(means, weight * -share), x))
        trace.declare_map("add", (parts[0][0](x), parts[1][0](x)), y)
    else:
        trace.declare_linear(diagonal, x, weight, bias, y)

    def vjp(r: Value) -> tuple[Value, ...]:
        g = r if gain is None else r * gain
        standard = offset * inverse
        slope = g - standard * mean(trace.broadcast_to(g * standard, x.shape))
        if not centred:
            return (slope * inverse,)
        return ((slope - mean(trace.broadcast_to(g, x.shape))) * inverse, trace.zeros(x.shape))

    return Op("normalization", tuple(v for _, v in parts), y, vjp, tuple(parts), node.layer.label)


@layer("LpNormalization", kind="normalization")
def lp_normalization(node: Node) -> Op:
    """LpNormalization: y = x / ‖x‖ along an axis; for relevance ‖x‖ is a constant."""
    x, y, trace = node.operand(0), node.result, node.trace
    axis, p = int(node.attribute("axis", -1)) % (len(x.shape) + 1) - 1, int(node.attribute("p", 2))
    if axis < 0:
        raise unsupported(node.layer)
    sums = Sum(x.shape, tuple(1 if i == axis else n for i, n in enumerate(x.shape)), (axis,))
    length = trace.linear(sums, trace.map("max", x, -x)) if p == 1 else power(trace.linear(sums, square(x)), 0.5)
    inverse = 1.0 / stabilize(length, 1e-30)
    diagonal = Diagonal(x.shape, y.shape)
    trace.declare_linear(diagonal, x, inverse, None, y)

    def vjp(r: Value) -> tuple[Value, ...]:
        along = sign(x) if p == 1 else y
        return ((r - along * trace.linear(sums, trace.broadcast_to(r * y, x.shape))) * inverse,)

    return Op("normalization", (x,), y, vjp, ((Affine(diagonal, inverse), x),), node.layer.label)
