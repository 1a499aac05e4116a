"""Inputs that have the batch on another axis than 0, as states of recurrent layers have, are read with it in front."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .. import operators
from ..graph import Array
from ..names import unique_name
from .weightless import true_inputs

# The axis of a batch that the file does not have: an input is one sample.
WITHOUT = -1
# The axis of the batch in the operands of a recurrent operator: of layout 0, the standard says so.
_OF_BATCH = {0: 1, 4: 0, 5: 1, 6: 1}


def batch_in_front(model: onnx.ModelProto, weights: Mapping[str, Array]) -> dict[str, int]:
    """Turn inputs so that their batch is axis 0, in place.

    Where the batch is follows from the recurrent operators that read an input, and from the names of axes: one that
    has the name of the batch of another input is its batch. An input whose axis 0 are the steps of such an operator,
    and which has no batch, gets one of a single sample.

    Args:
        model: The model without its weights, changed in place.
        weights: Its weights.

    Returns:
        Input → its batch's axis in the file, of those that were turned; `WITHOUT` of those that have none.
    """
    inputs = {value.name: value for value in true_inputs(model, dict(weights))}
    nodes = list(_nodes(model.graph))
    stored = {**weights, **_small(model, nodes)}
    said: dict[str, int] = {}
    steps: dict[str, int] = {}
    producers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.output:
            producers.setdefault(name, []).append(node)
    for node in nodes:
        if node.op_type in operators.RECURRENT and not any(a.name == "layout" and a.i for a in node.attribute):
            for position, axis in _OF_BATCH.items():
                if position < len(node.input) and node.input[position]:
                    for name, there in _sources(node.input[position], axis, producers, stored):
                        if name in inputs:
                            said.setdefault(name, there)
            steps |= dict(_sources(node.input[0], 0, producers, stored))
    for name in inputs.keys() - said.keys():
        if steps.get(name) == 0 and inputs[name].type.tensor_type.shape.dim[0].dim_value != 1:
            said[name] = WITHOUT
    found = {name: axis for name, axis in _by_name(inputs, said).items() if axis and _fits(inputs[name], axis)}
    if found:
        _turn(model, found)
    return found


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of its bodies; what an If gives is what its branches give."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
                if node.op_type == "If":
                    for inner, outer in zip(attribute.g.output, node.output, strict=True):
                        yield helper.make_node("Identity", [inner.name], [outer])


def _small(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> dict[str, Array]:
    tensors = [(t.name, t) for t in model.graph.initializer]
    for node in nodes:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                tensors.append((node.output[0], attribute.t))
            tensors += [(t.name, t) for t in attribute.g.initializer]
    return {name: numpy_helper.to_array(tensor) for name, tensor in tensors}


def _sources(
    tensor: str, axis: int, producers: Mapping[str, list[onnx.NodeProto]], stored: Mapping[str, Array]
) -> Iterator[tuple[str, int]]:
    """Yield the tensors that nothing computes of which this one is made, with what is this axis there."""
    seen, stack = set(), [(tensor, axis)]
    while stack:
        at = stack.pop()
        if at in seen or at[0] in stored:
            continue
        seen.add(at)
        if at[0] not in producers:
            yield at
        for node in producers.get(at[0], ()):
            stack += _before(node, at[1], stored)


def _before(node: onnx.NodeProto, axis: int, stored: Mapping[str, Array]) -> list[tuple[str, int]]:
    """The operands of a node that its result's axis comes from, with its number there; [] where that is not clear."""
    attributes = {a.name: a for a in node.attribute}
    live = [name for name in node.input if name and name not in stored]
    if node.op_type == "Transpose" and "perm" in attributes:
        return [(node.input[0], attributes["perm"].ints[axis])]
    if node.op_type in operators.KEEP_FIRST_AXES or (node.op_type in operators.SPATIAL and not axis):
        return [(node.input[0], axis)]
    if node.op_type == "Concat":
        return [(name, axis) for name in live]
    if node.op_type in ("Squeeze", "Unsqueeze"):
        axes = attributes["axes"].ints if "axes" in attributes else stored.get(node.input[-1], [-1])
        if len(node.input) + len(attributes) < 2 or min(axes, default=0) < 0:
            return []
        if node.op_type == "Unsqueeze":
            return [] if axis in axes else [(node.input[0], axis - sum(int(a) < axis for a in axes))]
        for a in sorted(int(a) for a in axes):
            axis += a <= axis
        return [(node.input[0], axis)]
    if node.op_type == "Gather":
        along = attributes["axis"].i if "axis" in attributes else 0
        if node.input[0] in stored and not along:
            return [(node.input[1], axis)]  # embeddings of ids
        picked = stored.get(node.input[1])
        if picked is None and along == axis:
            return [(node.input[0], axis)]  # samples in another order
        if picked is None or along < 0 or picked.ndim > 1:
            return []
        return [(node.input[0], axis + (picked.ndim == 0 and along <= axis))]
    alone = len(live) == 1 or node.op_type in operators.ELEMENTWISE
    return [(name, axis) for name in live] if alone and node.op_type in operators.KEEP_EACH_AXIS else []


def _by_name(inputs: Mapping[str, onnx.ValueInfoProto], said: Mapping[str, int]) -> dict[str, int]:
    """Return the axis of the batch of each input; an axis of the same name as that of another's is its batch."""

    def dims(name: str) -> list[str]:
        return [dim.dim_param for dim in inputs[name].type.tensor_type.shape.dim]

    batches = {dims(name)[axis] for name, axis in said.items() if 0 <= axis < len(dims(name))} - {""}
    batches = batches or {names[0] for name in inputs if (names := dims(name))} - {""}
    found = dict(said)
    for name in inputs.keys() - said.keys():
        named = [axis for axis, symbol in enumerate(dims(name)) if symbol in batches]
        found[name] = named[0] if named and not (dims(name)[0] and named[0]) else 0
    return found


def _fits(value: onnx.ValueInfoProto, axis: int) -> bool:
    """Return whether an input has such an axis, that does not contradict what the file leaves open.

    Where axis 0 is open and the batch of the operator is a fixed number, the exporter meant something else.
    """
    dims = value.type.tensor_type.shape.dim
    return axis == WITHOUT or (axis < len(dims) and (dims[axis].dim_value <= 1 or dims[0].dim_value > 0))


def in_file(array: Array, axis: int) -> Array:
    """Return an array with the batch on axis 0 as the file has it: on another axis, or without it."""
    return array[0] if axis == WITHOUT else np.moveaxis(array, 0, axis)


def in_front(array: Array, axis: int) -> Array:
    """Return an array as the file has it with the batch on axis 0."""
    return array[np.newaxis] if axis == WITHOUT else np.moveaxis(array, axis, 0)


def _turn(model: onnx.ModelProto, axes: Mapping[str, int]) -> None:
    graph, inner = model.graph, {}
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {v.name for v in graph.input}
    moves = []
    for value in graph.input:
        if value.name not in axes:
            continue
        axis, dims = axes[value.name], value.type.tensor_type.shape.dim
        name = inner[value.name] = unique_name(f"{value.name}/as_in_file", taken.__contains__)
        if axis == WITHOUT:
            dims.insert(0, onnx.TensorShapeProto.Dimension(dim_value=1))
            zero = f"{name}/axis"
            moves.append(helper.make_node("Constant", [], [zero], value_ints=[0]))
            moves.append(helper.make_node("Squeeze", [value.name, zero], [name], name=name))
            continue
        order = list(range(len(dims)))
        order.insert(0, order.pop(axis))
        turned = [onnx.TensorShapeProto.Dimension.FromString(dims[a].SerializeToString()) for a in order]
        del dims[:]
        dims.extend(turned)
        back = [order.index(a) for a in range(len(order))]
        moves.append(helper.make_node("Transpose", [value.name], [name], name=name, perm=back))
    _rename(graph, inner)
    nodes = [*moves, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Read tensors under other names, inside of bodies too, but for those that have their own of the name."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                own = {v.name for v in attribute.g.input} | {n for inner in attribute.g.node for n in inner.output}
                _rename(attribute.g, {old: new for old, new in names.items() if old not in own})
