"""Matrix products of two activations, as in attention."""

from __future__ import annotations

from dataclasses import replace

from ..graph.recognition.attention import weights_of
from ..program.affine import Affine, LinearStep, composed
from ..program.linear import Matmul, Permute, Shape
from ..program.op import Op, linear_op
from . import Node, unsupported


def bilinear(node: Node) -> Op:
    """Return the op of y = a b, a matrix product of activations.

    As affine maps, each factor is the operand of one and the weight of the other: 2 y = (· b) a + (a ·) b.
    """
    a, b, y = node.operand(0), node.operand(1), node.result
    if len(a.shape) < 2 or len(a.shape) != len(b.shape) or a.shape[:-2] != b.shape[:-2]:
        raise unsupported(node.layer)
    left = Matmul(a.shape, y.shape)
    # a b = (bᵀ aᵀ)ᵀ
    flipped, out = swapped(b.shape), swapped(y.shape)
    right = composed(
        LinearStep(Permute(b.shape, flipped, _swap(b.shape))),
        LinearStep(Matmul(flipped, out, transposed=True), layer_weight=True),
        LinearStep(Permute(out, y.shape, _swap(y.shape))),
    )
    node.trace.declare_linear(left, a, b, None, y)
    node.trace.declare_linear(right, b, a, None, y)
    op = linear_op("bilinear", ((Affine(left, b), a), (Affine(right, a), b)), y, node.layer.label)
    return replace(op, weights=weights_of(node.graph, node.layer))


def swapped(shape: Shape) -> Shape:
    """Return the shape of the transposed matrices."""
    return (*shape[:-2], shape[-1], shape[-2])


def _swap(shape: Shape) -> Shape:
    rank = len(shape)
    return (*range(rank - 2), rank - 1, rank - 2)
