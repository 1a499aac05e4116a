"""Operators that are others in disguise: Split is slices, negative padding a slice, a Gemm that adds an activation a
Gemm and an Add, Col2Im a transposed convolution, Einsum a MatMul; and what constant_places knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..graph import Layer
from ..rewriting.builder import declare, reshaped, sliced
from ..rewriting.mutable_graph import MutableGraph
from .einsum import einsum
from .scatter import gather_elements, gather_nd, scatter


def lower(graph: MutableGraph) -> None:
    """Replace them in place; the layers that stand for one keep its path, and its name with a number behind it."""
    layers: list[Layer] = []
    for layer in graph.layers:
        rule = _RULES.get(layer.op)
        layers.extend(rule(graph, layer) or [layer] if rule is not None and _known(graph, layer) else [layer])
    graph.layers = layers


def _known(graph: MutableGraph, layer: Layer) -> bool:
    return all(name in graph.shapes or name in graph.constants for name in (*layer.inputs, *layer.outputs) if name)


def _split(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """One Slice for each part, so that no layer on a path has several outputs."""
    source = graph.shapes[layer.inputs[0]]
    axis = layer.attributes.get("axis", 0) % len(source)
    slices, start = [], 0
    for position, out in enumerate(layer.outputs):
        if not out:
            return []
        end = start + graph.shapes[out][axis]
        part = sliced(graph, layer, layer.inputs[0], (start, end), axis, out)
        slices.append(replace(part, name=f"{layer.name}/{position}"))
        start = end
    return slices


def _gemm(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """α·A·B + β·C with C an activation."""
    if len(layer.inputs) < 3 or not layer.inputs[2] or layer.inputs[2] in graph.constants:
        return []
    beta = float(layer.attributes.get("beta", 1.0))
    product, term = f"{layer.outputs[0]}/product", layer.inputs[2]
    declare(graph, product, graph.shapes[layer.outputs[0]], layer.outputs[0])
    layers = [replace(layer, inputs=layer.inputs[:2], outputs=(product,))]
    if beta != 1:
        scaled, factor = (
            f"{layer.outputs[0]}/term",
            graph.add_constant(np.array(beta, np.float32), f"{layer.name}/beta"),
        )
        declare(graph, scaled, graph.shapes[term], layer.outputs[0])
        layers.append(Layer("Mul", f"{layer.name}/beta", layer.path, (term, factor), (scaled,)))
        term = scaled
    return [*layers, Layer("Add", f"{layer.name}/sum", layer.path, (product, term), layer.outputs)]


def _matmul(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Matrices of two activations one for one: where one has a matrix for several, it is repeated."""
    if any(name not in graph.shapes for name in layer.inputs) or len(layer.inputs) != 2:
        return []
    shapes = [graph.shapes[name] for name in layer.inputs]
    lead = graph.shapes[layer.outputs[0]][:-2]
    if len(shapes[0]) != len(shapes[1]) or shapes[0][:-2] == shapes[1][:-2]:
        return []
    layers, inputs = [], list(layer.inputs)
    for i, shape in enumerate(shapes):
        if shape[:-2] != lead:
            target = (*lead, *shape[-2:])
            inputs[i] = declare(graph, f"{layer.outputs[0]}/operand{i}", target, layer.outputs[0])
            operand = graph.add_constant(np.array(target, np.int64), f"{inputs[i]}/shape")
            layers.append(Layer("Expand", inputs[i], layer.path, (layer.inputs[i], operand), (inputs[i],)))
    return [*layers, replace(layer, inputs=tuple(inputs))]


def _pad(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """What a negative amount cuts is cut first."""
    source, amounts = graph.shapes.get(layer.inputs[0], ()), graph.constant(layer.inputs[1])
    axes = graph.constant(layer.inputs[3]) if len(layer.inputs) > 3 else np.arange(len(source))
    if amounts is None or axes is None or not (amounts < 0).any():
        return []
    cut = np.minimum(amounts.reshape(2, -1), 0)
    middle = f"{layer.outputs[0]}/cut"
    shape = np.array(source)
    shape[axes] += cut.sum(axis=0)
    declare(graph, middle, tuple(shape), layer.outputs[0])
    ends = [source[axis] + end for axis, end in zip(axes.tolist(), cut[1].tolist(), strict=True)]
    operands = [graph.add_constant(np.asarray(value, np.int64), f"{middle}/{part}")
                for part, value in (("start", -cut[0]), ("end", ends), ("axes", axes))]  # fmt: skip
    kept = graph.add_constant(np.maximum(amounts, 0), layer.inputs[1])
    return [
        Layer("Slice", f"{layer.name}/cut", layer.path, (layer.inputs[0], *operands), (middle,)),
        replace(layer, inputs=(middle, kept, *layer.inputs[2:])),
    ]


def _col2im(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Blocks [N, C·kernel, L] laid over an image: side by side where they do not overlap, added where they do."""
    image, kernel = (graph.constant(name) for name in layer.inputs[1:3])
    source = graph.shapes[layer.inputs[0]]
    if image is None or kernel is None:
        return []
    rank = len(kernel)
    strides, pads, dilations = (layer.attributes.get(key, default) for key, default in (
        ("strides", (1,) * rank), ("pads", (0,) * 2 * rank), ("dilations", (1,) * rank)))  # fmt: skip
    begin, end = pads[:rank], pads[rank:]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel.tolist(), dilations, strict=True)]
    total = zip(image.tolist(), begin, end, reach, strides, strict=True)
    counts = [(n + b + e - r) // s + 1 for n, b, e, r, s in total]
    inside = int(np.prod(kernel))
    channels, out = source[1] // inside, layer.outputs[0]
    blocks = f"{out}/blocks"
    if tuple(strides) == tuple(kernel) and set(dilations) == {1} and not any(pads):
        grid = tuple(n for pair in zip(counts, kernel.tolist(), strict=True) for n in pair)
        if all(c * k == n for c, k, n in zip(counts, kernel.tolist(), image.tolist(), strict=True)):
            order = (0, 1, *(axis for i in range(rank) for axis in (2 + rank + i, 2 + i)))
            laid = declare(graph, f"{out}/laid", (source[0], channels, *grid), out)
            return [
                reshaped(graph, layer, layer.inputs[0], (source[0], channels, *kernel.tolist(), *counts), blocks),
                Layer("Transpose", laid, layer.path, (blocks,), (laid,), {"perm": order}),
                reshaped(graph, layer, laid, graph.shapes[out], out),
            ]
    # Each element of a block is a channel of its own, whose kernel is one there and nothing elsewhere.
    ones = np.tile(np.eye(inside, dtype=np.float32).reshape(inside, 1, *kernel), (channels, 1, *[1] * rank))
    spread = [(c - 1) * s + r - b - e for c, s, r, b, e in zip(counts, strides, reach, begin, end, strict=True)]
    extra = tuple(n - covered for n, covered in zip(image.tolist(), spread, strict=True))
    attributes = {"kernel_shape": tuple(kernel.tolist()), "strides": tuple(strides), "pads": tuple(pads),
                  "dilations": tuple(dilations), "group": channels, "output_padding": extra}  # fmt: skip
    weight = graph.add_constant(ones, f"{layer.name}/ones")
    spread_out = replace(layer, op="ConvTranspose", inputs=(blocks, weight), attributes=attributes)
    return [reshaped(graph, layer, layer.inputs[0], (*source[:2], *counts), blocks), spread_out]


_RULES: dict[str, Callable[[MutableGraph, Layer], list[Layer]]] = {
    "Split": _split,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": _pad,
    "Col2Im": _col2im,
    "Einsum": einsum,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter,
    "ScatterND": scatter,
}
