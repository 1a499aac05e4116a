"""Average and max pooling, means and sums over axes."""

from __future__ import annotations

import numpy as np

from ..program.affine import Affine
from ..program.linear import LinearMap, Pool, Select, Sum, Window
from ..program.op import Op, linear_op
from ..program.value import Value
from . import Node, layer, unsupported
from .conv import window


def _average(node: Node, linear: LinearMap) -> Op:
    x, y, trace = node.operand(0), node.result, node.trace
    trace.know(linear, x, None, None, y)
    return linear_op("avgpool", ((Affine(linear, gain=trace.constant(1.0)), x),), y, node.layer.label)


@layer("AveragePool", kind="avgpool")
def average_pool(node: Node) -> Op:
    x, y = node.operand(0), node.result
    w = window(node, x.shape[1:], y.shape[1:], node.ints("kernel_shape"))
    return _average(node, Pool(x.shape, y.shape, w, bool(node.attribute("count_include_pad", 0))))


@layer("GlobalAveragePool", kind="avgpool")
def global_average_pool(node: Node) -> Op:
    x, y = node.operand(0), node.result
    return _average(node, Pool(x.shape, y.shape, _whole(x)))


def _whole(x: Value) -> Window:
    space = x.shape[1:]
    flat, none = (1,) * len(space), (0,) * len(space)
    return Window(space, flat, flat, none, none, space, flat)


@layer("ReduceMean", "ReduceSum", kind="avgpool")
def reduce(node: Node) -> Op:
    x, y, trace = node.operand(0), node.result, node.trace
    linear = Sum(x.shape, y.shape, _axes(node, x))
    count = np.prod([x.shape[i] for i in linear.axes]) if node.layer.op == "ReduceMean" else 1
    affine = Affine(linear, gain=trace.constant(1.0 / float(count)))
    if count == 1:
        trace.know(linear, x, None, None, y)
    else:
        trace.know_map("mul", (trace.linear(linear, x), trace.constant(1.0 / float(count))), y)
    return linear_op("avgpool", ((affine, x),), y, node.layer.label)


def _axes(node: Node, x: Value) -> tuple[int, ...]:
    given = node.attribute("axes")
    axes = tuple(int(a) for a in (given if given is not None else node.array(1, []).reshape(-1)))
    rank = len(x.shape) + 1
    if not axes and node.attribute("noop_with_empty_axes", 0):
        raise unsupported(node.layer)
    found = sorted(a % rank for a in axes) if axes else range(rank)
    if 0 in found:
        raise unsupported(node.layer)
    return tuple(a - 1 for a in found)


def _select(node: Node, w: Window) -> Op:
    x, y, trace = node.operand(0), node.result, node.trace
    linear = Select(x.shape, y.shape, w)
    trace.know(linear, x, x, None, y)
    return Op("maxpool", (x,), y, lambda r: (trace.adjoint(linear, r, x),), name=node.layer.label)


@layer("MaxPool", kind="maxpool")
def max_pool(node: Node) -> Op:
    x, y = node.operand(0), node.result
    if node.attribute("storage_order", 0):
        raise unsupported(node.layer)
    return _select(node, window(node, x.shape[1:], y.shape[1:], node.ints("kernel_shape")))


@layer("GlobalMaxPool", kind="maxpool")
def global_max_pool(node: Node) -> Op:
    return _select(node, _whole(node.operand(0)))
