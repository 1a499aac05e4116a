"""BatchNormalization over tokens, on a matrix of all their rows (LeViT), becomes arithmetic on the tokens or rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Array, Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph


def rewrite_token_batch_norm(graph: MutableGraph) -> None:
    """Write [N, L, C] → Reshape [N·L, C] → BatchNormalization as Mul and Add over C before the Reshape.

    There the batch keeps its axis, and the linear layer that gives the tokens can take the factors in. Behind other
    layers of rows, [N·L, C], it becomes Mul and Add of the rows.
    """
    producers, uses = graph.producers(), graph.uses()
    layers: list[Layer] = []
    for layer in graph.layers:
        source = layer.inputs[0] if layer.op == "BatchNormalization" else ""
        reshape = producers.get(source)
        if reshape is not None and (uses[source] != 1 or not _keeps_channels(graph, reshape)):
            reshape = None
        if not source or (reshape is None and not _is_of_rows(graph, source)):
            layers.append(layer)
            continue
        values = [graph.constant(name) for name in layer.inputs[1:]]
        if any(value is None for value in values) or layer.attributes.get("training_mode", 0):
            layers.append(layer)
            continue
        scale, shift, mean, variance = (np.asarray(value, np.float64) for value in values)
        factor = scale / np.sqrt(variance + layer.attributes.get("epsilon", 1e-5))
        if reshape is not None:
            layers.remove(reshape)
        layers += _arithmetic(graph, layer, reshape, factor, shift - mean * factor)
    graph.layers = layers


def _keeps_channels(graph: MutableGraph, reshape: Layer) -> bool:
    if reshape.op not in ("Reshape", "Flatten"):
        return False
    source, rows = graph.shapes.get(reshape.inputs[0], ()), graph.shapes.get(reshape.outputs[0], ())
    return len(source) > 2 and len(rows) == 2 and source[-1] == rows[1]


def _is_of_rows(graph: MutableGraph, source: str) -> bool:
    """Whether rows of several places of every sample, [N·L, C], are on one axis."""
    shape = graph.shapes.get(source, ())
    return len(shape) == 2 and shape[0] > graph.batch and shape[0] % graph.batch == 0


def _arithmetic(graph: MutableGraph, norm: Layer, reshape: Layer | None, factor: Array, shift: Array) -> list[Layer]:
    build, out = Builder(graph, norm), norm.outputs[0]
    source = norm.inputs[0] if reshape is None else reshape.inputs[0]
    tokens = graph.shapes[source]
    factors = build.constant(factor, f"{norm.name}/factor")
    shifts = build.constant(shift, f"{norm.name}/shift")
    scaled = build.add("Mul", source, factors, out=f"{out}/scaled", name=f"{norm.name}/Mul", shape=tokens)
    shifted = out if reshape is None else build.declare(f"{out}/shifted", tokens)
    build.keep(op="Add", inputs=(scaled, shifts), outputs=(shifted,), attributes={})
    if reshape is not None:
        build.layers.append(replace(reshape, inputs=(shifted, *reshape.inputs[1:]), outputs=(out,)))
    return build.layers
