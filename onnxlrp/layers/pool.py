"""Average, max and p-norm pooling."""

from __future__ import annotations

import numpy as np

from ..program.affine import Affine, Diagonal, LinearStep, composed
from ..program.interpret import counts
from ..program.linear import LinearMap, Pool, Select, Window
from ..program.op import Op, linear_op
from ..program.value import Value
from . import Node, layer
from .conv import window
from .reduce import inverse_power, slope_of_norm


def _average(node: Node, linear: LinearMap) -> Op:
    x, y, trace = node.operand(0), node.result, node.trace
    trace.declare_linear(linear, x, None, None, y)
    return linear_op("avgpool", ((Affine(linear, gain=trace.constant(1.0)), x),), y, node.layer.label)


@layer("AveragePool", kind="avgpool")
def average_pool(node: Node) -> Op:
    """AveragePool: y is the mean of each window, whose elements share relevance by their values."""
    x, y = node.operand(0), node.result
    w = window(node, x.shape[1:], y.shape[1:], node.ints("kernel_shape"))
    return _average(node, Pool(x.shape, y.shape, w, bool(node.attribute("count_include_pad", 0))))


@layer("GlobalAveragePool", kind="avgpool")
def global_average_pool(node: Node) -> Op:
    """GlobalAveragePool: y is the mean of each channel, whose elements share relevance by their values."""
    x, y = node.operand(0), node.result
    return _average(node, Pool(x.shape, y.shape, _whole(x)))


def _whole(x: Value) -> Window:
    space = x.shape[1:]
    flat, none = (1,) * len(space), (0,) * len(space)
    return Window(space, flat, flat, none, none, space, flat)


def _select(node: Node, w: Window) -> Op:
    x, y, trace = node.operand(0), node.result, node.trace
    linear = Select(x.shape, y.shape, w)
    trace.declare_linear(linear, x, x, None, y)
    return Op("maxpool", (x,), y, lambda r: (trace.adjoint(linear, r, x),), name=node.layer.label)


@layer("MaxPool", kind="maxpool")
def max_pool(node: Node) -> Op:
    """MaxPool: y is the largest element of each window, the first one on ties, which receives all relevance."""
    x, y = node.operand(0), node.result
    return _select(node, window(node, x.shape[1:], y.shape[1:], node.ints("kernel_shape")))


@layer("GlobalMaxPool", kind="maxpool")
def global_max_pool(node: Node) -> Op:
    """GlobalMaxPool: y is the largest element of each channel, the first one on ties, which receives all relevance."""
    return _select(node, _whole(node.operand(0)))


@layer("LpPool", kind="avgpool")
def lp_pool(node: Node) -> Op:
    """LpPool: y is the p-norm of each window, whose elements share relevance in proportion to |x|^p."""
    x, y = node.operand(0), node.result
    return _norm(node, window(node, x.shape[1:], y.shape[1:], node.ints("kernel_shape")))


@layer("GlobalLpPool", kind="avgpool")
def global_lp_pool(node: Node) -> Op:
    """GlobalLpPool: y is the p-norm of each channel, whose elements share relevance in proportion to |x|^p."""
    return _norm(node, _whole(node.operand(0)))


def _norm(node: Node, w: Window) -> Op:
    """Return the op of y = (Σ |x|^p)^(1/p) = Σ w x, with w = dy/dx = sgn(x) |x|^(p−1) y^(1−p) taken as constant."""
    x, y, trace = node.operand(0), node.result, node.trace
    p = int(node.attribute("p", 2))
    pool = Pool(x.shape, y.shape, w, count_padding=True)
    taps = counts(pool)
    number = trace.constant(float(taps.flat[0]) if np.all(taps == taps.flat[0]) else taps)
    weight = slope_of_norm(x, p)
    linear = composed(
        LinearStep(Diagonal(x.shape, x.shape), layer_weight=True),
        LinearStep(pool),
        LinearStep(Diagonal(y.shape, y.shape), weight=inverse_power(y, p) * number),
    )
    trace.declare_linear(linear, x, weight, None, y)
    return linear_op("avgpool", ((Affine(linear, weight), x),), y, node.layer.label)
