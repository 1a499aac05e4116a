"""Patterns of functions at the end of a model, each read from the layer that gives the result.

A pattern is a function of the graph and a layer that returns a `Step` back to the tensor before it, or None. A new one
is a function and its place in `PATTERNS`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

import numpy as np

from .. import operators
from ..graph import Graph, Layer


class Role(Enum):
    """What a function does to the scores of classes."""

    SCORING = "makes scores of logits"
    DECISION = "makes a decision of scores"
    THRESHOLD = "makes a decision of each score by itself"
    COPY = "hands them on"
    BEHIND = "keeps their order; belongs to a head only behind a scoring or a decision"


class Step(NamedTuple):
    """A step back over a function of a head.

    Attributes:
        operand: The tensor that the function reads.
        role: What the function does.
        function: Its name: the kind of a scoring; of others "" where no value is changed.
        reverses: The result falls where the operand rises.
    """

    operand: str
    role: Role
    function: str = ""
    reverses: bool = False


Pattern = Callable[[Graph, Layer], Step | None]


def scoring(graph: Graph, layer: Layer) -> Step | None:
    """Read Softmax, LogSoftmax and Sigmoid."""
    return Step(layer.inputs[0], Role.SCORING, layer.op) if layer.op in operators.SCORINGS else None


def decision(graph: Graph, layer: Layer) -> Step | None:
    """Read ArgMax, Hardmax, TopK and ZipMap."""
    return Step(layer.inputs[0], Role.DECISION) if layer.op in operators.DECISIONS else None


def of_decision(graph: Graph, layer: Layer) -> Step | None:
    """Read what is made of the index of the best class: its label from a table, OneHot, a comparison with a range."""
    if layer.op == "OneHot":
        return Step(layer.inputs[0], Role.BEHIND, layer.op)
    if layer.op == "Gather" and layer.inputs[0] in graph.constants:
        return Step(layer.inputs[1], Role.BEHIND, layer.op)
    if layer.op in ("Equal", "ScatterElements"):
        live = [name for name in layer.inputs if name not in graph.constants]
        return Step(live[0], Role.BEHIND, layer.op) if len(live) == 1 and _is_integer(graph, live[0]) else None
    return None


def threshold(graph: Graph, layer: Layer) -> Step | None:
    """Read a comparison of each score with a number or with the largest, Sign, the rounding of a score, and Not."""
    if layer.op in operators.INEQUALITIES and len(layer.inputs) == 2:
        live = [n for n, name in enumerate(layer.inputs) if name not in graph.constants]
        largest = _largest_of(graph, layer)
        if largest is not None and (layer.op in operators.RISING_COMPARISONS) == (largest == 0):
            return Step(layer.inputs[largest], Role.DECISION)
        if len(live) == 1 and not _is_integer(graph, layer.inputs[live[0]]):
            rises = (layer.op in operators.RISING_COMPARISONS) == (live[0] == 0)
            return Step(layer.inputs[live[0]], Role.THRESHOLD, layer.op, reverses=not rises)
    if layer.op == "Equal" and (largest := _largest_of(graph, layer)) is not None:
        return Step(layer.inputs[largest], Role.DECISION)
    if layer.op == "Sign":
        return Step(layer.inputs[0], Role.THRESHOLD, layer.op)
    if layer.op == "Round":
        before = graph.producer(layer.inputs[0])
        scored = before is not None and before.op in operators.BOUNDED_SCORES
        return Step(layer.inputs[0], Role.THRESHOLD if scored else Role.BEHIND, layer.op)
    if layer.op == "Not":
        return Step(layer.inputs[0], Role.BEHIND, layer.op, reverses=True)
    return None


def choice(graph: Graph, layer: Layer) -> Step | None:
    """Read one number where a decision is for a class, and another where it is against it."""
    if layer.op != "Where":
        return None
    for_, against = (number(graph, name) for name in layer.inputs[1:])
    if for_ is None or against is None or for_ == against:
        return None
    return Step(layer.inputs[0], Role.BEHIND, layer.op, reverses=for_ < against)


def normalization(graph: Graph, layer: Layer) -> Step | None:
    """Read p / Σ p, and e^z / (Σ e^z + ε), which is Softmax but for what keeps its quotient finite."""
    parts = _quotient(graph, layer)
    if parts is None or _total(graph, parts[1]) != parts[0]:
        return None
    powers = graph.producer(parts[0])
    if powers is not None and powers.op == "Exp":
        return Step(_unshifted(graph, powers.inputs[0]), Role.SCORING, "Softmax")
    return Step(parts[0], Role.BEHIND, "Normalization")


def written_sigmoid(graph: Graph, layer: Layer) -> Step | None:
    """Read 1 / (1 + e^-z)."""
    if layer.op == "Reciprocal":
        below = layer.inputs[0]
    elif layer.op == "Div" and number(graph, layer.inputs[0]) == 1:
        below = layer.inputs[1]
    else:
        return None
    for tensor, one in _operands(graph, below, "Add"):
        powers = graph.producer(tensor)
        if number(graph, one) == 1 and powers is not None and powers.op == "Exp":
            turned = graph.producer(powers.inputs[0])
            if turned is not None and turned.op == "Neg":
                return Step(turned.inputs[0], Role.SCORING, "Sigmoid")
            for z, factor in _operands(graph, powers.inputs[0], "Mul"):
                if number(graph, factor) == -1:
                    return Step(z, Role.SCORING, "Sigmoid")
    return None


def monotone(graph: Graph, layer: Layer) -> Step | None:
    """Read Clip, Log, Exp, Sqrt, LpNormalization, and arithmetic with one number: it keeps or reverses the order."""
    if layer.op in operators.MONOTONE:
        return Step(layer.inputs[0], Role.BEHIND, layer.op)
    if layer.op == "LpNormalization" and layer.attributes.get("p", 2) == 1:
        return Step(layer.inputs[0], Role.BEHIND, "Normalization")
    if layer.op not in operators.SHIFTS | operators.ARITHMETIC or len(layer.inputs) != 2:
        return None
    pairs = [(layer.inputs[0], layer.inputs[1])]
    if layer.op != "Div":
        pairs.append((layer.inputs[1], layer.inputs[0]))
    for operand, constant in pairs:
        value = number(graph, constant)
        if value is not None and operand not in graph.constants and (layer.op in operators.SHIFTS or value):
            taken_off = layer.op == "Sub" and constant == layer.inputs[0]
            if layer.op in ("Max", "Min") or (_is_tiny(layer, value) and not taken_off):
                return Step(operand, Role.BEHIND, "Clip")
            return Step(operand, Role.BEHIND, layer.op, taken_off or (layer.op in ("Mul", "Div") and value < 0))
    return None


def negation(graph: Graph, layer: Layer) -> Step | None:
    """Read -s."""
    return Step(layer.inputs[0], Role.BEHIND, layer.op, reverses=True) if layer.op == "Neg" else None


def copy(graph: Graph, layer: Layer) -> Step | None:
    """Read Cast and Identity."""
    return Step(layer.inputs[0], Role.COPY) if layer.op in ("Cast", "Identity") else None


def rearrangement(graph: Graph, layer: Layer) -> Step | None:
    """Read reshapes and rounding behind a head (MobileNet: Softmax, then Reshape)."""
    return Step(layer.inputs[0], Role.BEHIND) if layer.op in operators.BEHIND_HEADS else None


PATTERNS: tuple[Pattern, ...] = (
    scoring,
    decision,
    of_decision,
    threshold,
    choice,
    normalization,
    written_sigmoid,
    monotone,
    negation,
    copy,
    rearrangement,
)


def number(graph: Graph, name: str) -> float | None:
    """Return the number that a constant holds everywhere; None for an activation, and for different numbers."""
    value = graph.constants.get(name)
    if value is None or not value.size or (value != value.flat[0]).any():
        return None
    return float(value.flat[0])


def _is_tiny(layer: Layer, value: float) -> bool:
    """Whether a number only keeps a logarithm or a quotient finite."""
    return layer.op in ("Add", "Sub") and abs(value) <= 1e-3


def _largest_of(graph: Graph, layer: Layer) -> int | None:
    """The position of the scores in a comparison with the largest of them; None for any other."""
    for n, name in enumerate(layer.inputs[:2]):
        largest = graph.producer(_copied(graph, layer.inputs[1 - n]))
        if largest is not None and largest.op == "ReduceMax" and largest.inputs[0] == name:
            return n if int(np.prod(graph.shapes.get(largest.outputs[0], (2,)))) == 1 else None
    return None


def _is_integer(graph: Graph, name: str) -> bool:
    return graph.dtypes.get(name, "").startswith(("int", "uint"))


def _operands(graph: Graph, name: str, op: str) -> tuple[tuple[str, str], ...]:
    """Both orders of the operands of the layer that writes a tensor, if it is such an operator."""
    layer = graph.producer(name)
    if layer is None or layer.op != op or len(layer.inputs) != 2:
        return ()
    return (layer.inputs[0], layer.inputs[1]), (layer.inputs[1], layer.inputs[0])


def _quotient(graph: Graph, layer: Layer) -> tuple[str, str] | None:
    """Numerator and denominator of a / b or a · (1 / b)."""
    if layer.op == "Div":
        return layer.inputs[0], layer.inputs[1]
    for own, other in _operands(graph, layer.outputs[0], "Mul"):
        inverse = graph.producer(other)
        if inverse is not None and inverse.op == "Reciprocal":
            return own, inverse.inputs[0]
    return None


def _copied(graph: Graph, name: str) -> str:
    """The tensor before copies, reshapes and what keeps it away from 0."""
    while (layer := graph.producer(name)) is not None:
        live = [n for n in layer.inputs if n and n not in graph.constants]
        kept = layer.op in operators.AROUND_A_DENOMINATOR
        if not kept or len(live) != 1:
            break
        name = live[0]
    return name


def _total(graph: Graph, name: str) -> str:
    """The tensor whose sum over all classes another is; "" where it is no such sum."""
    layer = graph.producer(_copied(graph, name))
    if layer is None or layer.op not in ("ReduceSum", "ReduceL1"):
        return ""
    return layer.inputs[0] if int(np.prod(graph.shapes.get(layer.outputs[0], (2,)))) == 1 else ""


def _unshifted(graph: Graph, name: str) -> str:
    """The logits z of z - max z, where a tensor is that."""
    for z, shift in _operands(graph, name, "Sub")[:1]:
        largest = graph.producer(_copied(graph, shift))
        if largest is not None and largest.op == "ReduceMax" and largest.inputs[0] == z:
            return z
    return name
