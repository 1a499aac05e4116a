"""Constant folding: layers that depend on constants alone are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from ...errors import UnsupportedError
from .. import operators
from ..graph import Array, Layer
from ..reading import memory
from ..reading.printable import printable
from ..writing.to_onnx import to_node
from .mutable_graph import MutableGraph

_FLOATS = frozenset({"float16", "float32", "float64", "bfloat16"})


def fold(graph: MutableGraph, limit: int = 1 << 62) -> None:
    """Compute layers that read constants alone, and the Shape of tensors with a known shape; drop no-ops.

    What has no elements, such as the empty past of a decoder, is a constant, and left out where it is concatenated.

    Args:
        graph: Changed in place.
        limit: Bytes that a result may take.

    Raises:
        InputError: A result would take more; it is not computed then.
        UnsupportedError: A constant cannot be computed, or its size is not known before.
    """
    kept: list[Layer] = []
    for stored in graph.layers:
        layer = _without_empty(graph, stored)
        values = _values(graph, layer, limit)
        if values is None:
            kept.append(layer)
            continue
        for name, value in zip(layer.outputs, values, strict=False):
            if name:
                graph.constants[name] = value
    graph.layers = kept
    drop_noops(graph)


def drop_noops(graph: MutableGraph) -> None:
    """Remove Identity, Dropout and casts between floating types; constants behind them are read directly."""
    kept: list[Layer] = []
    alias: dict[str, str] = {}
    uses = graph.uses()
    for layer in graph.layers:
        inputs = tuple(alias.get(i, i) for i in layer.inputs)
        if not is_noop(graph, layer, uses):
            kept.append(replace(layer, inputs=inputs))
            continue
        source, target = inputs[0], layer.outputs[0]
        if target not in graph.outputs:
            alias[target] = source
        elif source in graph.inputs or source in graph.constants or source in graph.outputs:
            kept.append(replace(layer, op="Identity", inputs=(source,), outputs=(target,), attributes={}))
        else:
            # The model's output keeps its name: the tensor before it takes it over.
            kept = [_substitute(other, source, target) for other in kept]
            alias = {old: target if new == source else new for old, new in alias.items()}
            alias[source] = target
    graph.layers = kept


def _substitute(layer: Layer, old: str, new: str) -> Layer:
    if old not in layer.inputs and old not in layer.outputs:
        return layer
    swap = {old: new}
    return replace(
        layer,
        inputs=tuple(swap.get(i, i) for i in layer.inputs),
        outputs=tuple(swap.get(o, o) for o in layer.outputs),
    )


def is_noop(graph: MutableGraph, layer: Layer, uses: Mapping[str, int]) -> bool:
    """Return whether a layer hands its first operand on; `uses` counts the readers of each tensor."""
    if layer.op == "Identity":
        return True
    if layer.op == "Dropout":
        mode = graph.constant(layer.inputs[2]) if len(layer.inputs) > 2 else None
        mask_read = len(layer.outputs) > 1 and uses.get(layer.outputs[1], 0)
        return not mask_read and (len(layer.inputs) < 3 or (mode is not None and not mode.any()))
    if layer.op in operators.IDENTITIES_OF_ONE:
        return len(layer.inputs) == 1
    if layer.op == "Cast":
        source = graph.dtypes.get(layer.inputs[0], "")
        return source == graph.dtypes.get(layer.outputs[0], "-") or (
            source in _FLOATS and helper.tensor_dtype_to_np_dtype(layer.attributes["to"]).name in _FLOATS
        )
    return False


def _values(graph: MutableGraph, layer: Layer, limit: int) -> list[Array] | None:
    if layer.op == "Shape":
        shape = graph.shapes.get(layer.inputs[0])
        if layer.inputs[0] in graph.constants:
            shape = graph.constants[layer.inputs[0]].shape
        start, end = layer.attributes.get("start", 0), layer.attributes.get("end")
        return None if shape is None else [np.asarray(shape[start:end], np.int64)]
    if is_pure(layer) and layer.outputs and all(_is_empty(graph, name) for name in layer.outputs if name):
        kinds = [graph.dtypes.get(name, "float32") for name in layer.outputs]
        return [np.empty(graph.shapes.get(name, 0), kind) for name, kind in zip(layer.outputs, kinds, strict=True)]
    if layer.op == "GatherElements" and (same := _elements_of_one_value(graph, layer)) is not None:
        return [same]
    if not is_pure(layer) or not all(name in graph.constants for name in layer.inputs if name):
        return None
    return _evaluate(graph, layer, limit)


def _without_empty(graph: MutableGraph, layer: Layer) -> Layer:
    """A Concat without its operands that have no elements, where one is left."""
    full = tuple(name for name in layer.inputs if not _is_empty(graph, name)) if layer.op == "Concat" else ()
    return replace(layer, inputs=full) if full and len(full) < len(layer.inputs) else layer


def _is_empty(graph: MutableGraph, name: str) -> bool:
    return 0 in graph.shape(name)


def is_pure(layer: Layer) -> bool:
    """Return whether the operands of a layer alone determine its results, and it has no subgraphs."""
    has_body = any(isinstance(value, onnx.GraphProto) for value in layer.attributes.values())
    return layer.op not in operators.RANDOM and not is_rounding(layer) and not has_body


def is_rounding(layer: Layer) -> bool:
    """Return whether a layer is the DynamicQuantizeLinear of a `Graph`, whose one output are floats."""
    return layer.op == "DynamicQuantizeLinear" and len(layer.outputs) == 1


def _evaluate(graph: MutableGraph, layer: Layer, limit: int) -> list[Array]:
    """One layer on its constants."""
    values = [graph.constants[name] for name in layer.inputs if name]
    if layer.op in ("Identity", "Dropout"):
        return values[:1]
    if layer.op == "Transpose":
        return [np.ascontiguousarray(np.transpose(values[0], layer.attributes.get("perm")))]
    if layer.op == "DequantizeLinear" and (dequantized := _dequantized(layer, values, limit)) is not None:
        return [dequantized]
    _check_size(graph, layer, limit)
    if layer.op == "Expand" and (expanded := _expanded(*values)) is not None:
        return [expanded]
    from onnx.reference import ReferenceEvaluator

    names = dict.fromkeys(name for name in layer.inputs if name)
    kinds = {name: helper.np_dtype_to_tensor_dtype(graph.constants[name].dtype) for name in names}
    alone = helper.make_graph(
        [to_node(layer)],
        "constant",
        [helper.make_tensor_value_info(name, kinds[name], None) for name in names],
        [onnx.ValueInfoProto(name=name) for name in layer.outputs if name],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in graph.opsets.items()]
    try:
        run = ReferenceEvaluator(helper.make_model(alone, opset_imports=opsets))
        results = iter(run.run(None, {name: graph.constants[name] for name in names}))
    except Exception as error:
        raise UnsupportedError(
            f'the constant "{printable(layer.label)}" ({layer.op}) cannot be computed: {printable(str(error))}',
            "export the model with constant folding (torch.onnx.export does it by default)",
        ) from None
    return [np.asarray(next(results)) if name else np.empty(0) for name in layer.outputs]


def _elements_of_one_value(graph: MutableGraph, layer: Layer) -> Array | None:
    """What is gathered from a constant that has one value everywhere, as RoBERTa's segments of its positions."""
    data, shape = graph.constant(layer.inputs[0]), graph.shapes.get(layer.outputs[0])
    if data is None or shape is None or not data.size or (data != data.flat[0]).any():
        return None
    return np.full(shape, data.flat[0], data.dtype)


def _expanded(value: Array, target: Array) -> Array | None:
    """The value in the shape that it and the target broadcast to; None where they do not."""
    try:
        shape = np.broadcast_shapes(value.shape, tuple(int(n) for n in target.reshape(-1)))
    except ValueError:
        return None
    return np.ascontiguousarray(np.broadcast_to(value, shape))


def _dequantized(layer: Layer, values: list[Array], limit: int) -> Array | None:
    """(x − z)·s with one s for all or for each index of an axis; None for blocks and for types of less than 8 bits.

    Quantised models have one for each weight, and onnx's evaluator takes longer to import than they take to load.
    """
    x, scale = values[:2]
    zero = values[2] if len(values) > 2 else np.zeros((), x.dtype)
    narrow = x.dtype not in (np.int8, np.uint8, np.int16, np.uint16) or zero.dtype != x.dtype
    if layer.attributes.get("block_size", 0) or scale.dtype != np.float32 or narrow or scale.size != zero.size:
        return None
    axis = layer.attributes.get("axis", 1)
    along = [-1 if i == axis % max(x.ndim, 1) else 1 for i in range(x.ndim)] if scale.size > 1 else ()
    if scale.size > 1 and (scale.ndim != 1 or scale.size != x.shape[axis]):
        return None
    memory.check(memory.Estimate(0, 4 * x.size, 0, layer.label), limit, "The model")
    difference = x.astype(np.int32) - zero.astype(np.int32).reshape(along)
    return np.asarray(difference.astype(np.float32) * scale.reshape(along))


def _check_size(graph: MutableGraph, layer: Layer, limit: int) -> None:
    """Refuse a result that would not fit into memory, and one whose size nobody knows before it is computed."""
    operands = {name: graph.constants[name] for name in layer.inputs if name}
    length = memory.result(to_node(layer), operands, graph.opsets)
    if length is None:
        raise UnsupportedError(
            f'the constant "{printable(layer.label)}" ({layer.op}) has a size that its operands do not tell',
            "export the model with constant folding (torch.onnx.export does it by default)",
        )
    memory.check(memory.Estimate(0, length, 0, layer.label), limit, "The model")
