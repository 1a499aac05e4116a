"""Loops as ONNX nodes: a Scan, of which only what goes from step to step is inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...program.program import Loop, LoopInput
from .nodes import InnerNodes, Nodes


class Row(NamedTuple):
    """An operand of a loop.

    Args:
        name: Its tensor, [N, steps, …], [T, N, steps, …] with targets, [steps, …] of a constant.
        constant: It has no batch axis.
        targets: It has a target axis.
    """

    name: str
    constant: bool
    targets: bool

    @property
    def axis(self) -> int:
        """The axis of the steps."""
        return 0 if self.constant else 2 if self.targets else 1


class Body(NamedTuple):
    """A loop, and what its Scan has to know.

    Args:
        loop: The loop.
        read: The operands that are read step by step.
        targets: T, where its states have a target axis; else None.
    """

    loop: Loop
    read: list[int]
    targets: int | None


def scan(
    g: Nodes,
    body: Body,
    rows: Sequence[Row],
    emit: Callable[[InnerNodes, list[str], list[str]], list[str]],
) -> str:
    """Emit a loop as a Scan.

    Args:
        g: The graph.
        body: The loop.
        rows: Its operands.
        emit: (builder of the body, the tensors of states, those of operands at a step; "" for one that is not read
            so) → the tensors of the next states.

    Returns:
        The states that each step receives, [N, steps, Σ width], or [T, N, steps, Σ width].
    """
    loop, origin = body.loop, g.origin
    states = [g.fresh(f"{g.origin}/state") for _ in loop.widths]
    at_step = [g.fresh(f"{g.origin}/at_step") if i in body.read else "" for i in range(len(rows))]
    read = [_of_any_shape(name) for name in (*states, *filter(None, at_step))]
    graph = helper.make_graph([], f"{g.origin}/step", read, [])
    inner = g.inner(graph)
    found = emit(inner, states, at_step)
    g.origin = origin
    given = [inner.fresh(f"{g.origin}/next") for _ in states]
    received = [inner.fresh(f"{g.origin}/received") for _ in states]
    for name, target, state, result in zip(found, given, states, loop.results, strict=True):
        if _has_batch(loop, result, rows):
            graph.node.append(helper.make_node("Identity", [name], [target], name=target))
        else:
            shape = inner.node("Shape", state)
            graph.node.append(helper.make_node("Expand", [name, shape], [target], name=target))
    for name, target in zip(states, received, strict=True):
        graph.node.append(helper.make_node("Identity", [name], [target], name=target))
    graph.output.extend(_of_any_shape(name) for name in (*given, *received))
    lead = 0 if body.targets is None else 1
    count, back = len(states), int(loop.backward)
    sequences = [rows[i] for i in body.read]
    starts = [_zeros(g, body, rows, width) for width in loop.widths]
    results = g.nodes(
        "Scan", (*starts, *(row.name for row in sequences)), 2 * count, body=graph, num_scan_inputs=len(sequences),
        scan_input_axes=[row.axis for row in sequences], scan_input_directions=[back] * len(sequences),
        scan_output_axes=[1 + lead] * count, scan_output_directions=[back] * count,
    )  # fmt: skip
    rest = results[count:]
    return rest[0] if count == 1 else g.node("Concat", *rest, axis=-1)


def _has_batch(loop: Loop, n: int, rows: Sequence[Row]) -> bool:
    """Return whether a result of the body differs between samples."""
    step = loop.body[n]
    own = isinstance(step.what, LoopInput) and step.what.sort != "state" and rows[step.what.index].constant
    return not (step.constant or own)


def _zeros(g: Nodes, body: Body, rows: Sequence[Row], width: int) -> str:
    """Emit the state before the first step, [N, width] or [T, N, width]."""
    row = next(row for row in rows if not row.constant)
    length = g.node("Shape", row.name, start=row.axis - 1, end=row.axis)
    lead = [] if body.targets is None else [g.ints(body.targets)]
    shape = g.node("Concat", *lead, length, g.ints(width), axis=0)
    return g.node("ConstantOfShape", shape, value=numpy_helper.from_array(np.zeros(1, np.float32)))


def _of_any_shape(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
