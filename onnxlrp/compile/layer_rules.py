"""What a walk sees where nothing is propagated: the rule of each layer, the weights of linear ones."""

from __future__ import annotations

from dataclasses import dataclass

from ..composites import Composite, Matched
from ..errors import UnsupportedError
from ..graph import facts
from ..graph.graph import Graph, Layer
from ..program.linear import Conv, Matmul
from ..program.program import Array
from ..program.trace import Trace
from ..rules import Rule
from .backward_walk import Walk


@dataclass(frozen=True, eq=False)
class Weighted:
    """A linear layer with one weight: result = linear(operand) + bias, by the names of tensors."""

    node: str
    label: str
    operand: str
    result: str
    linear: Conv | Matmul
    weight: Array


def weighted(graph: Graph, explained: str = "", output: str = "") -> tuple[list[Weighted], list[Layer]]:
    """For patterns: the Conv, Gemm and MatMul layers on the way, in order, and the linear layers of other forms."""
    walk = Walk(graph, Composite(()), explained or graph.inputs[0].name, Trace())
    found: list[Weighted] = []
    others: list[Layer] = []
    for layer in reversed(walk.backward(facts.head(graph, output or graph.outputs[0].name))):
        op = walk.op(layer)
        if op.kind not in ("convolution", "dense"):
            continue
        if layer.op in ("Conv", "Gemm", "MatMul") and len(op.parts) == 1:
            (affine, x), linear = op.parts[0], op.parts[0][0].linear
            if isinstance(linear, Conv | Matmul) and affine.weight is not None and x.index in walk.tensors:
                array = walk.trace.array(affine.weight)
                operand = walk.tensors[x.index]
                found.append(Weighted(layer.name, layer.label, operand, layer.outputs[0], linear, array))
                continue
        others.append(layer)
    return found, others


def rules_of(
    graph: Graph, composite: Composite, explained: str = "", output: str = ""
) -> list[tuple[Layer, Matched, Rule | None]]:
    """For `inspect`: each layer on the way, what a match sees of it, and the rule it gets, None without one."""
    walk = Walk(graph, composite, explained or graph.inputs[0].name, Trace())
    rows: list[tuple[Layer, Matched, Rule | None]] = []
    for layer in reversed(walk.backward(facts.head(graph, output or graph.outputs[0].name))):
        try:
            op, rule = walk.answer(layer)
            rows.append((layer, walk.matched(layer, op.kind), rule))
        except UnsupportedError:
            rows.append((layer, walk.matched(layer, walk.op(layer).kind), None))
    return rows
