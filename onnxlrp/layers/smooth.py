"""Smooth activation functions composed of several others: Softplus, Softsign, Gelu, Mish."""

from __future__ import annotations

import math

from ..program.op import Op
from ..program.value import Value, square
from . import Node, layer
from .activation import activation


@layer("Softplus", kind="activation")
def softplus(node: Node) -> Op:
    """Softplus: y = ln(1 + eˣ), dy/dx = sigmoid x."""
    return activation(node, lambda x, y: node.trace.map("sigmoid", x))


@layer("Softsign", kind="activation")
def softsign(node: Node) -> Op:
    """Softsign: y = x / (1 + |x|), dy/dx = (1 − |y|)²."""
    # y = x / (1 + |x|), so that dy/dx = (1 - |y|)².
    return activation(node, lambda x, y: square(1 - node.trace.map("max", y, -y)))


@layer("Gelu", kind="activation")
def gelu(node: Node) -> Op:
    """Gelu: y = x Φ(x), Φ the normal distribution, or its approximation by tanh (Hendrycks and Gimpel 2016)."""
    return activation(node, _by_tanh if node.attribute("approximate", "none") == "tanh" else _by_erf)


def _by_erf(x: Value, y: Value) -> Value:
    normal = (x.trace.map("erf", x * math.sqrt(0.5)) + 1) * 0.5
    return normal + x * x.trace.map("exp", square(x) * -0.5) * (1 / math.sqrt(2 * math.pi))


def _by_tanh(x: Value, y: Value) -> Value:
    inner, cubic = math.sqrt(2 / math.pi), 0.044715
    t = x.trace.map("tanh", x * (square(x) * cubic + 1) * inner)
    return ((t + 1) + x * (1 - square(t)) * (square(x) * (3 * cubic) + 1) * inner) * 0.5


@layer("Mish", kind="activation")
def mish(node: Node) -> Op:
    """Mish: y = x tanh(ln(1 + eˣ)) (Misra 2020)."""

    def slope(x: Value, y: Value) -> Value:
        # With w = eˣ and n = w² + 2w the tanh is n / (n + 2). Beyond x = 20 it is 1 in double precision too.
        w = x.trace.map("exp", x.trace.map("min", x, 20.0))
        n = w * (w + 2)
        return (n + x * x.trace.map("sigmoid", x) * (n + 1) * 4 / (n + 2)) / (n + 2)

    return activation(node, slope)
