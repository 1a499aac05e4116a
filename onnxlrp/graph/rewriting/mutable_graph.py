"""A mutable graph: layers in order, constants, and the shape of every activation, batch included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import onnx
from onnx import helper

from ..frontend.placeholder import PRIME
from ..graph import Array, Head, Layer
from ..names import unique_name
from ..operators import PREVIOUS


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
        prime: The stand-in: it divides no length and no number that the model states.
        batch_axes: As of `Graph.batch_axes`, of outputs.
        explained: As of `Graph.explained`; what its heads need is kept.
        categories: Input of words → column → word → the code that stands for it in the input; 0 for all others.
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
    prime: int = PRIME
    explained: dict[str, tuple[Head, ...]] = field(default_factory=dict)
    batch_axes: dict[str, int] = field(default_factory=dict)
    categories: dict[str, dict[int, dict[str, int]]] = field(default_factory=dict)
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
            explained=dict(self.explained),
            batch_axes=dict(self.batch_axes),
            categories=dict(self.categories),
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

    def states(self) -> set[str]:
        """Return the tensors of states that layers compute for the next step (see `graph.recurrence`)."""
        return {layer.attributes["state"] for layer in self.layers if layer.op == PREVIOUS}

    def _numbers(self) -> Iterator[int]:
        while True:
            self._renamed += 1
            yield self._renamed

    def prune(self) -> None:
        """Drop layers that no output needs, and constants that no layer reads."""
        needed = {*self.outputs, *self.states()}
        needed.update(name for heads in self.explained.values() for head in heads for name in head.needs)
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
