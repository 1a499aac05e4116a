"""Free the batch: make it axis 0 of every activation, and check by shape inference that it is nowhere else.

The batch is a prime that no layer has as a width, so that it is told from every other length.
"""

from __future__ import annotations

import copy

import numpy as np

from ...errors import UnsupportedError
from .. import operators
from ..graph import Layer
from ..rewriting.mutable_graph import MutableGraph
from ..rewriting.shape_inference import infer
from .layout import Layout, refuse
from .rewrite import rewrite, scattered


def free_or_fix(graph: MutableGraph) -> MutableGraph:
    """Return the graph for any batch size or, where the model declares one and refuses others, for that one.

    Outputs of whole numbers (classes, counts) are left out where they alone do not keep the batch on axis 0.

    Raises:
        UnsupportedError: A layer mixes samples, or has the batch elsewhere; the message names it.
    """
    try:
        return _free_or_fixed(graph)
    except UnsupportedError:
        scores = [name for name in graph.outputs if not np.issubdtype(graph.dtypes.get(name, "float32"), np.integer)]
        if not scores or scores == graph.outputs:
            raise
        graph.outputs = scores
        graph.prune()
        return _free_or_fixed(graph)


def _free_or_fixed(graph: MutableGraph) -> MutableGraph:
    try:
        freed = free(graph)
        check(freed)
    except UnsupportedError as refusal:
        if not graph.declared:
            raise
        infer(graph)
        try:
            check(graph)
        except UnsupportedError:
            raise refusal from None
        return graph
    return freed


def free(graph: MutableGraph) -> MutableGraph:
    """Return the same model for any batch size, with the prime as the batch in its shapes.

    Raises:
        UnsupportedError: A layer has no equivalent with the batch on axis 0; the message names it.
    """
    freed = copy.copy(graph)
    freed.constants = dict(graph.constants)
    layout = Layout(freed)
    try:
        freed.layers = [stored for layer in graph.layers for stored in rewrite(layout, layer)]
    except UnsupportedError as refusal:
        # The layers that compute the indices mix the samples before: the scattering is the cause to name.
        raise next((why for layer in graph.layers if (why := scattered(graph, layer))), refusal) from None
    freed.batch_axes = layout.of_outputs()
    freed.batch = freed.prime
    infer(freed)
    return freed


def check(graph: MutableGraph) -> None:
    """Check that the batch is axis 0 of every activation and of nothing else, and that no layer mixes samples.

    Raises:
        UnsupportedError: It is not; the message names the layer.
    """
    for layer in graph.layers:
        if layer.op == "BatchNormalization" and layer.attributes.get("training_mode", 0):
            fix = "export the model for inference (model.eval() in PyTorch)"
            raise refuse(layer, "is in training mode: a sample's result depends on the others", fix)
        for name in layer.outputs:
            if not name:
                continue
            shape = graph.shapes.get(name)
            if shape is None:
                raise refuse(layer, "has an output of unknown shape", "export the model with static shapes")
            if (
                not shape
                or shape[0] != graph.batch
                or (graph.batch == graph.prime and any(d % graph.prime == 0 for d in shape[1:]))
            ):
                seen = ", ".join("N" if d == graph.batch else str(d) for d in shape)
                alone = shape[:1] == (1,) and graph.batch == graph.prime
                fix = "if it mixes samples on purpose, export it for one sample: without dynamic axes" if alone else ""
                raise refuse(layer, f"gives [{seen}]: its axis 0 is not the batch", fix)
        if graph.batch != 1 and _mixes_samples(graph, layer):
            raise refuse(layer, "works along the batch axis")
        if graph.batch != 1 and layer.op in operators.ELEMENTWISE and _ranks(graph, layer):
            raise refuse(layer, "reads an activation of a lower rank, whose batch meets another axis")


def _ranks(graph: MutableGraph, layer: Layer) -> bool:
    """Return whether an operand lacks axes: broadcasting then aligns its axis 0, the batch, with another one."""
    rank = len(graph.shapes[layer.outputs[0]])
    return any(0 < len(graph.shapes[name]) < rank for name in layer.inputs if name in graph.shapes)


def _mixes_samples(graph: MutableGraph, layer: Layer) -> bool:
    data = next((i for i in layer.inputs if i in graph.shapes), "")
    rank = len(graph.shapes.get(data, ()))
    default = operators.DEFAULT_AXIS.get(layer.op)
    if default is None or not rank or (layer.op == "Gather" and layer.inputs[0] in graph.constants):
        return False
    return bool(layer.attributes.get("axis", default) % rank == 0)
