"""One step of each sample at an index that is computed at run time, such as the last of a sequence, as a GatherND."""

from __future__ import annotations

import numpy as np

from .. import operators
from ..graph import Layer
from ..rewriting.builder import Builder, Shape
from ..rewriting.mutable_graph import MutableGraph


def by_elements(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """A GatherElements of one place, the same for all elements of a sample: y.gather(1, last.expand(…))."""
    data, shape = layer.inputs[0], graph.shapes[layer.inputs[0]]
    if layer.inputs[0] in graph.constants or layer.inputs[1] in graph.constants or not shape:
        return []
    axis = layer.attributes.get("axis", 0) % len(shape)
    if graph.shapes[layer.outputs[0]] != (*shape[:axis], 1, *shape[axis + 1 :]):
        return []
    indices = _one_for_each_sample(graph, layer.inputs[1])
    batch = [i for i, n in enumerate(graph.shapes.get(indices, ())) if n == graph.batch]
    if len(batch) != 1 or len(graph.shapes[indices]) != len(shape) or batch[0] == axis:
        return []
    return _picked(graph, layer, data, indices, (batch[0], axis))


def by_tuples(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """A GatherND by tuples of a sample's own number and an index: y[torch.arange(N), last]."""
    data, shape = layer.inputs[0], graph.shape(layer.inputs[0])
    own = graph.shape(layer.inputs[1])
    if data in graph.constants or layer.inputs[1] in graph.constants:
        return []
    if layer.attributes.get("batch_dims", 0) == 1 and own == (graph.batch, 1, 1) and shape[0] == graph.batch:
        return _picked(graph, layer, data, layer.inputs[1], (0, 1))
    joined = graph.producers().get(layer.inputs[1])
    if layer.attributes.get("batch_dims", 0) or joined is None or joined.op != "Concat" or own != (graph.batch, 2):
        return []
    parts = joined.inputs
    for place in (0, 1):
        if len(parts) == 2 and _counts(graph, parts[place], 1) and shape[place] == graph.batch:
            return _picked(graph, layer, data, parts[1 - place], (place, 1 - place))
    return []


def by_rows(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """A Gather of rows of all samples, one behind the other, at a sample's first row and an index."""
    data, shape, producers = layer.inputs[0], graph.shape(layer.inputs[0]), graph.producers()
    added = producers.get(layer.inputs[1])
    if data in graph.constants or added is None or added.op != "Add" or layer.attributes.get("axis", 0) % len(shape):
        return []
    if shape[0] % graph.batch or graph.shapes[layer.inputs[1]] != (graph.batch,):
        return []
    steps = shape[0] // graph.batch
    for place in (0, 1):
        if _counts(graph, added.inputs[place], steps) and added.inputs[1 - place] not in graph.constants:
            build = Builder(graph, layer)
            rows = build.reshape(data, (graph.batch, steps, *shape[1:]), f"{build.out}/steps")
            graph.dtypes[rows] = graph.dtypes[data]
            return [*build.layers, *_picked(graph, layer, rows, added.inputs[1 - place], (0, 1))]
    return []


def _one_for_each_sample(graph: MutableGraph, tensor: str) -> str:
    """Return the tensor of one number for each sample of which this one holds copies, in the same order of axes."""
    producers, found = graph.producers(), tensor
    while (layer := producers.get(tensor)) is not None:
        if layer.op not in operators.RESHAPES and layer.op not in operators.COPIES and layer.op != "Expand":
            break
        rank = len(graph.shapes[tensor])
        tensor = layer.inputs[0]
        shape: Shape = graph.shape(tensor)
        if int(np.prod(shape)) == graph.batch and len(shape) == rank:
            return tensor
    return found


def _counts(graph: MutableGraph, name: str, step: int) -> bool:
    """Return whether a constant is 0, step, 2 step, …, one number for each sample."""
    value = graph.constant(name)
    return value is not None and np.array_equal(value.reshape(-1), np.arange(graph.batch) * step)


def _picked(graph: MutableGraph, layer: Layer, data: str, indices: str, axes: tuple[int, int]) -> list[Layer]:
    """Return the layers that pick one step of each sample; `axes` are those of the batch and of the steps in data."""
    build, shape = Builder(graph, layer), graph.shapes[data]
    order = (*axes, *(axis for axis in range(len(shape)) if axis not in axes))
    column = build.reshape(indices, (graph.batch, 1), f"{build.out}/indices")
    graph.dtypes[column] = graph.dtypes[indices]
    if order != tuple(range(len(shape))):
        turned = f"{build.out}/turned"
        build.add("Transpose", data, out=turned, shape=tuple(shape[a] for a in order), perm=order)
        data = turned
    picked = f"{build.out}/picked"
    rest = tuple(shape[a] for a in order[2:])
    build.add("GatherND", data, column, out=picked, shape=(graph.batch, *rest), name=layer.name, batch_dims=1)
    build.reshape(picked, graph.shapes[build.out], build.out, f"{layer.name}/in_shape")
    return build.layers
