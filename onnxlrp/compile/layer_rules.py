"""Queries without propagation: the rule of each layer, and the weights of linear layers."""

from __future__ import annotations

from typing import NamedTuple

from ..composites import Composite, Matched
from ..errors import UnsupportedError
from ..graph import operators
from ..graph.graph import Graph, Layer
from ..graph.outputs import heads
from ..program.linear import Conv, Matmul
from ..program.program import Array
from ..program.trace import Trace
from ..rules import Rule
from .backward_walk import BackwardWalk


class WeightedLayer(NamedTuple):
    """A linear layer with one weight: result = linear(operand) + bias.

    Args:
        node: The node's name, unique in the graph.
        label: The layer's path, or its name without one.
        operand: Name of the tensor that it is applied to.
        result: Name of its result.
        linear: The geometry.
        weight: [C_out, C_in/group, *kernel], or [in, out] ([out, in] if `linear.transposed`).
    """

    node: str
    label: str
    operand: str
    result: str
    linear: Conv | Matmul
    weight: Array


def weighted_layers(graph: Graph, explained: str = "", output: str = "") -> tuple[list[WeightedLayer], list[Layer]]:
    """Return the linear layers between an input and an output, from input to output.

    Args:
        graph: The model.
        explained: Name of the input; the first one by default.
        output: Name of the output; the first one by default.

    Returns:
        The Conv, Gemm and MatMul layers of one weight, and the linear layers of other forms.
    """
    start = heads.head_of(graph, output or graph.outputs[0].name).start
    walk = BackwardWalk(graph, Composite(()), explained or graph.inputs[0].name, Trace(), start)
    found: list[WeightedLayer] = []
    others: list[Layer] = []
    for layer in reversed(walk.backward(start)):
        op = walk.op(layer)
        if op.kind not in ("convolution", "dense"):
            continue
        if layer.op in operators.WEIGHTED_AS_STORED and len(op.parts) == 1:
            (affine, x), linear = op.parts[0], op.parts[0][0].linear
            if isinstance(linear, Conv | Matmul) and affine.weight is not None and x.index in walk.tensors:
                array = walk.trace.array(affine.weight)
                operand = walk.tensors[x.index]
                found.append(WeightedLayer(layer.name, layer.label, operand, layer.outputs[0], linear, array))
                continue
        others.append(layer)
    return found, others


def rules_of(
    graph: Graph, composite: Composite, explained: str = "", output: str = ""
) -> list[tuple[Layer, Matched, Rule | None]]:
    """Return the rule of each layer between an input and an output, from input to output.

    Args:
        graph: The model.
        composite: The composite that chooses rules.
        explained: Name of the input; the first one by default.
        output: Name of the output; the first one by default.

    Returns:
        (layer, the layer as matches see it, its rule or None where it has none).
    """
    start = heads.head_of(graph, output or graph.outputs[0].name).start
    walk = BackwardWalk(graph, composite, explained or graph.inputs[0].name, Trace(), start)
    rows: list[tuple[Layer, Matched, Rule | None]] = []
    for layer in reversed(walk.backward(start)):
        try:
            op, rule = walk.rule_for_layer(layer)
            rows.append((layer, walk.match_of(layer, op.kind), rule))
        except UnsupportedError:
            rows.append((layer, walk.match_of(layer, walk.op(layer).kind), None))
    return rows
