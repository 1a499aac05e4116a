"""Recurrent layers, and the layers that they are unfolded into, as nodes of standard operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..graph import Array, Layer
from ..operators import CELL_STATES, GATED, JOINT, PREVIOUS, STEPS

_ToNode = Callable[[Layer, "np.dtype[Any]"], onnx.NodeProto]


class _Nodes:
    """The nodes that stand for one layer, and the constants that they read."""

    def __init__(self, layer: Layer, constants: Mapping[str, Array], dtype: np.dtype[Any]) -> None:
        self.layer, self.constants, self.dtype = layer, constants, dtype
        self.out = layer.outputs[0]
        self.made: list[onnx.NodeProto] = []

    def input(self, position: int) -> str:
        return self.layer.inputs[position] if position < len(self.layer.inputs) else ""

    def is_constant(self, name: str) -> bool:
        return name in self.constants

    def ints(self, what: str, *values: int) -> str:
        return self.constant(what, np.array(values, np.int64))

    def constant(self, what: str, value: Array) -> str:
        name = f"{self.out}/{what}"
        if not any(name in node.output for node in self.made):
            stored = numpy_helper.from_array(value, name)
            self.made.append(helper.make_node("Constant", [], [name], name=f"{self.layer.name}/{what}", value=stored))
        return name

    def add(self, what: str, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; what it writes is named after `what`, that of the layer where this is empty."""
        y = f"{self.out}/{what}" if what else self.out
        name = f"{self.layer.name}/{what}" if what else self.layer.name
        self.made.append(helper.make_node(op, list(inputs), [y], name=name, **attributes))
        return y

    def for_each_sample(self, what: str, value: str, like: str) -> str:
        """Append a constant [1, …] once for each sample of a tensor [N, …]."""
        length = self.add(f"{what}/batch", "Shape", like, start=0, end=1)
        ones = self.ints(f"{what}/ones", *[1] * (self.constants[value].ndim - 1))
        shape = self.add(f"{what}/shape", "Concat", length, ones, axis=0) if self.constants[value].ndim > 1 else length
        return self.add(what, "Expand", value, shape)

    def zero_state(self, what: str, like: str, width: int) -> str:
        """Append zeros [N, width] for a tensor [N, …]."""
        length = self.add(f"{what}/batch", "Shape", like, start=0, end=1)
        shape = self.add(f"{what}/shape", "Concat", length, self.ints(f"{what}/width", width), axis=0)
        zero = numpy_helper.from_array(np.zeros(1, self.dtype))
        return self.add(what, "ConstantOfShape", shape, value=zero)


def nodes_of(
    layer: Layer, constants: Mapping[str, Array], dtype: np.dtype[Any], to_node: _ToNode
) -> list[onnx.NodeProto]:
    """Return the nodes of a recurrent layer of `layout` 1, or of a layer that one is unfolded into.

    Args:
        layer: The layer, of stored tensors [N, steps, …].
        constants: The constants of the graph.
        dtype: The floating type.
        to_node: Writes a standard layer as a node.
    """
    if layer.op in _WRITE:
        build = _Nodes(layer, constants, dtype)
        _WRITE[layer.op](build)
        return build.made
    if layer.attributes.get("layout", 0) == 0:
        return [to_node(layer, dtype)]
    build = _Nodes(layer, constants, dtype)
    _operator(build, to_node)
    return build.made


def _operator(build: _Nodes, to_node: _ToNode) -> None:
    """LSTM, GRU and RNN in `layout` 0, the only one that onnxruntime has, between transpositions."""
    layer = build.layer
    inputs = list(layer.inputs)
    x = inputs[0]
    inputs[0] = build.add("steps_first", "Transpose", x, perm=[1, 0, 2])
    for position in (4, 5, 6):
        name = build.input(position)
        if not name:
            continue
        if build.is_constant(name):
            name = build.for_each_sample(f"input{position}", name, x)
        if position > 4:
            name = build.add(f"input{position}/moved", "Transpose", name, perm=[1, 0, 2])
        inputs[position] = name
    written = {name: f"{name}/operator" for name in layer.outputs if name}
    attributes = {key: value for key, value in layer.attributes.items() if key != "layout"}
    outputs = tuple(written.get(name, "") for name in layer.outputs)
    build.made.append(
        to_node(Layer(layer.op, f"{layer.name}/operator", layer.path, tuple(inputs), outputs, attributes), build.dtype)
    )
    for position, name in enumerate(layer.outputs):
        if name:
            perm = [1, 0, 2] if position else [2, 0, 1, 3]
            node = f"{layer.name}/{position}" if position else layer.name
            build.made.append(helper.make_node("Transpose", [written[name]], [name], name=node, perm=perm))


def _joint(build: _Nodes) -> None:
    *pairs, bias = build.layer.inputs
    terms = []
    for k, (x, weight) in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
        matrix = weight and build.constants[weight].ndim == 2
        terms.append(build.add(f"term{k}", "MatMul" if matrix else "Mul", x, weight) if weight else x)
    terms += [bias] if bias else []
    total = terms[0]
    for k, term in enumerate(terms[1:], 1):
        total = build.add(f"sum{k}" if k < len(terms) - 1 else "", "Add", total, term)
    if len(terms) == 1:
        build.add("", "Identity", total)


def _previous(build: _Nodes) -> None:
    """States one step earlier: moved by one, with the initial state at the first step of each sample."""
    states, initial, first = (build.input(i) for i in range(3))
    reverse = int(build.layer.attributes["reverse"])
    begin, end = build.ints("begin", reverse), build.ints("end", *([_FAR] if reverse else [-1]))
    rest = build.add("rest", "Slice", states, begin, end, build.ints("axis", 1))
    whole = "" if first or not initial else initial
    if whole and build.is_constant(whole):
        whole = build.for_each_sample("initial", whole, states)
    if whole:
        build.add("", "Concat", *([rest, whole] if reverse else [whole, rest]), axis=1)
        return
    pads = build.ints("pads", 0, 1 - reverse, 0, 0, reverse, 0)
    if not initial:
        build.add("", "Pad", rest, pads)
        return
    moved = build.add("moved", "Pad", rest, pads)
    build.add("", "Where", build.add("first", "Cast", first, to=onnx.TensorProto.BOOL), initial, moved)


_FAR = int(np.iinfo(np.int64).max)


def _gated(build: _Nodes) -> None:
    build.add("", "Mul", build.input(0), build.input(1))


def _steps(build: _Nodes) -> None:
    if not build.layer.attributes.get("sum", 0):
        build.add("", "Mul", build.input(0), build.input(1))
        return
    build.add("", "ReduceSum", build.add("kept", "Mul", build.input(0), build.input(1)), build.ints("axis", 1),
              keepdims=1)  # fmt: skip


def _cell_states(build: _Nodes) -> None:
    """A Scan over steps along axis 0, from the first to the last: the form that all runtimes know."""
    layer = build.layer
    peepholes, reverse = "gate" in layer.attributes, bool(layer.attributes["reverse"])
    count = 3 if peepholes else 2
    read = [*layer.inputs[:count], *([build.input(6)] if peepholes and build.input(6) else [])]
    rows = []
    for k, name in enumerate(read):
        row = build.add(f"steps{k}", "Transpose", name, perm=[1, 0, 2])
        rows.append(_turned(build, f"turned{k}", row) if reverse else row)
    initial = build.input(count)
    if not initial:
        first = build.zero_state("zero", read[0], int(layer.attributes["width"]))
    else:
        if build.is_constant(initial):
            initial = build.for_each_sample("initial", initial, read[0])
        first = build.add("first", "Squeeze", initial, build.ints("squeezed", 1))
    kind = helper.np_dtype_to_tensor_dtype(build.dtype)
    inner = [f"{build.out}/at{k}" for k in range(len(rows))]
    before, after, given = (f"{build.out}/{what}" for what in ("before", "after", "given"))
    body = _peephole_step(build, inner, before, after) if peepholes else [
        helper.make_node("Mul", [inner[0], before], [f"{build.out}/kept"]),
        helper.make_node("Add", [f"{build.out}/kept", inner[1]], [after]),
    ]  # fmt: skip
    body.append(helper.make_node("Identity", [after], [given]))
    values = [onnx.helper.make_tensor_value_info(name, kind, None) for name in (before, *inner, after, given)]
    graph = helper.make_graph(body, f"{layer.name}/step", values[:-2], values[-2:])
    results = [f"{build.out}/last", f"{build.out}/rows"]
    scan = helper.make_node("Scan", [first, *rows], results, name=f"{layer.name}/scan", num_scan_inputs=len(rows),
                            body=graph)  # fmt: skip
    build.made.append(scan)
    found = _turned(build, "turned_back", results[1]) if reverse else results[1]
    build.add("", "Transpose", found, perm=[1, 0, 2])


def _turned(build: _Nodes, what: str, x: str) -> str:
    """Append x with its steps, axis 0, in the other order."""
    back = build.ints("back", -1)
    return build.add(what, "Slice", x, back, build.ints("beginning", -_FAR), build.ints("axis0", 0), back)


def _peephole_step(build: _Nodes, inner: list[str], before: str, after: str) -> list[onnx.NodeProto]:
    """The cell state of one step from preactivations without their peepholes: i and f read the state before."""
    layer, nodes = build.layer, []
    attributes = layer.attributes

    def op(what: str, kind: str, *inputs: str, **options: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"{build.out}/{what}"], **options))
        return f"{build.out}/{what}"

    clip = float(attributes.get("clip", 0.0))
    if clip:
        low, high = (build.constant(what, np.array(v, build.dtype)) for what, v in (("low", -clip), ("high", clip)))
    one = build.constant("one", np.array(1, build.dtype))

    def gate(what: str, z: str, factors: str) -> str:
        found = op(f"{what}/z", "Add", z, op(f"{what}/peephole", "Mul", factors, before))
        found = op(f"{what}/clip", "Clip", found, low, high) if clip else found
        return _function(build, op, what, found)

    i = gate("i", inner[0], layer.inputs[4])
    f = op("f", "Sub", one, i) if attributes["coupled"] else gate("f", inner[1], layer.inputs[5])
    kept, new = op("f/kept", "Mul", f, before), op("i/new", "Mul", i, inner[2])
    if len(inner) == 3:
        nodes.append(helper.make_node("Add", [kept, new], [after]))
        return nodes
    state = op("state", "Add", kept, new)
    inside = op("inside", "Cast", inner[3], to=onnx.TensorProto.BOOL)
    nodes.append(helper.make_node("Where", [inside, state, before], [after]))
    return nodes


def _function(build: _Nodes, op: Callable[..., str], what: str, z: str) -> str:
    """Append an activation function of a gate."""
    attributes = build.layer.attributes
    name = attributes["gate"]
    numbers = {key: float(attributes[key]) for key in ("alpha", "beta") if key in attributes}
    if name not in ("Affine", "ScaledTanh"):
        return op(what, name, z, **numbers)
    stored = {key: build.constant(f"{what}/{key}", np.array(v, build.dtype)) for key, v in numbers.items()}
    if name == "Affine":
        return op(what, "Add", op(f"{what}/scaled", "Mul", z, stored["alpha"]), stored["beta"])
    inner = op(f"{what}/tanh", "Tanh", op(f"{what}/argument", "Mul", z, stored["beta"]))
    return op(what, "Mul", inner, stored["alpha"])


_WRITE: dict[str, Callable[[_Nodes], None]] = {
    JOINT: _joint,
    PREVIOUS: _previous,
    CELL_STATES: _cell_states,
    GATED: _gated,
    STEPS: _steps,
}
