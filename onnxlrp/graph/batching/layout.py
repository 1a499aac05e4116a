"""The axis of the batch in each activation, while a model is rewritten so that it is axis 0 everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import UnsupportedError
from ..graph import Array, Layer
from ..reading.printable import printable
from ..rewriting.builder import Builder, Shape
from ..rewriting.mutable_graph import MutableGraph
from .batch_axis import BatchAxis

FRONT = BatchAxis()


def refuse(layer: Layer, what: str, fix: str = "") -> UnsupportedError:
    """Make an error that names a layer, says what is wrong with it, and how to export the model instead."""
    path = f" ({printable(layer.path)})" if layer.path else ""
    return UnsupportedError(
        f'the {layer.op} node "{printable(layer.name)}"{path} {what}',
        fix or "export the model so that every layer keeps the batch on axis 0",
    )


@dataclass
class Layout:
    """The axis of the batch in each activation.

    Attributes:
        graph: The model; its shapes are those before it is rewritten, at its own batch size.
        batch_axes: Activation → axis of the batch; grows as layers are rewritten.
    """

    graph: MutableGraph
    batch_axes: dict[str, BatchAxis] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.batch_axes.update(dict.fromkeys(self.graph.inputs, FRONT))

    def of_outputs(self) -> dict[str, int]:
        """Return the axis of the batch of the outputs of the model that have it elsewhere than on axis 0.

        Raises:
            UnsupportedError: An output has the batch beside something else on one axis, and not in the model's order.
        """
        found = {}
        for layer in self.graph.layers:
            for name in layer.outputs:
                batch_axis = self.batch_axes.get(name, FRONT)
                if name not in self.graph.outputs or not (batch_axis.axis or batch_axis.pre > 1):
                    continue
                if batch_axis.factors:
                    raise refuse(layer, f'gives the output "{printable(name)}", whose axis 0 is not the batch')
                found[name] = batch_axis.axis
        return found

    def along(self, batch_axis: BatchAxis, axis: int) -> int | None:
        """Return the stored axis of an axis; None for the batch, and for an axis that mixes it with its factors."""
        if axis != batch_axis.axis:
            return batch_axis.stored_axes(axis)[0]
        return axis + 1 if self.graph.batch == 1 and len(batch_axis.factors) == 1 else None

    def activations(self, layer: Layer) -> list[str]:
        """Return the inputs of a layer that are no constants."""
        return [name for name in layer.inputs if name in self.batch_axes]

    def common(self, layer: Layer) -> BatchAxis:
        """Return the axis of the batch that all activations of a layer share.

        Raises:
            UnsupportedError: They have it on different axes.
        """
        batch_axes = {self.batch_axes[name] for name in self.activations(layer)}
        ranks = {len(self.shape(layer, name)) for name in self.activations(layer)}
        if len(batch_axes) == 1 and (len(ranks) == 1 or batch_axes == {FRONT}):
            return batch_axes.pop()
        raise refuse(layer, "reads activations that have the batch on different axes")

    def shape(self, layer: Layer, name: str) -> Shape:
        """Return the shape of an activation that a layer reads or writes.

        Raises:
            UnsupportedError: It is not known; the message names the layer.
        """
        if name not in self.graph.shapes:
            raise refuse(layer, f'has no known shape for "{printable(name)}"', "export the model with static shapes")
        return self.graph.shapes[name]

    def with_constant(self, layer: Layer, position: int, value: Array, **changes: Any) -> Layer:
        """Return the layer with another constant at an input, stored under a name of its own, and other changes."""
        inputs = list(layer.inputs) + [""] * (position + 1 - len(layer.inputs))
        inputs[position] = self.graph.add_constant(value, inputs[position] or f"{layer.outputs[0]}/{position}")
        return replace(layer, inputs=tuple(inputs), **changes)

    def reshape(self, build: Builder, source: str, shape: Shape, out: str) -> str:
        """Append a Reshape of a stored tensor to another shape per sample."""
        return build.reshape(source, (-1, *shape), out, f"{build.layer.name}/{out}", declare=False)


Stored = tuple[BatchAxis, list[Layer]]
# The layers that compute the same on stored tensors, with the axis of the batch in their results.
Rule = Callable[[Layout, Layer], Stored]


def in_front(layout: Layout, layer: Layer) -> Stored:
    """Operators without a rule of their own: the batch must be axis 0, and they stay as they are."""
    if any(layout.batch_axes[name] != FRONT for name in layout.activations(layer)):
        raise refuse(layer, "reads an activation whose axis 0 is not the batch")
    operands = (layout.graph.constant(name) for name in layer.inputs)
    prime = layout.graph.prime
    if layout.graph.batch == prime and any(value is not None and prime in value.shape[:1] for value in operands):
        raise refuse(layer, "has a constant operand with an entry for each sample")
    return FRONT, [layer]
