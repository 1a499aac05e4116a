"""One way to write the product with a constant matrix: a Gemm without factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Layer
from ..rewriting.mutable_graph import MutableGraph
from ..writing.to_onnx import is_floating


def write_as_gemm(graph: MutableGraph) -> None:
    """Turn a MatMul of a matrix with a constant into a Gemm, and move a Gemm's alpha and beta into its constants.

    Args:
        graph: Has the shapes of all activations, and all attributes spelled out.
    """
    graph.layers = [_gemm(graph, layer) for layer in graph.layers]


def _gemm(graph: MutableGraph, layer: Layer) -> Layer:
    weight = graph.constant(layer.inputs[1]) if len(layer.inputs) > 1 else None
    if weight is None or weight.ndim != 2 or not is_floating(weight):
        return layer
    if layer.op == "MatMul" and len(graph.shapes.get(layer.inputs[0], ())) == 2:
        attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        return replace(layer, op="Gemm", attributes=attributes)
    if layer.op != "Gemm" or layer.attributes["transA"]:
        return layer
    inputs, attributes = list(layer.inputs), dict(layer.attributes)
    if attributes["alpha"] != 1:
        inputs[1] = graph.add_constant(weight.astype(np.float64) * attributes["alpha"], inputs[1])
        attributes["alpha"] = 1.0
    bias = graph.constant(inputs[2]) if len(inputs) > 2 else None
    width = graph.shapes[layer.outputs[0]][1]
    if bias is not None and bias.size in (1, width):
        if attributes["beta"] != 1:
            bias = bias.astype(np.float64) * attributes["beta"]
            attributes["beta"] = 1.0
        if bias is not graph.constants[inputs[2]] or bias.shape != (width,):
            inputs[2] = graph.add_constant(np.array(np.broadcast_to(bias.reshape(-1), (width,))), inputs[2])
    return replace(layer, inputs=tuple(inputs), attributes=attributes)
