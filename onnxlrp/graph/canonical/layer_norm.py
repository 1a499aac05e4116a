"""A layer normalisation that stands as its formula becomes one layer, with its gain and bias."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..graph import Layer
from ..rewriting.mutable_graph import MutableGraph

_SINCE = {"LayerNormalization": 17, "RMSNormalization": 23}


def fuse_layer_norm(graph: MutableGraph) -> None:
    """Write (x − mean x) / √(mean (x − mean x)² + ε) over the last axis as LayerNormalization.

    Without the means of x it is an RMSNormalization. A product and a sum with constants of the last axis behind it are
    its gain and bias. The square may be a Pow or a product, the root a Sqrt or a Pow, a divisor or a reciprocal.

    Args:
        graph: Has the shapes of all activations.
    """
    if not any(layer.op in ("Sqrt", "Pow") for layer in graph.layers):
        return
    formulas = _Formulas(graph)
    layers = [formulas.normalised(layer) for layer in graph.layers]
    if layers != graph.layers:
        graph.layers = layers
        _take_gain_and_bias(graph)


@dataclass(eq=False)
class _Formulas:
    graph: MutableGraph

    def __post_init__(self) -> None:
        self.producers = self.graph.producers()

    def normalised(self, layer: Layer) -> Layer:
        """Return the normalisation that a layer is the end of, or the layer."""
        if layer.op not in ("Div", "Mul") or len(layer.inputs) != 2:
            return layer
        for standard, norm in (layer.inputs, layer.inputs[::-1])[: 1 if layer.op == "Div" else 2]:
            variance = self._variance(norm, inverted=layer.op == "Mul")
            if variance is None:
                continue
            of, epsilon = variance
            if of != standard:
                continue
            x = self._uncentred(standard)
            op = "RMSNormalization" if x is None else "LayerNormalization"
            source = standard if x is None else x
            width = self.graph.shape(source)[-1:]
            if self.graph.opsets.get("", 23) < _SINCE[op] or source not in self.graph.shapes or len(width) != 1:
                continue
            gain = self.graph.add_constant(np.ones(width, np.float32), f"{layer.name}/gain")
            return replace(layer, op=op, inputs=(source, gain), attributes={"axis": -1, "epsilon": epsilon})
        return layer

    def _variance(self, tensor: str, inverted: bool) -> tuple[str, float] | None:
        """(v, ε) where a tensor is √(mean v² + ε) over the last axis, or its inverse."""
        layer = self.producers.get(tensor)
        if layer is not None and inverted and layer.op in ("Reciprocal", "Div"):
            if layer.op == "Div" and self._number(layer.inputs[0]) != 1:
                return None
            layer, inverted = self.producers.get(layer.inputs[-1]), False
        if layer is None:
            return None
        exponent = 0.5 if layer.op == "Sqrt" else self._number(layer.inputs[1]) if layer.op == "Pow" else None
        if exponent != (-0.5 if inverted else 0.5):
            return None
        sum_ = self.producers.get(layer.inputs[0])
        if sum_ is None or sum_.op != "Add":
            return None
        for mean, epsilon in (sum_.inputs, sum_.inputs[::-1]):
            small = self._number(epsilon)
            squared = self.producers.get(self._mean_of(mean) or "")
            if small is None or squared is None:
                continue
            if squared.op == "Mul" and squared.inputs[0] == squared.inputs[1]:
                return squared.inputs[0], small
            if squared.op == "Pow" and self._number(squared.inputs[1]) == 2:
                return squared.inputs[0], small
        return None

    def _uncentred(self, tensor: str) -> str | None:
        """The tensor x where this one is x − mean x over the last axis."""
        layer = self.producers.get(tensor)
        if layer is None or layer.op != "Sub":
            return None
        return layer.inputs[0] if self._mean_of(layer.inputs[1]) == layer.inputs[0] else None

    def _mean_of(self, tensor: str) -> str | None:
        """The tensor of which this one is the mean over the last axis, which is kept."""
        layer = self.producers.get(tensor)
        if layer is None or layer.op != "ReduceMean" or not layer.attributes.get("keepdims", 1):
            return None
        given = self.graph.constant(layer.inputs[1]) if len(layer.inputs) > 1 else None
        axes = given.reshape(-1).tolist() if given is not None else list(layer.attributes.get("axes", ()))
        rank = len(self.graph.shape(layer.inputs[0]))
        return layer.inputs[0] if len(axes) == 1 and rank > 1 and axes[0] % rank == rank - 1 else None

    def _number(self, name: str) -> float | None:
        value = self.graph.constant(name)
        return None if value is None or value.size != 1 else float(value.reshape(()))


def _take_gain_and_bias(graph: MutableGraph) -> None:
    """Take a product and a sum with constants of the last axis, which alone read a normalisation, into it."""
    uses = graph.uses()
    position: dict[str, int] = {}
    kept: list[Layer] = []
    for layer in graph.layers:
        live = [name for name in layer.inputs if name not in graph.constants]
        at = position.get(live[0]) if len(live) == 1 and layer.op in ("Mul", "Add") and uses[live[0]] == 1 else None
        taken = None if at is None else _taken(graph, kept[at], layer)
        if at is not None and taken is not None:
            kept[at] = taken
        else:
            at = len(kept)
            kept.append(layer)
        if kept[at].op in _SINCE:
            position[kept[at].outputs[0]] = at
    graph.layers = kept


def _taken(graph: MutableGraph, norm: Layer, layer: Layer) -> Layer | None:
    name = next((name for name in layer.inputs if name in graph.constants), "")
    value, width = graph.constant(name), graph.shape(norm.inputs[1])
    if (
        value is None
        or value.dtype.kind != "f"
        or value.size not in (1, *width)
        or value.shape[-1:] not in ((), (value.size,))
    ):
        return None
    vector = np.array(np.broadcast_to(value.reshape(-1), width))
    if layer.op == "Add":
        if len(norm.inputs) > 2 or norm.op == "RMSNormalization":
            return None
        return replace(norm, inputs=(*norm.inputs, graph.add_constant(vector, name)), outputs=layer.outputs)
    if len(norm.inputs) > 2:
        return None
    gain = graph.add_constant(graph.constants[norm.inputs[1]] * vector, name)
    return replace(norm, inputs=(norm.inputs[0], gain), outputs=layer.outputs)
