"""If with a condition that shapes and constants decide becomes the branch taken, where onnxruntime does not fold it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .. import operators
from ..graph import Array
from ..reading import memory


def take_branches(model: onnx.ModelProto, largest: int) -> onnx.ModelProto:
    """Infer shapes, and replace every If of the graph whose condition is a constant by its branch.

    Args:
        model: The model, not changed.
        largest: Bytes of the largest constant that is computed on the way.

    Raises:
        Exception: What onnx's shape inference raises.
    """
    model = _inferred(model)
    while any(node.op_type == "If" for node in model.graph.node) and _fold(model, largest):
        model = _inferred(model)
    return model


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(model, check_type=True, data_prop=True)


def _fold(model: onnx.ModelProto, largest: int) -> bool:
    """Compute what shapes and constants decide, and take branches; return whether anything was found."""
    graph = model.graph
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    types = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info)}
    nodes, found = list(graph.node), False
    kept: list[onnx.NodeProto] = []
    for node in nodes:
        value = value_of(node, known, types, opsets, largest)
        if node.op_type == "If" and node.input[0] in known:
            kept += branch_nodes(graph, node, bool(known[node.input[0]].all()))
        elif value is not None:
            known[node.output[0]] = value
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        else:
            kept.append(node)
            continue
        found = True
    del graph.node[:]
    graph.node.extend(kept)
    return found


def value_of(
    node: onnx.NodeProto,
    known: dict[str, Array],
    types: dict[str, onnx.TypeProto.Tensor],
    opsets: dict[str, int],
    largest: int,
) -> Array | None:
    """Return the one result of a node where it is a small constant.

    Args:
        node: The node.
        known: The constants.
        types: The types of other tensors.
        opsets: Domain → version.
        largest: Bytes of the largest result that is computed.
    """
    if node.op_type == "Shape" and (shape := static_shape(types.get(node.input[0]))) is not None:
        ends = {a.name: a.i for a in node.attribute}
        return np.array(shape[ends.get("start", 0) : ends.get("end", len(shape))], np.int64)
    pure = node.op_type not in operators.RANDOM and not any(a.HasField("g") for a in node.attribute)
    if not pure or len(node.output) != 1 or not all(name in known for name in node.input if name):
        return None
    operands = {name: known[name] for name in node.input if name}
    length = memory.result(node, operands, opsets)
    if length is None or length > largest:
        return None
    from onnx.reference import ReferenceEvaluator

    values = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
              for name, value in operands.items()]  # fmt: skip
    alone = helper.make_graph([node], "constant", values, [onnx.ValueInfoProto(name=node.output[0])])
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    try:
        (value,) = ReferenceEvaluator(helper.make_model(alone, opset_imports=imports)).run(None, operands)
    except Exception:  # it raises anything; the node stays, and is refused by name where it matters
        return None
    return np.asarray(value)


def branch_nodes(graph: onnx.GraphProto, node: onnx.NodeProto, taken: bool) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a branch, its own tensors renamed; what it holds as constants goes into the graph."""
    name = "then_branch" if taken else "else_branch"
    body = next(a.g for a in node.attribute if a.name == name)
    own = [tensor.name for tensor in body.initializer] + [out for inner in body.node for out in inner.output]
    new = {old: f"{node.output[0]}/{old}" for old in own if old}
    for tensor in body.initializer:
        tensor.name = new[tensor.name]
        graph.initializer.append(tensor)
    for inner in body.node:
        rename(inner, new)
        yield inner
    for source, target in zip(body.output, node.output, strict=True):
        yield helper.make_node("Identity", [new.get(source.name, source.name)], [target], name=target)


def rename(node: onnx.NodeProto, new: Mapping[str, str]) -> None:
    """Give the tensors of a node, and of its bodies, other names."""
    for names in (node.input, node.output):
        names[:] = [new.get(name, name) for name in names]
    for attribute in node.attribute:
        for inner in attribute.g.node:
            rename(inner, new)
        for value in attribute.g.output:
            value.name = new.get(value.name, value.name)


def static_shape(kind: onnx.TypeProto.Tensor | None) -> list[int] | None:
    """Return the shape of a type; None where it is not known."""
    if kind is None or not kind.HasField("shape") or not all(dim.HasField("dim_value") for dim in kind.shape.dim):
        return None
    return [dim.dim_value for dim in kind.shape.dim]
