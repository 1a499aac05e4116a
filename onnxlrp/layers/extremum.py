"""Elementwise maximum and minimum of several tensors."""

from __future__ import annotations

from ..program.affine import Affine, Diagonal
from ..program.op import Op
from ..program.value import Value
from . import Node, layer
from .arithmetic import per_sample


@layer("Max", "Min", kind="maxpool")
def extremum(node: Node) -> Op:
    """Max and Min: the winner takes all relevance, the first operand on ties; what constants win is dropped."""
    y, trace, live = node.result, node.trace, node.activations
    highest = node.layer.op == "Max"
    operands = [
        node.operand(i) if i in live else per_sample(node, node.operand(i)) for i in range(len(node.layer.inputs))
    ]
    if len(operands) == 2:
        trace.declare_map(node.layer.op.lower(), (operands[0], operands[1]), y)

    def loses(x: Value) -> Value:
        return y > x if highest else y < x

    if len(live) == 1 and operands[live[0]].shape == y.shape:
        return _bounded(node, operands, highest)

    def vjp(r: Value) -> tuple[Value, ...]:
        shares, rest = [], r
        for i, x in enumerate(operands):
            dropped = rest * loses(x) if i + 1 < len(operands) else trace.zeros()
            share, rest = rest - dropped, dropped
            if i in live:
                shares.append(Affine(Diagonal(x.shape, y.shape)).T(share))
            else:
                trace.record_absorbed("gate", lambda dropped=share: trace.broadcast_to(dropped, y.shape))  # type: ignore[misc]
        return tuple(shares)

    return Op("maxpool", tuple(operands[i] for i in live), y, vjp, name=node.layer.label)


def _bounded(node: Node, operands: list[Value], highest: bool) -> Op:
    """Return the op of an activation with constant bounds on one side; at the bound itself the slope is 0."""
    trace, y, own = node.trace, node.result, node.activations[0]
    x = operands[own]
    bounds = [v for i, v in enumerate(operands) if i != own]
    bound = bounds[0]
    for other in bounds[1:]:
        bound = trace.map("max" if highest else "min", bound, other)
    if highest and bound.is_zero:
        trace.declare_rectified(x, y, exact=True)
    return Op("activation", (x,), y, lambda r: (r * (y > bound if highest else y < bound),), name=node.layer.label)
