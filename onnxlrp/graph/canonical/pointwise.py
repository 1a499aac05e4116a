"""Linear maps over channels alone: a convolution of width 1 and a product with a matrix are one, in two layouts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import operators
from ..graph import Layer
from ..rewriting.builder import Builder
from ..rewriting.constant_folding import drop_noops
from ..rewriting.mutable_graph import MutableGraph

_SWAP = (0, 2, 1)  # of tokens [N, T, C] and of their channels first


def write_in_layout(graph: MutableGraph) -> None:
    """Write a map over channels in the layout around it, where transposes lead into another and back.

    A product with a matrix between transposes of pictures, [N, C, H, W], is a convolution of width 1; a convolution of
    width 1 between transposes of tokens, [N, T, C], is a product with a matrix.

    Args:
        graph: Has the shapes of all activations, and all attributes spelled out.
    """
    uses = graph.uses()
    readers = {name: layer for layer in graph.layers for name in layer.inputs}
    changed: dict[str, Layer] = {}

    def behind(layer: Layer) -> Layer | None:
        return readers.get(layer.outputs[0]) if uses[layer.outputs[0]] == 1 else None

    for first in (layer for layer in graph.layers if layer.op == "Transpose"):
        middle = behind(first)
        if middle is None or middle.inputs[0] != first.outputs[0]:
            continue
        rank = len(first.attributes["perm"])
        to_last, to_second = (0, *range(2, rank), 1), (0, rank - 1, *range(1, rank - 1))
        weight = graph.constant(middle.inputs[1]) if len(middle.inputs) > 1 else None
        if weight is None or weight.dtype.kind != "f":
            continue
        bias = behind(middle) if middle.op == "MatMul" else None
        if bias is not None and not _is_bias(graph, bias, middle.outputs[0], weight.shape[-1]):
            bias = None
        last = behind(bias or middle)
        if last is None or last.op != "Transpose":
            continue
        perms = tuple(first.attributes["perm"]), tuple(last.attributes["perm"])
        source, out = first.inputs[0], (bias or middle).outputs[0]
        if middle.op == "MatMul" and weight.ndim == 2 and rank > 3 and perms == (to_last, to_second):
            kernel = np.ascontiguousarray(weight.T).reshape(*weight.shape[::-1], *[1] * (rank - 2))
            made = replace(middle, op="Conv", attributes=_plain(rank - 2))
            inputs = [source, graph.add_constant(kernel, middle.inputs[1])]
            if bias is not None:
                name = next(name for name in bias.inputs if name in graph.constants)
                flat = np.broadcast_to(graph.constants[name].reshape(-1), weight.shape[-1:])
                inputs.append(graph.add_constant(np.array(flat), name))
        elif middle.op == "Conv" and rank == 3 and perms == ((0, 2, 1), (0, 2, 1)) and _is_pointwise(middle):
            matrix = np.ascontiguousarray(weight[:, :, 0].T)
            made = replace(middle, op="MatMul", attributes={})
            inputs = [source, graph.add_constant(matrix, middle.inputs[1]), *middle.inputs[2:]]
        else:
            continue
        changed[middle.name] = replace(made, inputs=tuple(inputs), outputs=(out,))
        if bias is not None:
            changed[bias.name] = replace(bias, op="", inputs=())
        changed[last.name] = replace(last, op="Identity", inputs=(out,), attributes={})
        graph.shapes[out] = graph.shapes[last.outputs[0]]
    if changed:
        made_layers = (changed.get(layer.name, layer) for layer in graph.layers)
        graph.layers = [layer for layer in made_layers if layer.op]
        drop_noops(graph)
    _write_tokens(graph)


def _write_tokens(graph: MutableGraph) -> None:
    """Write convolutions of width 1 behind a transpose of tokens as products with a matrix.

    Behind them, and functions of single elements between them, the transpose is undone, or what they give is an operand
    of a product of activations, as the keys of attention are.
    """
    if not any(layer.op == "Conv" and len(graph.shape(layer.outputs[0])) == 3 for layer in graph.layers):
        return
    graph.prune()  # a transpose that nobody reads any more is no reader
    readers: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        for name in dict.fromkeys(layer.inputs):
            readers.setdefault(name, []).append(layer)
    for name in graph.outputs:
        readers.setdefault(name, []).append(Layer("", "", "", (name,), ()))  # the model's reader
    changed: dict[str, list[Layer]] = {}
    for first in graph.layers:
        if first.op != "Transpose" or tuple(first.attributes["perm"]) != _SWAP:
            continue
        for reader in readers.get(first.outputs[0], ()):
            path, end = _path(graph, readers, first.outputs[0], reader)
            if end is None or reader.name in changed:
                continue
            source, out = first.inputs[0], path[-1].outputs[0]
            for layer in path:
                made = layer
                if layer.op == "Conv":
                    matrix = np.ascontiguousarray(graph.constants[layer.inputs[1]][:, :, 0].T)
                    stored = graph.add_constant(matrix, layer.inputs[1])
                    made = replace(layer, op="MatMul", attributes={}, inputs=(source, stored, *layer.inputs[2:]))
                else:
                    made = replace(layer, inputs=tuple(source if n in graph.shapes else n for n in layer.inputs))
                source = layer.outputs[0]
                changed[layer.name] = [made]
            shape = graph.shapes[out]
            for layer in path:
                n, channels, length = graph.shapes[layer.outputs[0]]
                graph.shapes[layer.outputs[0]] = (n, length, channels)
            if end.op == "Transpose":
                changed[end.name] = [replace(end, op="Identity", inputs=(out,), attributes={})]
            else:
                build = Builder(graph, path[-1])
                tokens = build.declare(f"{out}/tokens", graph.shapes[out])
                last = replace(changed[path[-1].name][0], outputs=(tokens,))
                build.add("Transpose", tokens, out=out, shape=shape, perm=_SWAP)
                changed[path[-1].name] = [last, *build.layers]
    if changed:
        graph.layers = [made for layer in graph.layers for made in changed.get(layer.name, [layer])]
        drop_noops(graph)


def _path(
    graph: MutableGraph, readers: dict[str, list[Layer]], tensor: str, layer: Layer
) -> tuple[list[Layer], Layer | None]:
    """The layers from a reader of transposed tokens to where they are tokens again, and what reads these."""
    path: list[Layer] = []
    while True:
        live = [name for name in layer.inputs if name and name not in graph.constants]
        if layer.op == "Transpose" and tuple(layer.attributes["perm"]) == _SWAP:
            break
        if layer.op == "MatMul" and len(live) == 2:
            break
        constants = [graph.constants[name] for name in layer.inputs if name in graph.constants]
        pointwise = layer.op == "Conv" and live == [tensor] and layer.inputs[0] == tensor and _is_pointwise(layer)
        single = layer.op in operators.ELEMENTWISE and live == [tensor] and all(value.size == 1 for value in constants)
        if not (pointwise and len(graph.shapes[tensor]) == 3 and constants[0].dtype.kind == "f") and not single:
            return [], None
        path.append(layer)
        if len(layer.outputs) != 1 or len(readers.get(layer.outputs[0], ())) != 1:
            return [], None
        tensor = layer.outputs[0]
        (layer,) = readers[tensor]
    return (path, layer) if any(part.op == "Conv" for part in path) else ([], None)


def _is_bias(graph: MutableGraph, layer: Layer, tensor: str, width: int) -> bool:
    """Whether a layer adds one constant number for each channel on the last axis."""
    constants = [graph.constants[name] for name in layer.inputs if name in graph.constants]
    if layer.op != "Add" or len(constants) != 1 or tensor not in layer.inputs:
        return False
    (value,) = constants
    return value.dtype.kind == "f" and value.size in (1, width) and value.shape[-1:] in ((), (value.size,))


def _is_pointwise(layer: Layer) -> bool:
    attributes = layer.attributes
    single = all(n == 1 for key in ("kernel_shape", "strides") for n in attributes[key])
    return single and attributes["group"] == 1 and not any(attributes["pads"])


def _plain(axes: int) -> dict[str, object]:
    ones = (1,) * axes
    return {"kernel_shape": ones, "strides": ones, "dilations": ones, "pads": (0,) * (2 * axes), "group": 1}
