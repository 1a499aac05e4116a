"""Places that computed indices address, as numbers of elements, for the layers that route relevance along them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from .. import operators
from ..graph import Layer, name_of_places
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph


def number_places(graph: MutableGraph) -> None:
    """Add for each layer that reads or writes at indices computed at run time the places that it takes.

    They are read off the layer's own operator, which moves the numbers of the elements of its operand as it moves the
    elements: 0, 1, 2, … through the same Gather, or the same Scatter, where the updates are counted on behind the data.
    Of a Scatter that adds (or takes extremes) they are the places in the data that each update goes to. No layer of the
    model reads them: relevance does.
    """
    layers: list[Layer] = []
    for layer in graph.layers:
        layers += _numbered(graph, layer) if _lacks_places(graph, layer) else [layer]
    graph.layers = layers


def lacks_places(graph: MutableGraph) -> bool:
    """Return whether a layer reads or writes at computed indices and its places are not there."""
    return any(_lacks_places(graph, layer) for layer in graph.layers)


def _lacks_places(graph: MutableGraph, layer: Layer) -> bool:
    return _has_places(graph, layer) and name_of_places(layer.outputs[0]) not in graph.shapes


def _has_places(graph: MutableGraph, layer: Layer) -> bool:
    """Return whether a layer moves numbers that are no constants to or from computed places within each sample."""
    if layer.op not in operators.GATHERS | operators.SCATTERS | {"TopK"}:
        return False
    kind = graph.dtypes.get(layer.outputs[0], "float32")
    if not layer.outputs[0] or np.dtype(kind).kind != "f" or layer.inputs[0] not in graph.shapes:
        return False
    if layer.op == "TopK":  # often of its indices alone
        return layer.outputs[0] in graph.outputs or any(layer.outputs[0] in other.inputs for other in graph.layers)
    # Tuples that name samples address those of all of them.
    tuples = layer.op == "ScatterND" or (layer.op == "GatherND" and not layer.attributes.get("batch_dims", 0))
    moved = all(name in graph.shapes for name in layer.inputs if name)
    return moved and not (tuples and graph.batch != 1)


def _numbered(graph: MutableGraph, layer: Layer) -> list[Layer]:
    build, data = Builder(graph, layer), layer.inputs[0]
    out, size = name_of_places(layer.outputs[0]), math.prod(graph.shape(data)[1:])
    if layer.op == "TopK":
        values, indices, *_ = (*layer.outputs, "")
        indices = indices or f"{name_of_places(values)}/indices"
        graph.shapes[indices], graph.dtypes[indices] = graph.shapes[values], "int64"
        build.keep(outputs=(values, indices))
    else:
        build.keep()
        indices = layer.inputs[1]
    own = _counted(build, data, 0)
    attributes = dict(layer.attributes)
    if layer.op in operators.SCATTERS:
        if attributes.pop("reduction", "none") == "none":
            operands = (own, indices, _counted(build, layer.inputs[2], size))
            build.add(layer.op, *operands, out=out, shape=graph.shapes[data], **attributes)
        else:
            read = "GatherND" if layer.op == "ScatterND" else "GatherElements"
            build.add(read, own, indices, out=out, shape=graph.shapes[layer.inputs[2]], **attributes)
    elif layer.op == "TopK":
        axis = attributes.get("axis", -1)
        build.add("GatherElements", own, indices, out=out, shape=graph.shapes[layer.outputs[0]], axis=axis)
    else:
        build.add(layer.op, own, indices, out=out, shape=graph.shapes[layer.outputs[0]], **attributes)
    graph.dtypes[out] = "int64"
    return build.layers


def _counted(build: Builder, tensor: str, start: int) -> str:
    """Append the numbers of the elements of each sample of a tensor, from `start` on, [N, …] as the tensor."""
    graph, shape = build.graph, build.shape(tensor)
    numbers = f"{name_of_places(build.layer.outputs[0])}/{start}"
    # A constant does not know how many samples there are: it is added to a zero of each element, which x < x is
    # whatever x is.
    steps = (("Less", (tensor, tensor), "bool"), ("Cast", (f"{numbers}/never",), "int64"))
    for (op, operands, kind), part in zip(steps, ("never", "zero"), strict=True):
        kept: dict[str, Any] = {"to": onnx.TensorProto.INT64} if op == "Cast" else {}
        name = build.add(op, *operands, out=f"{numbers}/{part}", shape=shape, **kept)
        graph.dtypes[name] = kind
    own = np.arange(start, start + math.prod(shape[1:])).reshape(1, *shape[1:])
    name = build.add("Add", name, build.integers(own, f"{numbers}/own"), out=numbers, shape=shape)
    graph.dtypes[name] = "int64"
    return name
