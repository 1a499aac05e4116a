"""Convolution and its transpose."""

from __future__ import annotations

import math

from ..program.affine import Affine, LinearStep, composed
from ..program.linear import Conv, Window
from ..program.op import Op, linear_op
from . import Node, layer


def window(node: Node, source: tuple[int, ...], target: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """Return the sliding window of a convolution or pooling.

    Args:
        node: The layer, whose attributes give strides, dilations and pads.
        source: Spatial shape of the input.
        target: Spatial shape of the output.
        kernel: Taps along each spatial axis.
    """
    d = len(kernel)
    pads = node.ints("pads", (0,) * (2 * d))
    return Window(
        kernel,
        node.ints("strides", (1,) * d),
        node.ints("dilations", (1,) * d),
        pads[:d],
        pads[d:],
        source,
        target,
    )


@layer("Conv", kind="convolution")
def conv(node: Node) -> Op:
    """Conv: y = W ∗ x + b, a convolution in 1 to 3 dimensions: linear, so that every LRP rule applies.

    One that reads a whole map at one place is a dense layer, as behind a flattening, and gets the rule of one.
    """
    x, y, weight = node.operand(0), node.result, node.operand(1)
    if not node.is_constant(1):
        node.array(1)
    bias = node.operand(2) if node.has(2) else None
    linear = Conv(
        x.shape, y.shape, window(node, x.shape[1:], y.shape[1:], weight.shape[2:]), int(node.attribute("group", 1))
    )
    node.trace.declare_linear(linear, x, weight, bias, y)
    kind = "dense" if is_dense(linear) else "convolution"
    return linear_op(kind, ((Affine(linear, weight, bias), x),), y, node.layer.label)


def is_dense(linear: Conv) -> bool:
    """Return whether a convolution has one place alone, where each channel reads all values: a dense layer."""
    w = linear.window
    whole = w.kernel == w.source and not any((*w.before, *w.explicit))
    return linear.group == 1 and whole and math.prod(w.target) == 1


@layer("ConvTranspose", kind="convolution")
def conv_transpose(node: Node) -> Op:
    """ConvTranspose: y = Cᵀx + b, C the convolution from y to x: its channels are those of x, its padding crops y."""
    x, y, weight, trace = node.operand(0), node.result, node.operand(1), node.trace
    if not node.is_constant(1):
        node.array(1)
    w = window(node, y.shape[1:], x.shape[1:], weight.shape[2:])
    linear = composed(
        LinearStep(Conv(y.shape, x.shape, w, int(node.attribute("group", 1))), adjoint=True, layer_weight=True)
    )
    bias = None
    if node.has(2):
        node.array(2)
        bias = trace.reshape(node.operand(2), (y.shape[0], *([1] * (len(y.shape) - 1))))
    trace.declare_linear(linear, x, weight, bias, y)
    return linear_op("convolution", ((Affine(linear, weight, bias), x),), y, node.layer.label)
