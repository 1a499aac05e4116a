"""Inputs that choose a branch, such as `use_cache_branch` of a merged decoder: the branch takes the place of the If."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

from ...errors import InputError
from ..graph import Switch
from ..reading.printable import printable
from ..reading.read import Read
from .constant_branches import rename


def take_switches(file: Read, given: Mapping[str, float]) -> tuple[Read, dict[str, Switch]]:
    """Replace every If on an input by one of its branches.

    A condition is a single bool for the whole batch, of shape [] or [1]. Where nobody states it, the branch is read
    that needs the fewest inputs: of merged decoders, which optimum writes, it is the one without keys and values of
    earlier tokens.

    Args:
        file: The parsed model, not changed.
        given: Values of such inputs by name: 0 or 1.

    Returns:
        The model with the branches in place, and what chose them; the file itself where there are none.

    Raises:
        InputError: A value is neither 0 nor 1.
    """
    source = file.model.graph
    conditions = {value.name for value in source.input if _is_single_bool(value)}
    conditions &= {node.input[0] for node in source.node if node.op_type == "If"}
    conditions -= {name for node in source.node if node.op_type != "If" for name in node.input}
    if not conditions:
        return file, {}
    inputs = {value.name for value in source.input} - {tensor.name for tensor in source.initializer} - conditions
    found: dict[str, Switch] = {}
    for name in sorted(conditions):
        ifs = [node for node in source.node if node.op_type == "If" and node.input[0] == name]
        read = {word: inputs & {n for node in ifs for n in _read(_branch(node, word))} for word in (True, False)}
        value = _truth(name, given[name]) if name in given else len(read[True]) < len(read[False])
        found[name] = Switch(value, name in given, tuple(sorted(read[not value] - read[value])))
    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    graph = model.graph
    nodes = list(graph.node)
    taken = {out for node in nodes for out in node.output} | inputs | {tensor.name for tensor in graph.initializer}
    del graph.node[:]
    for node in nodes:
        if node.op_type == "If" and node.input[0] in found:
            _put(graph, node, found[node.input[0]].value, taken)
        else:
            graph.node.append(node)
    kept = [value for value in graph.input if value.name not in found]
    del graph.input[:]
    graph.input.extend(kept)
    return file._replace(model=model), found


def _is_single_bool(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    dims = [dim.dim_value for dim in kind.shape.dim]
    return kind.elem_type == onnx.TensorProto.BOOL and kind.HasField("shape") and dims in ([], [1])


def _truth(name: str, value: float) -> bool:
    if value not in (0, 1):
        name = printable(name)
        raise InputError(
            f'input "{name}" chooses a branch: it takes 0 or 1, not {value:g}',
            f'give one: given={{"{name}": 1}}',
            f"give one: --given {name}=1",
        )
    return bool(value)


def _branch(node: onnx.NodeProto, value: bool) -> onnx.GraphProto:
    name = "then_branch" if value else "else_branch"
    found: onnx.GraphProto = next(a.g for a in node.attribute if a.name == name)
    return found


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the tensors that a graph and its bodies read."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _read(attribute.g)


def _put(graph: onnx.GraphProto, node: onnx.NodeProto, value: bool, taken: set[str]) -> None:
    """Append the nodes and constants of a branch, its tensors renamed where the graph has others of their names.

    What the branch gives is called as what the If gives: paths and names of nodes stay those of the exporter.
    """
    body = _branch(node, value)
    own = [tensor.name for tensor in body.initializer] + [out for inner in body.node for out in inner.output if out]
    given = {source.name: target for source, target in zip(body.output, node.output, strict=True) if target}
    new = {old: f"{node.output[0]}/{old}" for old in own if old in taken}
    copies = []
    for source, target in zip(body.output, node.output, strict=True):
        if source.name in own and given[source.name] == target:
            new[source.name] = target
        elif target:
            copies.append((source.name, target))
    for tensor in body.initializer:
        stored = graph.initializer.add()
        stored.CopyFrom(tensor)
        stored.name = new.get(tensor.name, tensor.name)
    for inner in body.node:
        moved = graph.node.add()
        moved.CopyFrom(inner)
        rename(moved, new)
    for source_name, target in copies:
        graph.node.append(onnx.helper.make_node("Identity", [new.get(source_name, source_name)], [target], name=target))
