"""The structure of a parsed model, checked before any library builds, converts or folds it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, helper

from ...errors import InputError, UnsupportedError
from .printable import printable

MAX_NODES = 30_000
MAX_GRAPHS = 1000
MAX_NAME = 4096
MAX_TEXT = 1 << 24
MAX_OPSET = 1000

_AGAIN = "Export or download the model again."
_EXPORT = "Export the model again."
_PACKED = {TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4} | {
    getattr(TensorProto, kind): 2 for kind in ("INT2", "UINT2") if hasattr(TensorProto, kind)
}
_ONNX = ("", "ai.onnx")
TYPES = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}

Scopes = tuple[set[str], ...]
Body = GraphProto | FunctionProto


def check(model: onnx.ModelProto, name: str) -> None:
    """`InputError` where names, edges, weights or versions contradict each other; `UnsupportedError` for sparse ones.

    Every name that is read is written once, nothing reads itself, every tensor has as many bytes as its dims say, and
    local functions, expanded, stay below `MAX_NODES` nodes.
    """
    opsets = _opsets(model, name)
    _names((model.producer_name, model.producer_version, *(e.key for e in model.metadata_props)), name)
    _names((e.value for e in model.metadata_props), name, MAX_TEXT)
    for graph in (model.graph, *model.functions):
        _size(graph, name)
    _functions(model, name)
    if not model.graph.node:
        raise InputError(f"{name} holds a graph without nodes: there is nothing to explain.", _AGAIN)
    if not model.graph.output:
        raise InputError(f"{name} has no outputs.", _AGAIN)
    _graph(model.graph, (), opsets, name)
    for function in model.functions:
        _body(function, _distinct(function.input, "input", name), (), opsets, name)


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """The tensors of the main graph that are read as weights: its initialisers and the values of its Constant nodes."""
    yield from model.graph.initializer
    for node in model.graph.node:
        if node.op_type == "Constant":
            yield from (a.t for a in node.attribute if a.type == AttributeProto.TENSOR)


def is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def nbytes(kind: int, count: int) -> int:
    """Bytes of `count` values as ONNX stores them: types of 4 and 2 bits are packed."""
    return -(-count * _PACKED[kind] // 8) if kind in _PACKED else count * _itemsize(kind)


@cache
def _itemsize(kind: int) -> int:
    return int(helper.tensor_dtype_to_np_dtype(kind).itemsize)


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs in a node: branches of an If, bodies of loops."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _opsets(model: onnx.ModelProto, name: str) -> dict[str, int]:
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain in _ONNX else entry.domain
        if not 0 < entry.version <= MAX_OPSET or versions.get(domain, entry.version) != entry.version:
            raise InputError(f'{name} claims opset {entry.version} of "{printable(domain or "ai.onnx")}".', _AGAIN)
        versions[domain] = entry.version
    if not versions and model.ir_version >= 3:
        raise InputError(f"{name} names no opset: it is cut off or damaged.", _AGAIN)
    return versions or {"": 1}


def _size(body: Body, name: str) -> None:
    count = graphs = 0
    queue: list[Body] = [body]
    while queue:
        graphs += 1
        nodes = queue.pop().node
        count += len(nodes)
        if count > MAX_NODES:
            raise InputError(f"{name} has more than {MAX_NODES} nodes.", "Explain a part of the model.")
        if graphs > MAX_GRAPHS:
            raise InputError(f"{name} has more than {MAX_GRAPHS} graphs in its graph.", _EXPORT)
        queue += (inner for node in nodes for inner in bodies(node))


def _functions(model: onnx.ModelProto, name: str) -> None:
    """Local functions do not call themselves, and do not multiply."""
    known = {(f.domain, f.name, f.overload): f for f in model.functions}
    if len(known) < len(model.functions):
        raise InputError(f"{name} defines a local function twice.", _EXPORT)
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
            raise InputError(f'{name}: the local function "{printable(key[1])}" calls itself without end.', _EXPORT)
        if key not in sizes:
            calling.add(key)
            sizes[key] = expanded(known[key])
            calling.discard(key)
        return sizes[key]

    if known and max(expanded(model.graph), *map(size, known)) > MAX_NODES:
        raise InputError(f"{name}: its local functions expand to more than {MAX_NODES} nodes.", _EXPORT)


def _graph(graph: GraphProto, outer: Scopes, opsets: dict[str, int], name: str) -> set[str]:
    """Check a graph and those in it; the outer tensors that it reads."""
    _names([graph.name, *(d.dim_param for v in graph.input for d in v.type.tensor_type.shape.dim)], name)
    if graph.sparse_initializer:
        label = printable(graph.sparse_initializer[0].values.name)
        raise UnsupportedError(f"{name} stores sparse weights ({label}).", "Export the model with dense weights.")
    weights = _distinct((t.name for t in graph.initializer), "weight", name)
    for tensor in graph.initializer:
        _tensor(tensor, outer != (), name)
    inputs = _distinct((v.name for v in graph.input), "input", name)
    for value in (*graph.input, *graph.output):
        kind = value.type.tensor_type.elem_type
        if value.type.WhichOneof("value") == "tensor_type" and kind and kind not in TYPES:
            raise InputError(f'{name}: "{printable(value.name)}" has an unknown type ({kind}).', _AGAIN)
    free = _body(graph, weights | inputs, outer, opsets, name)
    _names([v.name for v in graph.output], name)
    return free


def _body(body: Body, given: set[str], outer: Scopes, opsets: dict[str, int], name: str) -> set[str]:
    producers: dict[str, int] = {}
    for index, node in enumerate(body.node):
        _node(node, outer != (), opsets, name)
        for output in filter(None, node.output):
            if output in producers or output in given:
                raise InputError(f'{name}: "{printable(output)}" is written twice ({_label(node)}).', _EXPORT)
            producers[output] = index
    here = given | producers.keys()
    scopes = (*outer, here)
    reads = [{*filter(None, node.input)} for node in body.node]
    for node, names in zip(body.node, reads, strict=True):
        for inner in bodies(node):
            names |= _graph(inner, scopes, opsets, name)
    results = {v if isinstance(v, str) else v.name for v in body.output}
    free = set()
    for label, names in (*zip(map(_label, body.node), reads, strict=True), ("the outputs", results)):
        for missing in names - here:
            if not any(missing in scope for scope in outer):
                raise InputError(f'{name}: "{printable(missing)}" is read by {label} and written by nobody.', _EXPORT)
            free.add(missing)
    _acyclic(body, reads, producers, name)
    return free


def _acyclic(body: Body, reads: list[set[str]], producers: dict[str, int], name: str) -> None:
    needs = [{producers[n] for n in names if n in producers} for names in reads]
    readers: list[list[int]] = [[] for _ in needs]
    for index, need in enumerate(needs):
        for producer in need:
            readers[producer].append(index)
    waiting = [len(need) for need in needs]
    ready = [index for index, count in enumerate(waiting) if not count]
    for index in ready:  # grows while it is walked
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(ready) < len(needs):
        stuck = next(index for index, count in enumerate(waiting) if count)
        seen: set[int] = set()
        while stuck not in seen:  # every stuck node reads another: walking back ends in the circle
            seen.add(stuck)
            stuck = next(p for p in needs[stuck] if waiting[p])
        raise InputError(f"{name} has a cycle: {_label(body.node[stuck])} reads its own result.", _EXPORT)


def _node(node: NodeProto, nested: bool, opsets: dict[str, int], name: str) -> None:
    _names((node.name, node.op_type, node.domain, *node.input, *node.output), name)
    _names((a.name for a in node.attribute), name)
    _names((x for e in node.metadata_props for x in (e.key, e.value)), name, MAX_TEXT)
    if not node.op_type:
        raise InputError(f"{name}: {_label(node)} has no operator.", _AGAIN)
    domain = "" if node.domain in _ONNX else node.domain
    bounds = _operands(node.op_type, opsets.get(domain, 0), domain)
    if bounds is not None:
        (least, most), (fewest, outputs) = bounds
        if not (least <= len(node.input) <= most and fewest <= len(node.output) <= outputs):
            raise InputError(
                f"{name}: {_label(node)} has {len(node.input)} inputs and {len(node.output)} outputs; "
                f"{node.op_type} takes {least} to {most} and gives {fewest} to {outputs}.",
                _EXPORT,
            )
    for attribute in node.attribute:
        if attribute.sparse_tensor.ByteSize() or attribute.sparse_tensors:
            raise UnsupportedError(
                f"{name}: {_label(node)} stores sparse weights.", "Export the model with dense weights."
            )
        if not attribute.type and not attribute.ref_attr_name:
            raise InputError(f'{name}: the attribute "{printable(attribute.name)}" has no known type.', _AGAIN)
        if attribute.type == AttributeProto.TENSOR and not attribute.ref_attr_name:
            _tensor(attribute.t, nested or node.op_type != "Constant", name)
        for tensor in attribute.tensors:
            _tensor(tensor, True, name)


@cache
def _operands(op: str, version: int, domain: str) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """((fewest, most inputs), (fewest, most outputs)) of an operator that onnx knows."""
    try:
        schema = onnx.defs.get_schema(
            op, min(version, onnx.defs.onnx_opset_version()) if not domain else version, domain
        )
    except onnx.defs.SchemaError:
        return None
    return (schema.min_input, schema.max_input), (schema.min_output, schema.max_output)


def _tensor(tensor: TensorProto, within: bool, name: str) -> None:
    """Its type is known, and its data is as long as its dims say; `within` is for one that cannot be external."""
    _names((tensor.name,), name)
    label, kind = f'the weight "{printable(tensor.name)}"', tensor.data_type
    if kind not in TYPES:
        raise InputError(f"{name}: {label} has an unknown type ({kind}).", _AGAIN)
    if any(d < 0 for d in tensor.dims):
        raise InputError(f"{name}: {label} has a negative dimension ({list(tensor.dims)[:8]}).", _AGAIN)
    if is_external(tensor):
        if within:
            raise InputError(f"{name}: {label}, inside an operator, lies in another file.", "Export it as one file.")
        return
    count = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        held, need, unit = len(tensor.raw_data), nbytes(kind, count), "bytes"
    else:
        held, need, unit = len(getattr(tensor, helper.tensor_dtype_to_field(kind))), count, "values"
        if kind in _PACKED:
            need = nbytes(kind, count)
        elif kind in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
            need = 2 * count
    if held != need:
        raise InputError(f"{name}: {label} is damaged: it holds {held} of {need} {unit}.", _AGAIN)


def _distinct(names: Iterable[str], what: str, name: str) -> set[str]:
    seen: set[str] = set()
    for one in names:
        _names((one,), name)
        if one in seen or not one:
            raise InputError(f'{name}: two {what}s are called "{printable(one)}", or one has no name.', _EXPORT)
        seen.add(one)
    return seen


def _names(names: Iterable[str], name: str, limit: int = MAX_NAME) -> None:
    """Protobuf hands names out as bytes, or refuses, where they are no UTF-8."""
    try:
        for one in names:
            if not isinstance(one, str):
                raise InputError(f"{name} holds names that are no text: it is damaged.", _AGAIN)
            if len(one) > limit:
                raise InputError(f"{name} holds a name of {len(one)} characters ({printable(one, 40)}).", _EXPORT)
    except UnicodeError:
        raise InputError(f"{name} holds names that are no text: it is damaged.", _AGAIN) from None


def _label(node: NodeProto) -> str:
    return f'the {printable(node.op_type, 60)} node "{printable(node.name or next(iter(node.output), ""))}"'
