"""Nodes of an ONNX model as the layers of a mutable graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..frontend.symbolic_sizes import Sizes
from ..graph import Array, Layer
from ..names import unique_name
from ..operators import operator_of
from .mutable_graph import MutableGraph, captured, value_types


def parse(
    model: onnx.ModelProto,
    weights: Mapping[str, Array],
    paths: Mapping[str, str],
    order: Mapping[str, int],
    sizes: Sizes,
) -> MutableGraph:
    """Read a simplified model into layers, in the order of the file.

    Args:
        model: The model without its large weights.
        weights: The weights, with which the model's copies are replaced where they are equal.
        paths: Tensor → module path.
        order: Tensor → position of its node in the file.
        sizes: The batch of the model.
    """
    file = model.graph
    constants: dict[str, Array] = {}
    for tensor in file.initializer:
        value = numpy_helper.to_array(tensor)
        original = weights.get(tensor.name)
        # The model holds doubles as floats; a constant that came through unchanged is the original.
        if (
            original is not None
            and original.shape == value.shape
            and np.array_equal(original.astype(value.dtype), value)
        ):
            value = original
        constants[tensor.name] = value
    inputs = [value for value in file.input if value.name not in weights]
    constants.update({v.name: weights[v.name] for v in file.input if v.name in weights})
    shapes, dtypes = value_types((*inputs, *file.value_info, *file.output))
    layers = in_order(list(_layers(file.node, paths)), order)
    names = [output.name for output in file.output]
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    opsets = {domain: opsets[domain] for domain in opsets if not domain or any(n.domain == domain for n in file.node)}
    ends = [v.name for v in inputs], names
    return MutableGraph(layers, constants, *ends, shapes, dtypes, opsets, sizes.batch, sizes.declared, sizes.prime)


def in_order(layers: list[Layer], order: Mapping[str, int]) -> list[Layer]:
    """Sort layers topologically and, where several may come next, as in the file.

    Args:
        layers: The layers.
        order: Tensor → position of its node in the file.
    """
    producers = {name: index for index, layer in enumerate(layers) for name in layer.outputs if name}
    needs = [{producers[i] for i in (*layer.inputs, *captured(layer)) if i in producers} for layer in layers]
    readers: dict[int, list[int]] = {}
    for index, need in enumerate(needs):
        for producer in need:
            readers.setdefault(producer, []).append(index)

    def key(index: int, floor: int) -> tuple[int, int]:
        # A node that a conversion added comes right behind what it reads.
        return min((order[o] for o in layers[index].outputs if o in order), default=floor), index

    ready = [key(index, -1) for index, need in enumerate(needs) if not need]
    heapify(ready)
    result: list[Layer] = []
    while ready:
        position, index = heappop(ready)
        result.append(layers[index])
        for reader in readers.get(index, ()):
            needs[reader].discard(index)
            if not needs[reader]:
                heappush(ready, key(reader, position))
    return result


def _layers(nodes: Iterable[onnx.NodeProto], paths: Mapping[str, str]) -> Iterable[Layer]:
    taken: set[str] = set()
    for node in nodes:
        op = operator_of(node.op_type, node.domain)
        first = next((o for o in node.output if o), "")
        name = unique_name(node.name or f"{node.op_type}_{first}", taken.__contains__, "{}#{}")
        taken.add(name)
        path = next((paths[o] for o in node.output if o in paths), "")
        inputs = list(node.input)
        while inputs and not inputs[-1]:
            inputs.pop()
        attributes = {a.name: _value(a) for a in node.attribute}
        yield Layer(op, name, path, tuple(inputs), tuple(node.output), attributes)


def _value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.GraphProto):
        return value
    if hasattr(value, "__iter__") and not isinstance(value, str):
        return tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value)
    return value
