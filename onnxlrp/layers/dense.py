"""Dense layers: Gemm and MatMul."""

from __future__ import annotations

import numpy as np

from ..program.affine import Affine
from ..program.linear import Matmul
from ..program.op import Op, linear_op
from ..program.value import Value
from . import Node, layer, unsupported
from .attention import bilinear
from .einsum import product


@layer("Gemm", kind="dense")
def gemm(node: Node) -> Op:
    """Gemm: y = α x W + β b, a dense layer: linear, so that every LRP rule applies."""
    x, y = node.operand(0), node.result
    if node.attribute("transA", 0) or node.is_constant(0):
        raise unsupported(node.layer)
    node.array(1)
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    weight = node.operand(1) if alpha == 1 else node.operand(1) * alpha
    bias = None if not node.has(2) or beta == 0 else node.operand(2) if beta == 1 else node.operand(2) * beta
    if bias is not None:
        bias = _vector(node, bias, y.shape[-1])
    return _dense(node, Matmul(x.shape, y.shape, bool(node.attribute("transB", 0))), x, weight, bias)


@layer("MatMul", kind="dense")
def matmul(node: Node) -> Op:
    """MatMul: y = x W, a dense layer with a constant W; attention's product of two activations without one.

    Where it maps the channels of a picture, place by place, it is a convolution of width 1.
    """
    if len(node.activations) == 2:
        return bilinear(node)
    own = node.activations[0]
    x, y, weight = node.operand(own), node.result, node.operand(1 - own)
    if own == 1 or len(weight.shape) != 2:
        return product(node, own)
    return _dense(node, Matmul(x.shape, y.shape), x, weight, node.operand(2) if node.has(2) else None)


def _dense(node: Node, linear: Matmul, x: Value, weight: Value, bias: Value | None) -> Op:
    node.trace.declare_linear(linear, x, weight, bias, node.result)
    kind = "dense"
    if node.layer.op == "MatMul" and len(x.shape) > 2:
        from ..graph.recognition.pointwise import is_pointwise  # what few models need

        kind = "convolution" if is_pointwise(node.graph, node.layer) else kind
    return linear_op(kind, ((Affine(linear, weight, bias), x),), node.result, node.layer.label)


def _vector(node: Node, bias: Value, width: int) -> Value:
    # Gemm's C may be [1, K], [K], [1] or a number.
    if bias.shape == (width,):
        return bias
    array = node.trace.array(bias)
    if array.size not in (1, width):  # one for each sample
        raise unsupported(node.layer)
    return node.trace.constant(np.broadcast_to(array.reshape(-1), (width,)).copy())
