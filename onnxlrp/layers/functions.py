"""Elementwise functions: powers, exponentials, trigonometric functions, their inverses, and steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..errors import UnsupportedError
from ..program.op import Op
from ..program.value import Value, power, square
from . import Node, layer, unsupported
from .activation import activation
from .arithmetic import per_sample


def sign(x: Value) -> Value:
    """Return −1, 0 or 1 by the sign of each element."""
    return (x > 0) - (x < 0)


@layer("Exp", kind="activation")
def exp(node: Node) -> Op:
    """Exp: y = eˣ, dy/dx = y."""
    node.trace.declare_map("exp", (node.operand(0),), node.result)
    return activation(node, lambda x, y: y)


@layer("Log", kind="activation")
def log(node: Node) -> Op:
    """Log: y = ln x, dy/dx = 1/x, and 0 where y = −∞, as in the logarithm of a mask."""
    return activation(node, lambda x, y: node.trace.without_infinities(1.0 / x))


@layer("Sqrt", kind="activation")
def sqrt(node: Node) -> Op:
    """Sqrt: y = √x, dy/dx = 1/(2y)."""
    node.trace.declare_map("sqrt", (node.operand(0),), node.result)
    return activation(node, lambda x, y: 0.5 / y)


@layer("Abs", kind="activation")
def absolute(node: Node) -> Op:
    """Abs: y = |x|, dy/dx = sgn x."""
    return activation(node, lambda x, y: sign(x))


@layer("Reciprocal", kind="activation")
def reciprocal(node: Node) -> Op:
    """Reciprocal: y = 1/x, dy/dx = −y²."""
    node.trace.declare_map("div", (node.trace.constant(1.0), node.operand(0)), node.result)
    return activation(node, lambda x, y: -square(y))


@layer("Erf", kind="activation")
def erf(node: Node) -> Op:
    """Erf: y = erf x, dy/dx = 2/√π e^(−x²)."""
    node.trace.declare_map("erf", (node.operand(0),), node.result)
    return activation(node, lambda x, y: node.trace.map("exp", -square(x)) * (2 / math.sqrt(math.pi)))


@layer("Sin", kind="activation")
def sin(node: Node) -> Op:
    """Sin: y = sin x, dy/dx = cos x."""
    node.trace.declare_map("sin", (node.operand(0),), node.result)
    return activation(node, lambda x, y: node.trace.map("cos", x))


@layer("Cos", kind="activation")
def cos(node: Node) -> Op:
    """Cos: y = cos x, dy/dx = −sin x."""
    node.trace.declare_map("cos", (node.operand(0),), node.result)
    return activation(node, lambda x, y: -node.trace.map("sin", x))


@layer("Pow", kind="activation")
def pow_(node: Node) -> Op:
    """Pow: y = xᵖ or aˣ, with constant exponents or bases: an activation."""
    x, y = node.operand(node.activations[0]), node.result
    if len(node.activations) == 2:
        raise UnsupportedError(
            f"Pow {node.layer.label!r} has an activation as its exponent",
            f"choose a rule: --rule '{node.layer.name}=signal' gives the base all of the relevance",
        )
    if x.shape != y.shape:
        raise unsupported(node.layer)
    if node.is_constant(0):
        # d/dx aˣ = aˣ ln a.
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm = np.log(node.array(0).astype(np.float64))
        factor = per_sample(node, node.trace.constant(logarithm))
        return Op("activation", (x,), y, lambda r: (r * y * factor,), name=node.layer.label)
    exponents = node.array(1)
    return _powers(node) if exponents.size != 1 else _power(node, float(exponents.reshape(())))


def _powers(node: Node) -> Op:
    """Return the op of one exponent for each column: dy/dx = p y / x, and 0 where y is undefined, as x^1.5 below 0."""
    exponents = per_sample(node, node.operand(1))
    linear = node.trace.constant(np.asarray(node.array(1).reshape(exponents.shape) == 1, np.float32))

    def slope(x: Value, y: Value) -> Value:
        quotient = exponents * y / node.trace.map("where", square(x) > 0, x, 1.0)
        return node.trace.without_infinities(node.trace.map("where", square(x) > 0, quotient, linear))

    return activation(node, slope)


def _power(node: Node, exponent: float) -> Op:
    if exponent == 2:
        node.trace.declare_map("square", (node.operand(0),), node.result)
        return activation(node, lambda x, y: x * 2.0)
    if exponent == 0.5:
        return activation(node, lambda x, y: 0.5 / y)
    if exponent == -1:
        return activation(node, lambda x, y: -square(y))
    if exponent in (0, 1):
        return activation(node, lambda x, y: exponent)
    if exponent == int(exponent):
        return activation(node, lambda x, y: power(x, exponent - 1) * exponent)
    return activation(node, lambda x, y: node.trace.without_infinities(power(x, exponent - 1) * exponent))


def _simple(operator: str, formula: str, slope: Callable[[Value, Value], Value | float]) -> None:
    def build(node: Node) -> Op:
        return activation(node, slope)

    build.__doc__ = f"{operator}: {formula}."
    layer(operator, kind="activation")(build)


_simple("Tan", "y = tan x, dy/dx = 1 + y²", lambda x, y: square(y) + 1)
_simple("Atan", "y = arctan x, dy/dx = 1 / (1 + x²)", lambda x, y: 1.0 / (square(x) + 1))
_simple("Asin", "y = arcsin x, dy/dx = 1 / √(1 − x²)", lambda x, y: power(1 - square(x), -0.5))
_simple("Acos", "y = arccos x, dy/dx = −1 / √(1 − x²)", lambda x, y: -power(1 - square(x), -0.5))
_simple("Sinh", "y = sinh x, dy/dx = √(1 + y²)", lambda x, y: power(square(y) + 1, 0.5))
_simple("Cosh", "y = cosh x, dy/dx = sinh x", lambda x, y: (x.trace.map("exp", x) - x.trace.map("exp", -x)) * 0.5)
_simple("Asinh", "y = arsinh x, dy/dx = 1 / √(x² + 1)", lambda x, y: power(square(x) + 1, -0.5))
_simple("Acosh", "y = arcosh x, dy/dx = 1 / √(x² − 1)", lambda x, y: power(square(x) - 1, -0.5))
_simple("Atanh", "y = artanh x, dy/dx = 1 / (1 − x²)", lambda x, y: 1.0 / (1 - square(x)))
for _steps in ("Sign", "Floor", "Ceil", "Round"):
    _simple(_steps, "constant between its steps, dy/dx = 0", lambda x, y: 0.0)
