"""Elements at computed indices: relevance and gradient follow the route that the forward pass took.

The indices themselves are no numbers to explain: they have no gradient and get no relevance.
"""

from __future__ import annotations

import math

from ..graph.graph import name_of_places
from ..program.affine import Affine, LinearStep, composed
from ..program.linear import Reshape, Slice, Take
from ..program.op import Op, linear_op
from ..program.value import Value
from . import Node, layer, unsupported


def _places(node: Node) -> Value:
    """Return the places that loading has numbered. Raises UnsupportedError where it could not."""
    name = name_of_places(node.layer.outputs[0])
    if name not in node.graph.shapes:
        raise unsupported(node.layer)
    return node.trace.activation(name, node.graph.shapes[name], nonnegative=True)


@layer("TopK", "GatherElements", "GatherND", kind="routing")
def taken(node: Node) -> Op:
    """Elements at places that the model computes: y_j = x_p(j); each receives the relevance of all its copies."""
    x, y, trace, places = node.operand(0), node.result, node.trace, _places(node)
    linear = Take(x.shape, y.shape)
    trace.declare_linear(linear, x, places, None, y)

    def vjp(r: Value) -> tuple[Value, ...]:
        return (trace.adjoint(linear, trace.broadcast_to(r, y.shape), places),)

    return Op("routing", (x,), y, vjp, name=node.layer.label)


@layer("ScatterElements", "ScatterND", kind="routing")
def scattered(node: Node) -> Op:
    """Updates at computed places: they replace, are added to, or exceed the data; each takes its own relevance."""
    reduction = str(node.attribute("reduction", "none"))
    if reduction == "add":
        return _added(node)
    if reduction in ("max", "min"):
        return _extremes(node, highest=reduction == "max")
    if reduction != "none":
        raise unsupported(node.layer)
    data, updates, y, trace, places = node.operand(0), node.operand(2), node.result, node.trace, _places(node)
    sizes = [math.prod(x.shape) for x in (data, updates)]
    both = (sum(sizes),)

    def vjp(r: Value) -> tuple[Value, ...]:
        whole = trace.adjoint(Take(both, y.shape), trace.broadcast_to(r, y.shape), places)
        shares, start = [], 0
        for x, size in zip((data, updates), sizes, strict=True):
            part = trace.linear(Slice(both, (size,), (start,), (1,)), whole)
            shares.append(trace.linear(Reshape((size,), x.shape), part))
            start += size
        return tuple(shares)

    return Op("routing", (data, updates), y, vjp, name=node.layer.label)


def _added(node: Node) -> Op:
    """Return the op of y = data + Sᵀ updates, where S reads the places that the updates are added to."""
    data, updates = node.operand(0), node.operand(2)
    spread = composed(LinearStep(Take(data.shape, updates.shape), adjoint=True, weight=_places(node)))
    parts = ((node.identity(data), data), (Affine(spread, gain=node.trace.constant(1.0)), updates))
    return linear_op("sum", parts, node.result, node.layer.label)


def _extremes(node: Node, highest: bool) -> Op:
    """Return the op of the extremes of data and updates at each place: the winners share, equal ones alike."""
    data, updates, y, trace, places = node.operand(0), node.operand(2), node.result, node.trace, _places(node)
    read = Take(data.shape, updates.shape)

    def wins(x: Value, best: Value) -> Value:
        return 1 - (best > x if highest else best < x)

    def vjp(r: Value) -> tuple[Value, ...]:
        own, others = wins(data, y), wins(updates, trace.linear(read, y, places))
        share = r / (own + trace.adjoint(read, others, places))
        return own * share, others * trace.linear(read, trace.broadcast_to(share, y.shape), places)

    return Op("maxpool", (data, updates), y, vjp, name=node.layer.label)
