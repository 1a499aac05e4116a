"""Elementwise maps as ONNX nodes; comparisons, which runtimes run slowly, as clipped products."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from ...program.program import Instruction
from .nodes import Nodes

HUGE = 1e38  # z·HUGE is beyond any ε for every normal float32 z but 0

STEEP = 2.0**100  # times the least difference of two numbers of the size of LIMITS it is far above 1
LIMITS = (2.0**-20, 2.0**20)  # sizes of the limits of activations, such as the 6 of ReLU6


class Operand(NamedTuple):
    """An operand.

    Args:
        name: Its tensor.
        number: Its number, if it is a constant of shape ().
    """

    name: str
    number: float | None = None


def _bounded(op: str, low: bool) -> Callable[[Nodes, Instruction, list[Operand]], str]:
    def run(g: Nodes, step: Instruction, x: list[Operand]) -> str:
        for own, other in ((0, 1), (1, 0)):
            bound = x[other].number
            if bound is not None:
                if low:
                    return g.node("Relu", x[own].name) if bound == 0 else g.node("Clip", x[own].name, x[other].name)
                return g.node("Clip", x[own].name, "", x[other].name)
        return g.node(op, *(v.name for v in x))

    return run


def _plain(op: str) -> Callable[[Nodes, Instruction, list[Operand]], str]:
    return lambda g, step, x: g.node(op, *(v.name for v in x))


def _greater(g: Nodes, step: Instruction, x: list[Operand]) -> str:
    # Clip(x·1e38, 0, 1) is 1 where a normal float32 x > 0, else 0; comparisons are slow. onnxruntime has both in one
    # pass, and in the layout of its convolutions; other runtimes need not know the operator.
    for own, other, sign in ((0, 1, 1.0), (1, 0, -1.0)):
        number = x[other].number
        if number == 0 and g.portable:
            steeper = g.node("Mul", x[own].name, g.store(np.float32(sign * HUGE)))
            return g.node("Clip", steeper, g.store(np.float32(0)), g.store(np.float32(1)))
        if number == 0:
            return g.node("HardSigmoid", x[own].name, alpha=sign * HUGE, beta=0.0)
        if number is not None and not g.portable and LIMITS[0] < abs(number) < LIMITS[1]:
            steep = sign * STEEP  # a power of 2: the product with the limit is exact, so that the limit itself gives 0
            return g.node("HardSigmoid", x[own].name, alpha=steep, beta=-steep * float(np.float32(number)))
    return g.node("Cast", g.node("Greater", *(v.name for v in x)), to=TensorProto.FLOAT)


def _where(g: Nodes, step: Instruction, x: list[Operand]) -> str:
    condition = g.node("Cast", x[0].name, to=TensorProto.BOOL)
    return g.node("Where", condition, *(v.name for v in x[1:]))


def _stabilize(g: Nodes, step: Instruction, x: list[Operand]) -> str:
    # Clip(z·1e38 + ε, −ε, ε) is ε·sgn(z) with sgn(0) = +1; Where and Less cost ten times as much.
    low, high = g.store(np.float32(-step.parameter)), g.store(np.float32(step.parameter))
    steep = g.node("Add", g.node("Mul", x[0].name, g.store(np.float32(HUGE))), high)
    return g.node("Add", x[0].name, g.node("Clip", steep, low, high))


MAPS: dict[str, Callable[[Nodes, Instruction, list[Operand]], str]] = {
    "add": _plain("Add"),
    "sub": _plain("Sub"),
    "mul": _plain("Mul"),
    "div": _plain("Div"),
    "neg": _plain("Neg"),
    "max": _bounded("Max", low=True),
    "min": _bounded("Min", low=False),
    "greater": _greater,
    "where": _where,
    "square": lambda g, step, x: g.node("Mul", x[0].name, x[0].name),
    "sqrt": _plain("Sqrt"),
    "exp": _plain("Exp"),
    "sin": _plain("Sin"),
    "cos": _plain("Cos"),
    "tanh": _plain("Tanh"),
    "sigmoid": _plain("Sigmoid"),
    "erf": _plain("Erf"),
    "power": lambda g, step, x: g.node("Pow", x[0].name, g.store(np.float32(step.parameter))),
    "stabilize": _stabilize,
}
