"""Piecewise activation functions, sigmoids and softmax: their slopes, and the facts that a ReLU declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..graph.recognition.distances import is_assignment
from ..program.linear import Sum
from ..program.op import Op
from ..program.value import Value, negative, positive
from . import Node, layer, unsupported
from .arithmetic import per_sample


def activation(node: Node, slope: Callable[[Value, Value], Value | float]) -> Op:
    """Return the op of an elementwise function of the first input.

    Args:
        node: The layer.
        slope: (x, y) → dy/dx, written with y where possible, so that the engine need not provide x.
    """
    x, y = node.operand(0), node.result
    return Op("activation", (x,), y, lambda r: (r * slope(x, y),), name=node.layer.label)


@layer("Relu", kind="activation")
def relu(node: Node) -> Op:
    """Relu: y = max(x, 0): rules of activations apply (pass, gradient, guided, deconvnet, redirect)."""
    node.trace.declare_rectified(node.operand(0), node.result, exact=True)
    return replace(activation(node, lambda x, y: y > 0), limits=(0.0, float("inf")))


@layer("Clip", kind="activation")
def clip(node: Node) -> Op:
    """Clip: y = min(max(x, low), high): an activation, with slope 0 beyond the bounds."""
    low = float(node.array(1, -float("inf")).reshape(()))
    high = float(node.array(2, float("inf")).reshape(()))
    if low == 0 and high > 0:
        node.trace.declare_rectified(node.operand(0), node.result, exact=high == float("inf"))
    made = activation(node, lambda x, y: (y > low) * (y < high) if high != float("inf") else y > low)
    return replace(made, limits=(low, high))


@layer("LeakyRelu", kind="activation")
def leaky_relu(node: Node) -> Op:
    """LeakyRelu: y = x for x > 0, else αx."""
    alpha = float(node.attribute("alpha", 0.01))
    return activation(node, lambda x, y: _above(x, y, alpha >= 0) * (1 - alpha) + alpha)


@layer("PRelu", kind="activation")
def prelu(node: Node) -> Op:
    """PRelu: y = x for x > 0, else αx with an α for each channel."""
    node.array(1)
    alpha = per_sample(node, node.operand(1))
    return activation(node, lambda x, y: _above(x, y, alpha.nonnegative) * (1.0 - alpha) + alpha)


def _above(x: Value, y: Value, rises: bool) -> Value:
    """Return x > 0 as a comparison of y where y rises with x, so that the engine need not provide x."""
    return y > 0 if rises else x > 0


@layer("Elu", kind="activation")
def elu(node: Node) -> Op:
    """Elu: y = x for x > 0, else α(eˣ − 1) (Clevert et al. 2016)."""
    return _exponential(node, float(node.attribute("alpha", 1.0)), 1.0)


@layer("Selu", kind="activation")
def selu(node: Node) -> Op:
    """Selu: y = γx for x > 0, else γα(eˣ − 1) (Klambauer et al. 2017)."""
    return _exponential(node, float(node.attribute("alpha", 1.67326319)), float(node.attribute("gamma", 1.05070102)))


def _exponential(node: Node, alpha: float, gamma: float) -> Op:
    """Return the op of y = γx for x > 0, else γα(eˣ − 1), where dy/dx = y + γα."""
    low = alpha * gamma
    if alpha >= 0 and gamma > 0:
        return activation(node, lambda x, y: negative(y) + (y > 0) * (gamma - low) + low)
    return activation(node, lambda x, y: (x > 0) * gamma + (1 - (x > 0)) * (y + low))


@layer("Celu", kind="activation")
def celu(node: Node) -> Op:
    """Celu: y = x for x > 0, else α(e^(x/α) − 1) (Barron 2017)."""
    # y = α(e^(x/α) - 1) for x < 0, where dy/dx = y/α + 1.
    alpha = float(node.attribute("alpha", 1.0))
    return activation(node, lambda x, y: negative(y) * (1 / alpha) + 1)


@layer("ThresholdedRelu", kind="activation")
def thresholded_relu(node: Node) -> Op:
    """ThresholdedRelu: y = x for x > α, else 0."""
    alpha = float(node.attribute("alpha", 1.0))
    return activation(node, lambda x, y: y > 0 if alpha >= 0 else x > alpha)


@layer("HardSigmoid", kind="activation")
def hard_sigmoid(node: Node) -> Op:
    """HardSigmoid: y = max(0, min(1, αx + β))."""
    alpha = float(node.attribute("alpha", 0.2))
    return activation(node, lambda x, y: (y > 0) * (y < 1) * alpha)


@layer("HardSwish", kind="activation")
def hard_swish(node: Node) -> Op:
    """HardSwish: y = x max(0, min(1, x/6 + 1/2)) (Howard et al. 2019)."""

    def slope(x: Value, y: Value) -> Value:
        gate = node.trace.map("min", positive(x * (1 / 6) + 0.5), 1.0)
        return gate + x * (gate > 0) * (gate < 1) * (1 / 6)

    return activation(node, slope)


@layer("Sigmoid", kind="activation")
def sigmoid(node: Node) -> Op:
    """Sigmoid: y = 1 / (1 + e⁻ˣ), dy/dx = y(1 − y)."""
    node.trace.declare_map("sigmoid", (node.operand(0),), node.result)
    return activation(node, lambda x, y: y * (1 - y))


@layer("Tanh", kind="activation")
def tanh(node: Node) -> Op:
    """Tanh: y = tanh x, dy/dx = 1 − y²."""
    node.trace.declare_map("tanh", (node.operand(0),), node.result)
    return activation(node, lambda x, y: 1 - y * y)


@layer("Softmax", kind="softmax")
def softmax(node: Node) -> Op:
    """Softmax: y = eˣ / Σ eˣ along an axis, Jacobian y(δ − y): attention weights, or the shares of a codebook's words.

    Both have rules of their own.
    """
    x, y, along = node.operand(0), node.result, _along(node)
    p = node.trace.without_infinities(y) if node.trace.may_be_infinite(x) else y
    kind = "assignment" if is_assignment(node.graph, node.layer) else "softmax"
    return Op(kind, (x,), y, lambda r: (p * (r - along(r * p)),), name=node.layer.label, along=along)


@layer("LogSoftmax", kind="activation")
def log_softmax(node: Node) -> Op:
    """LogSoftmax: y = x − ln Σ eˣ along an axis, Jacobian δ − e^y."""
    x, y, along = node.operand(0), node.result, _along(node)
    return Op("activation", (x,), y, lambda r: (r - node.trace.map("exp", y) * along(r),), name=node.layer.label)


def _along(node: Node) -> Callable[[Value], Value]:
    """Return the function that sums over the normalised axis and keeps it with size 1."""
    shape = node.result.shape
    axis = int(node.attribute("axis", -1)) % (len(shape) + 1) - 1
    if axis < 0:
        raise unsupported(node.layer)
    kept = tuple(1 if i == axis else n for i, n in enumerate(shape))
    return lambda r: node.trace.linear(Sum(shape, kept, (axis,)), r)
