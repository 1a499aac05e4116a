"""Addition and multiplication: of activations, and of an activation with a constant."""

from __future__ import annotations

from dataclasses import replace

from ..graph import facts
from ..graph.recognition.attention import adds_positions
from ..graph.recognition.distances import adds_coefficients, is_difference
from ..graph.recognition.gates import activated
from ..graph.recognition.gates import gate as gate_of
from ..program.affine import Affine, Diagonal
from ..program.op import Op, linear_op
from ..program.value import Value, finite, total
from . import Node, layer, unsupported


@layer("Add", "Sum", kind="sum")
def add(node: Node) -> Op:
    """Add and Sum: y = Σ x: each activation receives its share of the sum, constants act as a bias."""
    return _sum(node, 1.0)


@layer("Mean", kind="sum")
def mean(node: Node) -> Op:
    """Mean: y = (Σ x) / n: each activation receives its share of the sum, constants act as a bias."""
    return _sum(node, 1.0 / len(node.layer.inputs))


def _sum(node: Node, gain: float) -> Op:
    """Return the op of gain · Σ x; constants among the terms are a bias of the first activation."""
    trace, y = node.trace, node.result
    live = node.activations
    operands = [node.operand(i) for i in live]
    constants = [per_sample(node, node.operand(i)) for i in range(len(node.layer.inputs)) if i not in live]
    shift = total(constants) if constants else None
    if shift is not None and gain != 1:
        shift = shift * gain
    if len(operands) == 1:
        return _affine(node, operands[0], trace.constant(gain), shift)
    parts = [(Affine(Diagonal(x.shape, y.shape), gain=trace.constant(gain)), x) for x in operands]
    if shift is not None:
        x = operands[0]
        parts[0] = (Affine(Diagonal(x.shape, y.shape), trace.constant(gain), shift), x)
    if len(parts) == 2 and shift is None and gain == 1:
        trace.declare_map("add", (operands[0], operands[1]), y)
        _fusable(node, *operands)
    else:
        *most, last = (layer(x) for layer, x in parts)
        trace.declare_map("add", (total(most), last), y)
    op = linear_op("sum", tuple(parts), y, node.layer.label)
    return replace(op, cancels=facts.cancels(node.graph, node.layer))


def _fusable(node: Node, a: Value, b: Value) -> None:
    """Declare the sum of a convolution, which runtimes fuse with its ReLU while no other node reads the convolution."""
    for x, other, name in ((a, b, node.layer.inputs[0]), (b, a, node.layer.inputs[1])):
        producer = node.graph.producer(name)
        if producer is not None and producer.op == "Conv" and len(node.graph.consumers(name)) == 1:
            node.trace.declare_summand(x, node.result, other)
            return


@layer("Sub", kind="sum")
def sub(node: Node) -> Op:
    """Sub: y = a − b: a sum of a and −b."""
    live, trace = node.activations, node.trace
    if len(live) == 2:
        a, b = node.operand(0), node.operand(1)
        trace.declare_map("sub", (a, b), node.result)
        minus = Affine(Diagonal(b.shape, node.result.shape), gain=trace.constant(-1.0))
        op = linear_op("sum", ((node.identity(a), a), (minus, b)), node.result, node.layer.label)
        return replace(op, cancels=facts.cancels(node.graph, node.layer))
    x = node.operand(live[0])
    if live[0] == 0:
        return _affine(node, x, trace.constant(1.0), per_sample(node, -node.operand(1)))
    return _affine(node, x, trace.constant(-1.0), per_sample(node, node.operand(0)))


@layer("Mul", kind="scale")
def mul(node: Node) -> Op:
    """Mul: y = a b: a scale where one is constant; else a signal and its gate, or a product of equals."""
    live = node.activations
    if len(live) == 2:
        a, b, y = node.operand(0), node.operand(1), node.result
        node.trace.declare_map("mul", (a, b), y)
        kind, gate = "gate", gate_of(node.graph, node.layer)
        if gate is None:
            gate = activated(node.graph, node.layer)
            kind = "product" if gate is None else "glu"
        if gate == 0:
            a, b = b, a
        p, q = finite(a), finite(b)
        narrow = [Affine(Diagonal(x.shape, y.shape)).T for x in (a, b)]
        return Op(kind, (a, b), y, lambda r: (narrow[0](r * q), narrow[1](r * p)), name=node.layer.label)
    return _scaled(node, node.operand(live[0]), node.operand(1 - live[0]))


@layer("Div", kind="scale")
def div(node: Node) -> Op:
    """Div: y = a / b: a scale where b is constant; else b is a gate of the signal a."""
    if 1 in node.activations:
        return _quotient(node)
    return _scaled(node, node.operand(0), node.trace.constant(1.0) / node.operand(1))


def _quotient(node: Node) -> Op:
    """Return the op of a quotient: the denominator is a gate of the numerator, the signal, as in a normalisation."""
    y, b = node.result, node.operand(1)
    whole = Affine(Diagonal(b.shape, y.shape)).T
    if node.is_constant(0):
        # A constant over an activation of fewer elements: each copy of 1/b returns its relevance, as a gate does.
        kind = "activation" if b.shape == y.shape else "gate"
        return Op(kind, (b,), y, lambda r: (whole(-(r * y) / b),), name=node.layer.label)
    a = node.operand(0)
    node.trace.declare_map("div", (a, b), y)
    part = Affine(Diagonal(a.shape, y.shape)).T
    return Op("gate", (a, b), y, lambda r: (part(r / b), whole(-(r * y) / b)), name=node.layer.label)


@layer("Neg", kind="scale")
def neg(node: Node) -> Op:
    """Neg: y = −x, a scale."""
    return _scaled(node, node.operand(0), node.trace.constant(-1.0))


def per_sample(node: Node, constant: Value) -> Value:
    """Return a constant without the batch axis of size 1 that some exporters write."""
    rank = len(node.result.shape)
    if len(constant.shape) <= rank:
        return constant
    if constant.shape[0] != 1 or len(constant.shape) != rank + 1:
        raise unsupported(node.layer)
    return node.trace.reshape(constant, constant.shape[1:])


def _scaled(node: Node, x: Value, factor: Value) -> Op:
    return _affine(node, x, per_sample(node, factor), None)


def _affine(node: Node, x: Value, factor: Value, shift: Value | None) -> Op:
    """Return the op of x · factor + shift; where x is broadcast to larger constants it is of kind "sum".

    What is added to distances, and what they are differences from, has a kind of its own (`recognition.distances`).
    """
    linear = Diagonal(x.shape, node.result.shape)
    node.trace.declare_linear(linear, x, factor, shift, node.result)
    kind = "scale" if x.shape == node.result.shape else "sum"
    if shift is not None and kind == "scale" and adds_positions(node.graph, node.layer):
        # Copies of x may have been made before, for each word of a codebook.
        kind = "prototype" if node.layer.op == "Sub" and is_difference(node.graph, node.layer) else "position"
    elif shift is not None and adds_coefficients(node.graph, node.layer):
        kind = "coefficient"
    elif kind == "sum" and shift is not None and is_difference(node.graph, node.layer):
        kind = "prototype"
    return linear_op(kind, ((Affine(linear, factor, shift), x),), node.result, node.layer.label)
