"""Operators that standard layers express are written as these, so that fewer operators need rules."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...lazy import function
from .. import operators
from ..graph import Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph


def lower(graph: MutableGraph) -> None:
    """Replace the layers that others express.

    Split becomes slices, negative padding a slice, a Gemm that adds an activation a Gemm and an Add, a Col2Im a
    transposed convolution, a Fourier transform a product with a matrix or a convolution, the OneHot of an input a
    Gather from a table, as the comparison of its integers with each number, a GridSample gathering and a weighted
    sum, an Einsum of activations a MatMul, gathering and scattering by constant indices a Gather, a nearest-neighbour
    Resize a Gather for each axis, a ReverseSequence a Gather or a GatherND within each sample, one step of each
    sample a GatherND within it, tuples of a sample's own number and computed indices gathering and scattering within
    the sample, a reduction over axes of length 1 a Reshape.
    The new layers keep the path of the one that they stand for, and its name with more behind it.

    Args:
        graph: Changed in place. Layers with unknown shapes stay.
    """
    layers: list[Layer] = []
    for layer in graph.layers:
        rule = LOWERINGS.get(layer.op)
        layers.extend(rule(graph, layer) or [layer] if rule is not None and _known(graph, layer) else [layer])
    graph.layers = layers


def _known(graph: MutableGraph, layer: Layer) -> bool:
    return all(name in graph.shapes or name in graph.constants for name in (*layer.inputs, *layer.outputs) if name)


def _split(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """One Slice for each part, so that no layer on a path has several outputs."""
    source = graph.shapes[layer.inputs[0]]
    axis = layer.attributes.get("axis", 0) % len(source)
    build, start = Builder(graph, layer), 0
    for position, out in enumerate(layer.outputs):
        if not out:
            return []
        end = start + graph.shapes[out][axis]
        build.slice(layer.inputs[0], (start, end), axis, out, name=f"{layer.name}/{position}")
        start = end
    return build.layers


def _gemm(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """α·A·B + β·C with C an activation."""
    if len(layer.inputs) < 3 or not layer.inputs[2] or layer.inputs[2] in graph.constants:
        return []
    build, beta, term = Builder(graph, layer), float(layer.attributes.get("beta", 1.0)), layer.inputs[2]
    product = build.declare(f"{build.out}/product", graph.shapes[build.out])
    build.keep(inputs=layer.inputs[:2], outputs=(product,))
    if beta != 1:
        name = f"{layer.name}/beta"
        factor = build.constant(np.array(beta, np.float32), name)
        term = build.add("Mul", term, factor, out=f"{build.out}/term", name=name, shape=graph.shapes[term])
    build.add("Add", product, term, name=f"{layer.name}/sum")
    return build.layers


def _matmul(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Matrices of two activations one for one: where one has a matrix for several, it is repeated."""
    if any(name not in graph.shapes for name in layer.inputs) or len(layer.inputs) != 2:
        return []
    shapes = [graph.shapes[name] for name in layer.inputs]
    lead = graph.shapes[layer.outputs[0]][:-2]
    if len(shapes[0]) != len(shapes[1]) or shapes[0][:-2] == shapes[1][:-2]:
        return []
    build, inputs = Builder(graph, layer), list(layer.inputs)
    for i, shape in enumerate(shapes):
        if shape[:-2] != lead:
            target, out = (*lead, *shape[-2:]), f"{build.out}/operand{i}"
            build.declare(out, target)
            operand = build.integers(target, f"{out}/shape")
            inputs[i] = build.add("Expand", layer.inputs[i], operand, out=out, name=out)
    build.keep(inputs=tuple(inputs))
    return build.layers


def _pad(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Negative amounts: a Slice cuts first. Long axes that are reflected: slices side by side."""
    source, amounts = graph.shapes.get(layer.inputs[0], ()), graph.constant(layer.inputs[1])
    axes = graph.constant(layer.inputs[3]) if len(layer.inputs) > 3 else np.arange(len(source))
    if amounts is None or axes is None:
        return []
    if not (amounts < 0).any():
        from . import borders

        return borders.pad(graph, layer)
    build = Builder(graph, layer)
    cut, middle = np.minimum(amounts.reshape(2, -1), 0), f"{build.out}/cut"
    shape = np.array(source)
    shape[axes] += cut.sum(axis=0)
    ends = [source[axis] + end for axis, end in zip(axes.tolist(), cut[1].tolist(), strict=True)]
    bounds = (("start", -cut[0]), ("end", ends), ("axes", axes))
    operands = [build.integers(value, f"{middle}/{part}") for part, value in bounds]
    build.add("Slice", layer.inputs[0], *operands, out=middle, name=f"{layer.name}/cut", shape=tuple(shape))
    kept = build.constant(np.maximum(amounts, 0), layer.inputs[1])
    build.keep(inputs=(middle, kept, *layer.inputs[2:]))
    return build.layers


def _of_one(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """A reduction over axes of length 1: the same elements."""
    source, target = graph.shapes[layer.inputs[0]], graph.shapes[layer.outputs[0]]
    if math.prod(source) != math.prod(target) or 0 in source:
        return []
    build = Builder(graph, layer)
    build.reshape(layer.inputs[0], target, build.out)
    return build.layers


def _gather_elements(graph: MutableGraph, layer: Layer) -> list[Layer]:
    from . import scatter, steps

    return scatter.gather_elements(graph, layer) or steps.by_elements(graph, layer)


def _gather_nd(graph: MutableGraph, layer: Layer) -> list[Layer]:
    from . import scatter, steps, tuples

    return scatter.gather_nd(graph, layer) or steps.by_tuples(graph, layer) or tuples.gather_within(graph, layer)


def _scatter_nd(graph: MutableGraph, layer: Layer) -> list[Layer]:
    from . import scatter, tuples

    return scatter.scatter(graph, layer) or tuples.scatter_within(graph, layer)


def _one_hot(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Integers of an input: rows of a table that holds `on` on its diagonal."""
    ids, depth, values = layer.inputs
    if graph.constant(depth) is None or graph.constant(values) is None or not _of_input(graph, ids):
        return []
    off, on = np.asarray(graph.constants[values]).reshape(-1)
    rank, build = len(graph.shapes[ids]), Builder(graph, layer)
    axis = int(layer.attributes.get("axis", -1)) % (rank + 1)
    depth_of = int(graph.constants[depth].reshape(-1)[0])
    table = build.constant(np.where(np.eye(depth_of, dtype=bool), on, off).astype(np.float32), f"{layer.name}/table")
    if axis == rank:
        build.keep(op="Gather", inputs=(table, ids), attributes={"axis": 0})
        return build.layers
    rows = build.declare(f"{build.out}/rows", (*graph.shapes[ids], depth_of))
    build.keep(op="Gather", inputs=(table, ids), outputs=(rows,), attributes={"axis": 0})
    order = (*range(axis), rank, *range(axis, rank))
    build.add("Transpose", rows, name=f"{layer.name}/out", perm=order)
    return build.layers


def _compared_with_all(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Integers of an input compared with 0, 1, … along a last axis, as numbers: what OneHot gives."""
    if graph.dtypes.get(layer.inputs[0]) != "bool" or not graph.dtypes.get(layer.outputs[0], "").startswith("float"):
        return []
    producers = graph.producers()
    equal = producers.get(layer.inputs[0])
    if equal is None or equal.op != "Equal":
        return []
    numbers = next((graph.constant(name) for name in equal.inputs if graph.constant(name) is not None), None)
    ids = next((name for name in equal.inputs if name not in graph.constants), None)
    if numbers is None or ids is None or numbers.size < 2 or numbers.shape[-1] != numbers.size:
        return []
    shape, count = graph.shapes[ids], numbers.size
    if not shape or shape[-1] != 1 or graph.shapes[layer.outputs[0]] != (*shape[:-1], count):
        return []
    if not np.array_equal(numbers.reshape(-1), np.arange(count)) or not _of_input(graph, ids):
        return []
    build = Builder(graph, layer)
    plain = build.reshape(ids, shape[:-1], f"{build.out}/ids")
    graph.dtypes[plain] = graph.dtypes[ids]
    table = build.constant(np.eye(count, dtype=np.float32), f"{layer.name}/table")
    build.keep(op="Gather", inputs=(table, plain), attributes={"axis": 0})
    return build.layers


def _of_input(graph: MutableGraph, name: str) -> bool:
    """Whether integers are those of an input, moved or cast at most."""
    producers = graph.producers()
    while name in producers:
        layer = producers[name]
        if layer.op not in operators.KEEPS_IDS or layer.op not in operators.RESHAPES | operators.COPIES:
            return False
        name = layer.inputs[0]
    return name in graph.inputs and graph.dtypes.get(name, "").startswith(("int", "uint"))


_scatter = function(__package__, ".scatter", "scatter")

LOWERINGS: dict[str, Callable[[MutableGraph, Layer], list[Layer]]] = {
    "Split": _split,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": _pad,
    "Col2Im": function(__package__, ".col2im", "col2im"),
    "DFT": function(__package__, ".fourier", "dft"),
    "STFT": function(__package__, ".fourier", "stft"),
    "OneHot": _one_hot,
    "Cast": _compared_with_all,
    "Einsum": function(__package__, ".einsum", "einsum"),
    "Resize": function(__package__, ".resize", "resize"),
    "GridSample": function(__package__, ".sampling", "sample"),
    "Gather": function(__package__, ".steps", "by_rows"),
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ReverseSequence": function(__package__, ".reverse", "reverse"),
    "ScatterElements": _scatter,
    "ScatterND": _scatter_nd,
    **dict.fromkeys(operators.KEEP_ONE, _of_one),
}
