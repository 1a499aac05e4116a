"""Loop and Scan of a known number of steps, written step by step; other loops stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...errors import UnsupportedError
from ..graph import Array
from ..names import unique_name
from ..reading.printable import printable
from .constant_branches import branch_nodes, rename, static_shape, value_of

# Nodes that all steps of a loop may have together.
MOST_NODES = 6000
# Bytes of the largest constant that is computed on the way.
_ARITHMETIC = 1 << 15


def write_out(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Write the loops of a model step by step, where their number of steps is known.

    Args:
        model: The model with folded shape arithmetic and the shapes of its tensors, not changed.

    Returns:
        The model without these loops; None where there are none.

    Raises:
        UnsupportedError: A loop would have too many nodes.
    """
    if not any(node.op_type in _LOOPS for node in model.graph.node):
        return None
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made if _Writer(made).run() else None


class _Unknown(Exception):
    """The number of steps depends on numbers that are computed at run time."""


class _Writer:
    """Writes the loops of a model, which is changed in place."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.known = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        values = (*self.graph.input, *self.graph.value_info)
        self.types = {value.name: value.type.tensor_type for value in values}
        self.taken = {name for node in self.graph.node for name in (*node.input, *node.output)} | self.known.keys()
        self.nodes: list[onnx.NodeProto] = []

    def run(self) -> bool:
        """Write all loops; return whether any was found that could be written."""
        found = False
        for node in list(self.graph.node):
            steps = _LOOPS.get(node.op_type)
            if steps is None:
                self.nodes.append(node)
                continue
            before, known = len(self.nodes), dict(self.known)
            try:
                steps(self, node)
                found = True
            except _Unknown:
                del self.nodes[before:]
                self.known = known
                self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        return found

    def constant(self, value: Array, near: str) -> str:
        """Store a constant, and return its name."""
        name = self.fresh(near)
        self.known[name] = value
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def fresh(self, near: str) -> str:
        """Return a name that is not taken."""
        name = unique_name(near, self.taken.__contains__)
        self.taken.add(name)
        return name

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node that is named after what it writes."""
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def step(
        self, loop: onnx.NodeProto, body: onnx.GraphProto, t: int, given: Mapping[str, str], fixed: dict[str, str]
    ) -> list[str]:
        """Append the nodes of one step, and return what the outputs of the body are.

        Args:
            loop: The loop.
            body: What it does at each step.
            t: The number of the step.
            given: What the inputs of the body are.
            fixed: What is the same at every step; the first step fills it.
        """
        names = {**fixed, **given}
        if not t:
            for tensor in body.initializer:
                value = numpy_helper.to_array(tensor)
                names[tensor.name] = fixed[tensor.name] = self.constant(value, f"{_name(loop)}.{tensor.name}")
        for node in body.node:
            if node.output[0] in fixed:
                continue
            same = given.keys().isdisjoint(_read(node)) and not any(_is_own(n, body, fixed) for n in _read(node))
            for name in node.output:
                at = _name(loop) if same else f"{_name(loop)}[t={t}]"
                names[name] = self.fresh(f"{at}.{name}") if name else ""
                if same:
                    fixed[name] = names[name]
            own = onnx.NodeProto()
            own.CopyFrom(node)
            rename(own, names)
            own.name = f"{_name(loop)}{'' if same else f'[t={t}]'}.{node.name or node.output[0]}"
            self._append(own, loop)
        return [names.get(value.name, value.name) for value in body.output]

    def _append(self, node: onnx.NodeProto, loop: onnx.NodeProto) -> None:
        """Append a node, the branch of an If whose condition is known, or nothing where its result is a constant."""
        if node.op_type == "If" and node.input[0] in self.known:
            before = len(self.graph.initializer)
            taken = list(branch_nodes(self.graph, node, bool(self.known[node.input[0]].all())))
            self.known |= {t.name: numpy_helper.to_array(t) for t in self.graph.initializer[before:]}
            for inner in taken:
                self._append(inner, loop)
            return
        value = value_of(node, self.known, self.types, self.opsets, _ARITHMETIC)
        if value is not None:
            self.known[node.output[0]] = value
            self.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            return
        self.nodes.append(node)
        if len(self.nodes) > MOST_NODES + len(self.graph.node):
            raise _too_long(loop)

    def ends(self, loop: onnx.NodeProto, states: Sequence[str], rows: Sequence[list[str]], axes: Sequence[int]) -> None:
        """Append what writes the results of a loop: the last states, and the results of all steps side by side."""
        for state, name in zip(states, loop.output, strict=False):
            if name:
                self.add("Identity", (state,), name)
        for row, name, axis in zip(rows, loop.output[len(states) :], axes, strict=True):
            if name:
                at = self.constant(np.array([axis], np.int64), f"{name}/axis")
                parts = [self.add("Unsqueeze", (part, at), self.fresh(f"{name}/{t}")) for t, part in enumerate(row)]
                self.add("Concat", parts, name, axis=axis)

    def number(self, name: str) -> int | None:
        """Return the number that a tensor holds, None without a tensor. Raises _Unknown where it is not known."""
        if not name:
            return None
        if name not in self.known or self.known[name].size != 1:
            raise _Unknown
        return int(self.known[name].reshape(()))

    def shape(self, name: str) -> list[int]:
        """Return the shape of a tensor. Raises _Unknown where it is not known."""
        found = list(self.known[name].shape) if name in self.known else static_shape(self.types.get(name))
        if found is None:
            raise _Unknown
        return found


def _loop(write: _Writer, node: onnx.NodeProto) -> None:
    """Write a Loop whose number of steps is known, or whose condition is at every step."""
    body, fixed = _body(node), dict[str, str]()
    count, condition = write.number(node.input[0]), node.input[1] if len(node.input) > 1 else ""
    states = list(node.input[2:])
    rows: list[list[str]] = [[] for _ in node.output[len(states) :]]
    if count is None and not condition:
        raise _Unknown
    inputs, t = [value.name for value in body.input], 0
    while (count is None or t < count) and (not condition or write.number(condition)):
        number = write.constant(np.array(t, np.int64), f"{_name(node)}[t={t}].number")
        going = condition or write.constant(np.array(True), f"{_name(node)}[t={t}].condition")
        ends = write.step(node, body, t, dict(zip(inputs, (number, going, *states), strict=True)), fixed)
        condition, states = ends[0], ends[1 : 1 + len(states)]
        for row, name in zip(rows, ends[1 + len(states) :], strict=True):
            row.append(name)
        t += 1
        if t > MOST_NODES:
            raise _too_long(node)
    if not t and any(node.output[len(states) :]):
        raise _Unknown  # an empty tensor of an unknown shape
    write.ends(node, states, rows, [0] * len(rows))


def _scan(write: _Writer, node: onnx.NodeProto) -> None:
    """Write a Scan over axes of known length."""
    body, attributes, fixed = _body(node), {a.name: a for a in node.attribute}, dict[str, str]()
    count = attributes["num_scan_inputs"].i
    states, read = list(node.input[: len(node.input) - count]), node.input[len(node.input) - count :]
    results = len(node.output) - len(states)

    def stated(what: str, number: int) -> list[int]:
        return list(attributes[what].ints) if what in attributes else [0] * number

    axes, back = stated("scan_input_axes", count), stated("scan_input_directions", count)
    shapes = [write.shape(name) for name in read]
    length = shapes[0][axes[0]]
    rows: list[list[str]] = [[] for _ in range(results)]
    inputs = [value.name for value in body.input]
    for t in range(length):
        at = []
        for name, axis, turned in zip(read, axes, back, strict=True):
            place = write.constant(np.array(length - 1 - t if turned else t, np.int64), f"{_name(node)}[t={t}].place")
            at.append(write.add("Gather", (name, place), write.fresh(f"{_name(node)}[t={t}].{name}"), axis=axis))
        ends = write.step(node, body, t, dict(zip(inputs, (*states, *at), strict=True)), fixed)
        states = ends[: len(states)]
        for row, name in zip(rows, ends[len(states) :], strict=True):
            row.append(name)
    turned_back = stated("scan_output_directions", results)
    rows = [row[::-1] if turned else row for row, turned in zip(rows, turned_back, strict=True)]
    write.ends(node, states, rows, stated("scan_output_axes", results))


def _body(node: onnx.NodeProto) -> onnx.GraphProto:
    found: onnx.GraphProto = next(a.g for a in node.attribute if a.name == "body")
    return found


def _name(node: onnx.NodeProto) -> str:
    return node.name or node.op_type.lower()


def _read(node: onnx.NodeProto) -> set[str]:
    """The tensors that a node reads, its bodies included."""
    inner = (n for a in node.attribute for child in a.g.node for n in _read(child))
    return {*node.input, *inner, *(v.name for a in node.attribute for v in a.g.output)} - {""}


def _is_own(name: str, body: onnx.GraphProto, fixed: Mapping[str, str]) -> bool:
    """Return whether a body computes a tensor at each step anew."""
    return name not in fixed and any(name in node.output for node in body.node)


def _too_long(node: onnx.NodeProto) -> UnsupportedError:
    return UnsupportedError(
        f'the {node.op_type} node "{printable(_name(node))}" would be more than {MOST_NODES} nodes, step by step',
        "state a shorter length of the sequences: size={...}, --size; or export the layer as LSTM, GRU or RNN",
    )


_LOOPS: dict[str, Callable[[_Writer, onnx.NodeProto], None]] = {"Loop": _loop, "Scan": _scan}
