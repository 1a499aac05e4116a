"""Layers that a recurrent one is unfolded into (`graph.recurrent`), each over all steps [steps, width]."""

from __future__ import annotations

import numpy as np

from ..graph.operators import GATED, JOINT, PREVIOUS, STEPS
from ..program.affine import Affine, Diagonal
from ..program.linear import Matmul, Slice
from ..program.op import Op, linear_op
from ..program.value import Value
from . import Node, layer


@layer(JOINT, kind="dense")
def joint(node: Node) -> Op:
    """Sum of products y = Σ W_k x_k + b as one dense layer: one denominator, of which every operand has its share."""
    *pairs, last = range(len(node.layer.inputs))
    bias = node.operand(last) if node.layer.inputs[last] else None
    parts: list[tuple[Affine, Value]] = []
    for i in pairs[::2]:
        affine = _product(node, i)
        parts.append((affine if parts or bias is None else Affine(affine.linear, affine.weight, bias), node.operand(i)))
    _declare(node, parts)
    return linear_op("dense", tuple(parts), node.result, node.layer.label)


def _product(node: Node, i: int) -> Affine:
    """Return W x for the operand x at input i, with the matrix, the factors or nothing at the input behind it."""
    x, y = node.operand(i), node.result
    if not node.layer.inputs[i + 1]:
        return Affine(Diagonal(x.shape, y.shape), node.trace.constant(np.ones(y.shape[-1])))
    weight = node.operand(i + 1)
    return Affine(Matmul(x.shape, y.shape) if len(weight.shape) == 2 else Diagonal(x.shape, y.shape), weight)


def _declare(node: Node, parts: list[tuple[Affine, Value]]) -> None:
    """Declare that the forward pass has the sum of all parts; what is recorded of each alone is never run."""
    trace, y = node.trace, node.result
    affine, x = parts[0]
    if len(parts) == 1:
        trace.declare_linear(affine.linear, x, affine.weight, affine.bias, y)
        return
    so_far = affine(x)
    for affine, x in parts[1:-1]:
        so_far = so_far + affine(x)
    affine, x = parts[-1]
    trace.declare_map("add", (so_far, affine(x)), y)


@layer(GATED, kind="gate")
def gated(node: Node) -> Op:
    """Gate: y = a b, a the gate of the signal b."""
    gate, signal, y = node.operand(0), node.operand(1), node.result
    node.trace.declare_map("mul", (signal, gate), y)
    return Op("gate", (signal, gate), y, lambda r: (r * gate, r * signal), name=node.layer.label)


@layer(STEPS, kind="routing")
def steps(node: Node) -> Op:
    """Values of some steps: y = m x, m one at some steps and zero at others; or their sum."""
    x, mask = node.operand(0), node.operand(1)

    def back(r: Value) -> tuple[Value]:
        kept = r * mask
        if not node.attribute("sum", 0):
            node.trace.record_absorbed("gate", lambda: r - kept)
        return (kept,)

    return Op("routing", (x,), node.result, back, name=node.layer.label)


@layer(PREVIOUS, kind="routing")
def previous(node: Node) -> Op:
    """State one step earlier, of the first step the initial one; the compiler carries its relevance to that step."""
    x = node.operand(0)
    length, width = x.shape
    shifted = (1, 0) if node.attribute("reverse", 0) else (0, 0)
    rest = Slice(x.shape, (length - 1, width), shifted, (1, 1))
    first = Slice(x.shape, (1, width), (length - 1 if node.attribute("reverse", 0) else 0, 0), (1, 1))
    later = Slice(x.shape, (length - 1, width), (1 - shifted[0], 0), (1, 1))

    def back(r: Value) -> tuple[Value, ...]:
        own = node.trace.adjoint(rest, node.trace.linear(later, r)) if length > 1 else node.trace.zeros(x.shape)
        return (own, node.trace.linear(first, r))[: len(operands)]

    operands = (x, *([node.operand(1)] if 1 in node.activations else []))
    return Op("routing", operands, node.result, back, name=node.layer.label)
