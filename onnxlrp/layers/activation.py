"""Elementwise nonlinearities: what the gradient needs of each, and what a ReLU tells the trace."""

from __future__ import annotations

from collections.abc import Callable

from ..program.op import Op
from ..program.value import Value
from . import Node, layer


def _activation(node: Node, slope: Callable[[Value, Value], Value]) -> Op:
    """slope(x, y) is dy/dx; tests of sign use y where they can, so that x need not be kept."""
    x, y = node.operand(0), node.result
    return Op("activation", (x,), y, lambda r: (r * slope(x, y),), name=node.layer.label)


@layer("Relu", kind="activation")
def relu(node: Node) -> Op:
    node.trace.know_rectified(node.operand(0), node.result, exact=True)
    return _activation(node, lambda x, y: y > 0)


@layer("Clip", kind="activation")
def clip(node: Node) -> Op:
    low = float(node.array(1, -float("inf")).reshape(()))
    high = float(node.array(2, float("inf")).reshape(()))
    if low == 0 and high > 0:
        node.trace.know_rectified(node.operand(0), node.result, exact=high == float("inf"))
    return _activation(node, lambda x, y: (y > low) * (y < high) if high != float("inf") else y > low)


@layer("LeakyRelu", kind="activation")
def leaky_relu(node: Node) -> Op:
    alpha = float(node.attribute("alpha", 0.01))
    if alpha > 0:
        return _activation(node, lambda x, y: (y > 0) * (1 - alpha) + alpha)
    return _activation(node, lambda x, y: (x > 0) * (1 - alpha) + alpha)


@layer("Elu", kind="activation")
def elu(node: Node) -> Op:
    alpha = float(node.attribute("alpha", 1.0))
    # For x < 0: d/dx α(eˣ − 1) = α eˣ = y + α.
    return _activation(node, lambda x, y: (x > 0) + (1 - (x > 0)) * (y + alpha))


@layer("Sigmoid", kind="activation")
def sigmoid(node: Node) -> Op:
    return _activation(node, lambda x, y: y * (1 - y))


@layer("Tanh", kind="activation")
def tanh(node: Node) -> Op:
    return _activation(node, lambda x, y: 1 - y * y)


@layer("Softmax", kind="activation")
def softmax(node: Node) -> Op:
    x, y, trace = node.operand(0), node.result, node.trace
    axis = int(node.attribute("axis", -1)) % (len(x.shape) + 1) - 1

    def vjp(r: Value) -> tuple[Value, ...]:
        from ..program.linear import Sum

        kept = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
        return (y * (r - trace.linear(Sum(x.shape, kept, (axis,)), r * y)),)

    return Op("activation", (x,), y, vjp, name=node.layer.label)
