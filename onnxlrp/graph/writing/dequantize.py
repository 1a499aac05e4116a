"""DequantizeLinear as arithmetic, for runtimes that optimise it inexactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import TensorProto

from ..graph import Array, Graph, Layer


def dequantize_by_arithmetic(graph: Graph) -> Graph:
    """Write each DequantizeLinear as y = (x - z)·s: a Cast, a Sub and a Mul, equal to it bit by bit.

    onnxruntime's optimiser knows quantised models by their DequantizeLinear. It then rounds float weights
    (WeightBiasQuantization), merges two scales in a row (DoubleQDQPairsRemover) and puts integer kernels in place of
    layers, by default and at every level above none. A graph without one is computed as it stands, wherever it runs.

    Args:
        graph: The graph, not changed. A DequantizeLinear by blocks, or whose scale is no constant, stays.
    """
    constants = dict(graph.constants)
    layers: list[Layer] = []
    for layer in graph.layers:
        layers += _written(graph, layer, constants) or [layer]
    return replace(graph, layers=tuple(layers), constants=constants)


def _written(graph: Graph, layer: Layer, constants: dict[str, Array]) -> list[Layer]:
    if layer.op != "DequantizeLinear" or layer.attributes.get("block_size", 0):
        return []
    x, scale_name, zero_name = (*layer.inputs, "")[:3]
    scale, zero = constants.get(scale_name), constants.get(zero_name)
    out = layer.outputs[0]
    if scale is None or x in constants or out not in graph.shapes or (zero_name and zero is None):
        return []
    rank = len(graph.shapes[out]) + 1
    axis = int(layer.attributes.get("axis", 1)) % rank

    def constant(name: str, value: Array) -> str:
        along = value.reshape([-1 if i == axis else 1 for i in range(rank)]) if value.size > 1 else value.reshape(())
        constants[f"{out}/{name}"] = along.astype(np.float32)
        return f"{out}/{name}"

    whole = f"{out}/whole"
    layers = [Layer("Cast", whole, layer.path, (x,), (whole,), {"to": TensorProto.FLOAT})]
    if zero is not None and zero.any():
        moved = f"{out}/moved"
        layers.append(Layer("Sub", moved, layer.path, (whole, constant("zero", zero)), (moved,)))
        whole = moved
    return [*layers, Layer("Mul", layer.name, layer.path, (whole, constant("scale", scale)), (out,))]
