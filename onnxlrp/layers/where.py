"""Choices between tensors by a condition: relevance goes to the one that was taken."""

from __future__ import annotations

import numpy as np

from ..graph.graph import name_of_condition
from ..program.affine import Affine, Diagonal
from ..program.op import Op
from ..program.value import Value
from . import Node, layer, unsupported
from .arithmetic import per_sample


@layer("Where", kind="routing")
def where(node: Node) -> Op:
    """An element of either branch by a condition: relevance goes to the branch that was taken."""
    chosen = _condition(node)
    branches = [(i, chosen if i == 1 else 1 - chosen) for i in (1, 2)]
    live = [(node.operand(i), mask) for i, mask in branches if not node.is_constant(i)]
    dropped = [mask for i, mask in branches if node.is_constant(i)]
    return _masked(node, live, dropped)


def _condition(node: Node) -> Value:
    """Return 1 where the first branch is taken and 0 elsewhere."""
    if node.is_constant(0):
        return per_sample(node, node.trace.constant(node.array(0).astype(np.float64)))
    # The graph holds a computed condition as a number too (graph/canonical/where_conditions.py).
    name = name_of_condition(node.layer.inputs[0])
    return node.trace.activation(name, node.graph.shapes[name], nonnegative=True)


@layer("Trilu", kind="routing")
def trilu(node: Node) -> Op:
    """A triangle of a matrix: the elements that are kept receive their relevance, the rest is dropped."""
    x = node.operand(0)
    if len(x.shape) < 2:
        raise unsupported(node.layer)
    k, ones = int(node.array(1, 0).reshape(())), np.ones(x.shape[-2:])
    mask = node.trace.constant(np.triu(ones, k) if node.attribute("upper", 1) else np.tril(ones, k))
    return _masked(node, [(x, mask)], [1 - mask])


def _masked(node: Node, live: list[tuple[Value, Value]], dropped: list[Value]) -> Op:
    """Return the op of a result that is each operand where its mask is 1, and constant where a mask of `dropped` is."""
    y, trace = node.result, node.trace

    def share(r: Value, x: Value, mask: Value) -> Value:
        part = Affine(Diagonal(x.shape, y.shape)).T(r * mask)
        # Where y is zero and x was taken, x is zero.
        kept = y.index in r.gates and x.shape == y.shape
        return trace.with_gates(part, frozenset({x.index})) if kept else part

    def vjp(r: Value) -> tuple[Value, ...]:
        whole = trace.broadcast_to(r, y.shape)
        for mask in dropped:
            trace.record_absorbed("gate", lambda mask=mask: whole * mask)  # type: ignore[misc]
        return tuple(share(whole, x, mask) for x, mask in live)

    return Op("routing", tuple(x for x, _ in live), y, vjp, name=node.layer.label)
