"""The structure of a parsed model, checked before any library builds, converts or folds it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto

from ...errors import InputError, UnsupportedError
from .cycles import check_acyclic
from .names import check_names, distinct_names, node_label
from .printable import printable
from .tensors import TYPES, check_tensor

MAX_NODES = 30_000
MAX_GRAPHS = 1000
MAX_TEXT = 1 << 24
MAX_OPSET = 1000

_AGAIN = "export or download the model again"
_EXPORT = "export the model again"
_ONNX = ("", "ai.onnx")

Scopes = tuple[set[str], ...]
Body = GraphProto | FunctionProto


def check(model: onnx.ModelProto, name: str, lifted: Collection[str] = ()) -> None:
    """Check that names, edges, weights and versions fit together.

    Every name that is read is written once, nothing reads itself, every tensor has as many bytes as its dims say, and
    local functions, expanded, stay below `MAX_NODES` nodes.

    Args:
        model: The parsed model.
        name: The name of the file, for errors.
        lifted: Weights of the main graph whose values lie elsewhere (`lifting`), and are as many as they should be.

    Raises:
        InputError: Something contradicts something else.
        UnsupportedError: The model stores sparse weights.
    """
    opsets = _opsets(model, name)
    check_names((model.producer_name, model.producer_version, *(e.key for e in model.metadata_props)), name)
    check_names((e.value for e in model.metadata_props), name, MAX_TEXT)
    for graph in (model.graph, *model.functions):
        _size(graph, name)
    _functions(model, name)
    if not model.graph.node:
        raise InputError(f"{name} holds a graph without nodes: there is nothing to explain", _AGAIN)
    if not model.graph.output:
        raise InputError(f"{name} has no outputs", _AGAIN)
    _graph(model.graph, (), opsets, name, lifted)
    for function in model.functions:
        _body(function, distinct_names(function.input, "input", name), (), opsets, name)


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs in a node: branches of an If, bodies of loops."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _opsets(model: onnx.ModelProto, name: str) -> dict[str, int]:
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain in _ONNX else entry.domain
        if not 0 < entry.version <= MAX_OPSET or versions.get(domain, entry.version) != entry.version:
            raise InputError(f'{name} claims opset {entry.version} of "{printable(domain or "ai.onnx")}"', _AGAIN)
        versions[domain] = entry.version
    if not versions and model.ir_version >= 3:
        raise InputError(f"{name} names no opset: it is cut off or damaged", _AGAIN)
    return versions or {"": 1}


def _size(body: Body, name: str) -> None:
    count = graphs = 0
    queue: list[Body] = [body]
    while queue:
        graphs += 1
        nodes = queue.pop().node
        count += len(nodes)
        if count > MAX_NODES:
            raise InputError(f"{name} has more than {MAX_NODES} nodes", "explain a part of the model")
        if graphs > MAX_GRAPHS:
            raise InputError(f"{name} has more than {MAX_GRAPHS} graphs in its graph", _EXPORT)
        queue += (inner for node in nodes for inner in bodies(node))


def _functions(model: onnx.ModelProto, name: str) -> None:
    """Check that local functions do not call themselves, and stay below `MAX_NODES` when they are expanded."""
    known = {(f.domain, f.name, f.overload): f for f in model.functions}
    if len(known) < len(model.functions):
        raise InputError(f"{name} defines a local function twice", _EXPORT)
    sizes: dict[tuple[str, str, str], int] = {}
    calling: set[tuple[str, str, str]] = set()

    def expanded(body: Body) -> int:
        total = 0
        for node in body.node:
            key = (node.domain, node.op_type, node.overload)
            total += (size(key) if key in known else 1) + sum(map(expanded, bodies(node)))
        return total

    def size(key: tuple[str, str, str]) -> int:
        if key in calling or len(calling) > 200:
            raise InputError(f'{name}: the local function "{printable(key[1])}" calls itself without end', _EXPORT)
        if key not in sizes:
            calling.add(key)
            sizes[key] = expanded(known[key])
            calling.discard(key)
        return sizes[key]

    if known and max(expanded(model.graph), *map(size, known)) > MAX_NODES:
        raise InputError(f"{name}: its local functions expand to more than {MAX_NODES} nodes", _EXPORT)


def _graph(
    graph: GraphProto, outer: Scopes, opsets: dict[str, int], name: str, lifted: Collection[str] = ()
) -> set[str]:
    """Check a graph and those in it; return the outer tensors that it reads."""
    check_names([graph.name, *(d.dim_param for v in graph.input for d in v.type.tensor_type.shape.dim)], name)
    if graph.sparse_initializer:
        label = printable(graph.sparse_initializer[0].values.name)
        raise UnsupportedError(f"{name} stores sparse weights ({label})", "export the model with dense weights")
    weights = distinct_names((t.name for t in graph.initializer), "weight", name)
    for tensor in graph.initializer:
        if tensor.name in lifted:
            check_names((tensor.name,), name)
        else:
            check_tensor(tensor, outer != (), name)
    inputs = distinct_names((v.name for v in graph.input), "input", name)
    for value in (*graph.input, *graph.output):
        kind = value.type.tensor_type.elem_type
        if value.type.WhichOneof("value") == "tensor_type" and kind and kind not in TYPES:
            raise InputError(f'{name}: "{printable(value.name)}" has an unknown type ({kind})', _AGAIN)
    free = _body(graph, weights | inputs, outer, opsets, name)
    check_names([v.name for v in graph.output], name)
    return free


def _body(body: Body, given: set[str], outer: Scopes, opsets: dict[str, int], name: str) -> set[str]:
    producers: dict[str, int] = {}
    for index, node in enumerate(body.node):
        _node(node, outer != (), opsets, name)
        for output in filter(None, node.output):
            if output in producers or output in given:
                raise InputError(f'{name}: "{printable(output)}" is written twice ({node_label(node)})', _EXPORT)
            producers[output] = index
    here = given | producers.keys()
    scopes = (*outer, here)
    reads = [{*filter(None, node.input)} for node in body.node]
    for node, names in zip(body.node, reads, strict=True):
        for inner in bodies(node):
            names |= _graph(inner, scopes, opsets, name)
    results = {v if isinstance(v, str) else v.name for v in body.output}
    free = set()
    for label, names in (*zip(map(node_label, body.node), reads, strict=True), ("the outputs", results)):
        for missing in names - here:
            if not any(missing in scope for scope in outer):
                raise InputError(f'{name}: "{printable(missing)}" is read by {label} and written by nobody', _EXPORT)
            free.add(missing)
    check_acyclic(body.node, reads, producers, name)
    return free


def _node(node: NodeProto, nested: bool, opsets: dict[str, int], name: str) -> None:
    check_names((node.name, node.op_type, node.domain, *node.input, *node.output), name)
    check_names((a.name for a in node.attribute), name)
    check_names((x for e in node.metadata_props for x in (e.key, e.value)), name, MAX_TEXT)
    if not node.op_type:
        raise InputError(f"{name}: {node_label(node)} has no operator", _AGAIN)
    domain = "" if node.domain in _ONNX else node.domain
    bounds = _operands(node.op_type, opsets.get(domain, 0), domain)
    if bounds is not None:
        (least, most), (fewest, outputs) = bounds
        if not (least <= len(node.input) <= most and fewest <= len(node.output) <= outputs):
            raise InputError(
                f"{name}: {node_label(node)} has {len(node.input)} inputs and {len(node.output)} outputs; "
                f"{node.op_type} takes {least} to {most} and gives {fewest} to {outputs}",
                _EXPORT,
            )
    for attribute in node.attribute:
        if attribute.sparse_tensor.ByteSize() or attribute.sparse_tensors:
            raise UnsupportedError(
                f"{name}: {node_label(node)} stores sparse weights", "export the model with dense weights"
            )
        if not attribute.type and not attribute.ref_attr_name:
            raise InputError(f'{name}: the attribute "{printable(attribute.name)}" has no known type', _AGAIN)
        if attribute.type == AttributeProto.TENSOR and not attribute.ref_attr_name:
            check_tensor(attribute.t, nested or node.op_type != "Constant", name)
        for tensor in attribute.tensors:
            check_tensor(tensor, True, name)


@cache
def _operands(op: str, version: int, domain: str) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return ((fewest, most inputs), (fewest, most outputs)) of an operator; None where onnx does not know it."""
    try:
        schema = onnx.defs.get_schema(
            op, min(version, onnx.defs.onnx_opset_version()) if not domain else version, domain
        )
    except onnx.defs.SchemaError:
        return None
    return (schema.min_input, schema.max_input), (schema.min_output, schema.max_output)
