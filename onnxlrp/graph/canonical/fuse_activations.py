"""Activation functions that exporters, or onnxruntime, write out as their formula become one layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ..graph import Array, Layer
from ..rewriting.mutable_graph import MutableGraph


def fuse_activations(graph: MutableGraph) -> None:
    """Write HardSwish, Mish and (from opset 20 on) Gelu as one layer where they stand as their formula.

    HardSwish is x·HardSigmoid(x), Mish x·Tanh(Softplus(x)); Gelu is told by its values, however it is written.

    Args:
        graph: Has all attributes spelled out.
    """
    producers, uses = graph.producers(), graph.uses()

    def only(name: str, op: str) -> Layer | None:
        """The producer of a tensor that nobody else reads."""
        layer = producers.get(name)
        return layer if layer is not None and layer.op == op and uses[name] == 1 else None

    def function(layer: Layer) -> str:
        for x, gate in (layer.inputs, layer.inputs[::-1]):
            hard = only(gate, "HardSigmoid")
            if hard is not None and hard.inputs[0] == x:
                slope, offset = hard.attributes["alpha"], hard.attributes["beta"]
                if math.isclose(slope, 1 / 6, rel_tol=1e-6) and offset == 0.5:
                    return "HardSwish"
            tanh = only(gate, "Tanh")
            softplus = only(tanh.inputs[0], "Softplus") if tanh is not None else None
            if softplus is not None and softplus.inputs[0] == x:
                return "Mish"
        return ""

    def source(layer: Layer) -> str:
        return next(i for i in layer.inputs if only(i, "HardSigmoid") is None and only(i, "Tanh") is None)

    layers = []
    for layer in graph.layers:
        op = function(layer) if layer.op == "Mul" else ""
        layers.append(replace(layer, op=op, inputs=(source(layer),), attributes={}) if op else layer)
    graph.layers = layers
    if graph.opsets.get("", 0) >= 20:
        _gelus(graph)


_FORMULA: dict[str, Callable[..., Array]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Tanh": np.tanh,
    "Erf": np.vectorize(math.erf, otypes=[np.float64]),
}  # fmt: skip
_POINTS = np.linspace(-4.0, 4.0, 33)
_LONGEST = 10  # layers of a formula


def _gelus(graph: MutableGraph) -> None:
    """A product that is the function Gelu of a tensor, however it is written; nobody else reads what is in between."""
    producers, uses = graph.producers(), graph.uses()
    normal = (1 + _FORMULA["Erf"](_POINTS * math.sqrt(0.5))) / 2
    inner = math.sqrt(2 / math.pi) * (_POINTS + 0.044715 * _POINTS**3)
    forms = {"none": _POINTS * normal, "tanh": _POINTS * (1 + np.tanh(inner)) / 2}

    def values(name: str, x: str, within: dict[str, Layer]) -> Array | None:
        """The numbers of a tensor at the points x; `within` gets the layers in between."""
        constant = graph.constant(name)
        if name == x or constant is not None:
            return _POINTS if constant is None else constant.reshape(-1) if constant.size == 1 else None
        layer = producers.get(name)
        if layer is None or layer.op not in _FORMULA or (layer.name not in within and len(within) == _LONGEST):
            return None
        within[layer.name] = layer
        operands = [values(i, x, within) for i in layer.inputs]
        with np.errstate(all="ignore"):
            return None if any(v is None for v in operands) else _FORMULA[layer.op](*operands)

    def gelu(layer: Layer) -> Layer:
        for x in _before(layer, producers):
            within: dict[str, Layer] = {}
            found = values(layer.outputs[0], x, within)
            form = next((k for k, v in forms.items() if found is not None and np.allclose(found, v, atol=1e-5)), "")
            read = [i for other in within.values() for i in other.inputs]
            inside = (other.outputs[0] for other in within.values() if other is not layer)
            if form and all(uses[name] == read.count(name) for name in inside):
                return replace(layer, op="Gelu", inputs=(x,), attributes={"approximate": form})
        return layer

    if any(layer.op in ("Tanh", "Erf") for layer in graph.layers):
        graph.layers = [gelu(layer) if layer.op == "Mul" else layer for layer in graph.layers]


def _before(layer: Layer, producers: dict[str, Layer]) -> Iterator[str]:
    """The tensors that a formula which ends at this layer may be a function of."""
    seen, open_ = dict.fromkeys(layer.inputs), list(layer.inputs)
    for _ in range(_LONGEST):
        producer = producers.get(open_.pop(0)) if open_ else None
        if producer is not None and producer.op in _FORMULA:
            open_ += [name for name in producer.inputs if name not in seen]
            seen.update(dict.fromkeys(producer.inputs))
    return iter(seen)
