"""Conditions of Where as numbers, for rules that weight its branches."""

from __future__ import annotations

import onnx

from ..graph import Layer, name_of_condition
from ..rewriting.mutable_graph import MutableGraph


def number_conditions(graph: MutableGraph) -> None:
    """Add the condition of each Where as a number too, 1 where it holds and 0 elsewhere.

    No layer of the model reads it: the relevance of the branches does.
    """
    layers: list[Layer] = []
    for layer in graph.layers:
        name = layer.inputs[0] if layer.op == "Where" else ""
        number = name_of_condition(name)
        if name and name not in graph.constants and number not in graph.shapes:
            graph.shapes[number], graph.dtypes[number] = graph.shapes[name], "float32"
            layers.append(Layer("Cast", number, layer.path, (name,), (number,), {"to": onnx.TensorProto.FLOAT}))
        layers.append(layer)
    graph.layers = layers
