"""A mutable graph: layers in order, constants, and the shape of every activation, batch included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..frontend.symbolic_sizes import Sizes
from ..graph import Array, Layer
from ..names import unique_name


@dataclass
class MutableGraph:
    """The graph that passes of `load` change.

    Attributes:
        layers: In topological order.
        constants: Name → value.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        shapes: Activation → shape with the batch, where it is known.
        dtypes: Activation → type, where it is known.
        opsets: Domain → version.
        batch: Length of the batch axis in `shapes`.
        declared: Whether the model declares it, or it is a stand-in for any.
    """

    layers: list[Layer]
    constants: dict[str, Array]
    inputs: list[str]
    outputs: list[str]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    opsets: dict[str, int]
    batch: int
    declared: bool = False
    _renamed: int = field(default=0, repr=False)

    def copy(self) -> MutableGraph:
        """Return a graph of its own with the same layers and constants."""
        return replace(
            self,
            layers=list(self.layers),
            constants=dict(self.constants),
            outputs=list(self.outputs),
            shapes=dict(self.shapes),
            dtypes=dict(self.dtypes),
        )

    def uses(self) -> Counter[str]:
        """Count how often each tensor is read; being an output of the model counts once."""
        counts = Counter(name for layer in self.layers for name in layer.inputs if name)
        counts.update(self.outputs)
        return counts

    def producers(self) -> dict[str, Layer]:
        """Return tensor → layer that writes it."""
        return {name: layer for layer in self.layers for name in layer.outputs if name}

    def constant(self, name: str) -> Array | None:
        """Return the value of a constant; None for an activation, and for an absent input."""
        return self.constants.get(name) if name else None

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an activation or a constant; () where it is not known."""
        value = self.constant(name)
        return self.shapes.get(name, ()) if value is None else value.shape

    def add_constant(self, value: Array, near: str) -> str:
        """Store a new constant under a name of its own, for another layer may share the old one.

        Args:
            value: The constant.
            near: The name to have, numbered where it is taken.

        Returns:
            The name.
        """
        name = unique_name(near, lambda n: n in self.constants or n in self.shapes, numbers=self._numbers())
        self.constants[name] = value
        return name

    def _numbers(self) -> Iterator[int]:
        while True:
            self._renamed += 1
            yield self._renamed

    def prune(self) -> None:
        """Drop layers that no output needs, and constants that no layer reads."""
        needed = set(self.outputs)
        kept: list[Layer] = []
        for layer in reversed(self.layers):
            if needed.intersection(layer.outputs):
                kept.append(layer)
                needed.update(layer.inputs)
                needed.update(captured(layer))
        self.layers = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in needed}
        alive = needed.union(self.inputs, *(layer.outputs for layer in self.layers))
        self.shapes = {name: shape for name, shape in self.shapes.items() if name in alive}
        self.dtypes = {name: dtype for name, dtype in self.dtypes.items() if name in alive}


def captured(layer: Layer) -> set[str]:
    """Return the outer tensors that the subgraphs of a layer read."""
    bodies = [v for v in layer.attributes.values() if isinstance(v, onnx.GraphProto)]
    return {name for body in bodies for node in body.node for name in node.input}


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
    return MutableGraph(
        layers, constants, [v.name for v in inputs], names, shapes, dtypes, opsets, sizes.batch, sizes.declared
    )


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
        op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
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


def value_types(values: Iterable[onnx.ValueInfoProto]) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return the static shapes and the types that value infos state."""
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    for value in values:
        kind = value.type.tensor_type
        if value.type.WhichOneof("value") != "tensor_type" or not kind.elem_type:
            continue
        dtypes[value.name] = str(helper.tensor_dtype_to_np_dtype(kind.elem_type))
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            shapes[value.name] = tuple(d.dim_value for d in kind.shape.dim)
    return shapes, dtypes
