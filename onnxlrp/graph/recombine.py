"""Activation functions that exporters, or onnxruntime, write out as their formula become one layer again."""

from __future__ import annotations

import math
from dataclasses import replace

from onnxlrp.graph.draft import Draft
from onnxlrp.graph.graph import Layer


def recombine(draft: Draft) -> None:
    """x * HardSigmoid(x) is HardSwish(x); x * Tanh(Softplus(x)) is Mish(x)."""
    producers, uses = draft.producers(), draft.uses()

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
    for layer in draft.layers:
        op = function(layer) if layer.op == "Mul" else ""
        layers.append(replace(layer, op=op, inputs=(source(layer),), attributes={}) if op else layer)
    draft.layers = layers
