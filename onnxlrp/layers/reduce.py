"""Reductions over axes: means and sums, extrema, norms, products, the logarithm of a sum."""

from __future__ import annotations

import math

import numpy as np

from ..graph.recognition.distances import is_mixture
from ..program.affine import Affine, Diagonal, LinearStep, composed
from ..program.linear import LinearMap, Permute, Reshape, Select, Shape, Slice, Sum, Window
from ..program.op import Op, linear_op
from ..program.value import Value, power, stabilize, total
from . import Node, layer, unsupported
from .functions import sign

_FACTORS = 64  # of one product


@layer("ReduceMean", "ReduceSum", kind="avgpool")
def reduce(node: Node) -> Op:
    """ReduceMean and ReduceSum: y is the mean or sum over axes, whose terms share relevance by their values."""
    x, y, trace = node.operand(0), node.result, node.trace
    linear = Sum(x.shape, y.shape, _axes(node, x))
    count = np.prod([x.shape[i] for i in linear.axes]) if node.layer.op == "ReduceMean" else 1
    affine = Affine(linear, gain=trace.constant(1.0 / float(count)))
    if count == 1:
        trace.declare_linear(linear, x, None, None, y)
    else:
        trace.declare_map("mul", (trace.linear(linear, x), trace.constant(1.0 / float(count))), y)
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


# -- extrema


@layer("ReduceMax", "ReduceMin", kind="maxpool")
def extreme(node: Node) -> Op:
    """ReduceMax and ReduceMin: the winner takes all relevance, the first element on ties."""
    x, y, trace = node.operand(0), node.result, node.trace
    moves = [LinearStep(move) for move in _as_rows(x.shape, _axes(node, x))]
    rows = Affine(composed(*moves))(x) if moves else x
    count, width = rows.shape
    select = Select((count, width), (count, 1), Window((width,), (1,), (1,), (0,), (0,), (width,), (1,)))
    selector = rows if node.layer.op == "ReduceMax" else -rows
    linear = composed(*moves, LinearStep(select, weight=selector), LinearStep(Reshape((count, 1), y.shape)))
    trace.declare_linear(linear, x, None, None, y)
    return Op("maxpool", (x,), y, lambda r: (Affine(linear).T(trace.broadcast_to(r, y.shape)),), name=node.layer.label)


def _as_rows(shape: Shape, axes: tuple[int, ...]) -> tuple[LinearMap, ...]:
    """Return the maps that turn an array into a matrix whose rows are the given axes."""
    order = (*(i for i in range(len(shape)) if i not in axes), *axes)
    turned = tuple(shape[i] for i in order)
    width = math.prod(shape[i] for i in axes)
    flat = (math.prod(shape) // width, width)
    moves: tuple[LinearMap, ...] = () if order == tuple(range(len(shape))) else (Permute(shape, turned, order),)
    return (*moves, Reshape(turned, flat)) if turned != flat else moves


# -- norms: sums with detached weights, whose terms share relevance as those of any sum


def slope_of_norm(x: Value, p: int) -> Value:
    """Return sgn(x) |x|^(p−1), of which the weights of a p-norm are a multiple."""
    if p == 1:
        return sign(x)
    return x if p == 2 else x * power(x.trace.map("max", x, -x), p - 2)


def inverse_power(norm: Value, p: int) -> Value:
    """Return norm^(1−p), finite where the norm is 0."""
    if p == 1:
        return norm.trace.constant(1.0)
    above = stabilize(norm, 1e-30 ** (1 / (p - 1)))
    return 1.0 / above if p == 2 else power(above, 1 - p)


@layer("ReduceL1", "ReduceL2", "ReduceSumSquare", kind="avgpool")
def norm(node: Node) -> Op:
    """ReduceL1, ReduceL2 and ReduceSumSquare: y = Σ w x, with w = sgn(x), x/y or x taken as constant."""
    x, y, trace = node.operand(0), node.result, node.trace
    linear = Sum(x.shape, y.shape, _axes(node, x))
    p = 1 if node.layer.op == "ReduceL1" else 2
    weight = slope_of_norm(x, p)
    if node.layer.op == "ReduceL2":
        weight = weight * trace.adjoint(linear, inverse_power(y, p))
    affine = Affine(composed(LinearStep(Diagonal(x.shape, x.shape), layer_weight=True), LinearStep(linear)), weight)
    trace.declare_linear(affine.linear, x, weight, None, y)
    if node.layer.op != "ReduceSumSquare":
        return linear_op("avgpool", ((affine, x),), y, node.layer.label)
    return Op("avgpool", (x,), y, lambda r: (affine.T(r * 2.0),), ((affine, x),), node.layer.label)


# -- products


@layer("ReduceProd", kind="avgpool")
def product(node: Node) -> Op:
    """ReduceProd: y = Σ w x of n factors, with w = Π x / n over the others taken as constant: equal shares."""
    x, y, trace = node.operand(0), node.result, node.trace
    axes = _axes(node, x)
    moves = [LinearStep(move) for move in _as_rows(x.shape, axes)]
    rows = Affine(composed(*moves))(x) if moves else x
    count, width = rows.shape
    if width > _FACTORS:
        raise unsupported(node.layer)
    cuts = [Slice(rows.shape, (count, 1), (0, n), (1, 1)) for n in range(width)]
    others = _products_of_others([trace.linear(cut, rows) for cut in cuts])
    weight = total(trace.adjoint(cut, w) for cut, w in zip(cuts, others, strict=True)) * (1.0 / width)
    for move in reversed(moves):
        weight = Affine(composed(move)).T(weight)
    linear = Sum(x.shape, y.shape, axes)
    affine = Affine(composed(LinearStep(Diagonal(x.shape, x.shape), layer_weight=True), LinearStep(linear)), weight)
    trace.declare_linear(affine.linear, x, weight, None, y)
    return Op("avgpool", (x,), y, lambda r: (affine.T(r * float(width)),), ((affine, x),), node.layer.label)


def _products_of_others(factors: list[Value]) -> list[Value]:
    """Return for each factor the product of all others, without a division: one of them may be 0."""
    one = factors[0].trace.constant(np.ones(factors[0].shape))
    before, behind = [one], [one]
    for n in range(1, len(factors)):
        before.append(before[-1] * factors[n - 1])
        behind.append(behind[-1] * factors[-n])
    return [a * b for a, b in zip(before, reversed(behind), strict=True)]


# -- logarithms


@layer("ReduceLogSumExp", kind="maxpool")
def log_sum_exp(node: Node) -> Op:
    """ReduceLogSumExp: y = ln Σ eˣ, a soft maximum; each element takes the share p = e^(x − y).

    Over distances it is a mixture, of which rules see Σ p x, with p taken as constant: y but for the entropy of p.
    """
    x, y, trace = node.operand(0), node.result, node.trace
    linear = Sum(x.shape, y.shape, _axes(node, x))
    share = trace.map("exp", x - trace.adjoint(linear, y))
    weighted = composed(LinearStep(Diagonal(x.shape, x.shape), layer_weight=True), LinearStep(linear))

    def vjp(r: Value) -> tuple[Value, ...]:
        return (share * trace.adjoint(linear, r),)

    if not is_mixture(node.graph, node.layer):
        return Op("maxpool", (x,), y, vjp, name=node.layer.label)
    return Op("mixture", (x,), y, vjp, ((Affine(weighted, share), x),), node.layer.label)


@layer("ReduceLogSum", kind="avgpool")
def log_sum(node: Node) -> Op:
    """ReduceLogSum: y = w Σ x, with w = y/Σx taken as constant."""
    x, y, trace = node.operand(0), node.result, node.trace
    linear = Sum(x.shape, y.shape, _axes(node, x))
    inverse = trace.map("exp", -y)
    weight = y * inverse
    affine = Affine(composed(LinearStep(linear), LinearStep(Diagonal(y.shape, y.shape), layer_weight=True)), weight)
    trace.declare_linear(affine.linear, x, weight, None, y)
    return Op("avgpool", (x,), y, lambda r: (trace.adjoint(linear, r * inverse),), ((affine, x),), node.layer.label)
