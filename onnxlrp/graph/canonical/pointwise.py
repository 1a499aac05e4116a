"""Linear maps over channels alone: a convolution of width 1 and a product with a matrix are one, in two layouts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import operators
from ..graph import Array, Layer
from ..rewriting.builder import Builder
from ..rewriting.constant_folding import drop_noops
from ..rewriting.mutable_graph import MutableGraph

_SWAP = (0, 2, 1)  # of tokens [N, T, C] and of their channels first
_MOVES = operators.RESHAPES | {"Transpose", "Identity"}


def write_in_layout(graph: MutableGraph) -> None:
    """Write a map over channels in the layout around it, where transposes lead into another and back.

    A product with a matrix between moves of pictures, [N, C, H, W], is a convolution of width 1; a convolution of width
    1 between transposes of tokens, [N, T, C], is a product with a matrix.

    Args:
        graph: Has the shapes of all activations, and all attributes spelled out.
    """
    _write_pictures(graph)
    uses = graph.uses()
    readers = {name: layer for layer in graph.layers for name in layer.inputs}
    changed: dict[str, Layer] = {}

    def behind(layer: Layer) -> Layer | None:
        return readers.get(layer.outputs[0]) if uses[layer.outputs[0]] == 1 else None

    for first in (layer for layer in graph.layers if layer.op == "Transpose"):
        middle = behind(first)
        if middle is None or middle.op != "Conv" or middle.inputs[0] != first.outputs[0]:
            continue
        weight, last = graph.constant(middle.inputs[1]), behind(middle)
        if weight is None or weight.dtype.kind != "f" or last is None or last.op != "Transpose":
            continue
        perms = tuple(first.attributes["perm"]), tuple(last.attributes["perm"])
        if perms == (_SWAP, _SWAP) and _is_pointwise(middle):
            matrix = np.ascontiguousarray(weight[:, :, 0].T)
            inputs = (first.inputs[0], graph.add_constant(matrix, middle.inputs[1]), *middle.inputs[2:])
            out = middle.outputs[0]
            changed[middle.name] = replace(middle, op="MatMul", attributes={}, inputs=inputs)
            changed[last.name] = replace(last, op="Identity", inputs=(out,), attributes={})
            graph.shapes[out] = graph.shapes[last.outputs[0]]
    if changed:
        graph.layers = [changed.get(layer.name, layer) for layer in graph.layers]
        drop_noops(graph)
    _write_tokens(graph)


def _write_pictures(graph: MutableGraph) -> None:
    """Write products with a constant matrix as convolutions of width 1 where moves lead from a picture and back to one.

    Whichever moves these are: they are followed on the indices of the picture's elements.
    """
    uses, producers = graph.uses(), graph.producers()
    readers = {name: layer for layer in graph.layers for name in layer.inputs}
    changed: dict[str, Layer] = {}
    for layer in graph.layers:
        matrix = [n for n, name in enumerate(layer.inputs) if graph.constant(name) is not None]
        if layer.op != "MatMul" or len(layer.inputs) != 2 or len(matrix) != 1:
            continue
        weight = graph.constants[layer.inputs[matrix[0]]]
        if weight.ndim != 2 or weight.dtype.kind != "f":
            continue
        before: list[Layer] = []
        tensor = layer.inputs[1 - matrix[0]]
        while (move := producers.get(tensor)) is not None and move.op in _MOVES:
            before.insert(0, move)
            tensor = move.inputs[0]
        behind: list[Layer] = []
        tensor, biases = layer.outputs[0], 0
        while uses[tensor] == 1 and (reader := readers.get(tensor)) is not None:
            biases += reader.op == "Add"
            if not (reader.op in _MOVES or (biases == 1 and _adds_constant(graph, reader, tensor))):
                break
            behind.append(reader)
            tensor = reader.outputs[0]
        found = _between_pictures(graph, before, weight.T if matrix[0] else weight, matrix[0] == 1, behind)
        if found is None:
            continue
        source, last, bias = found
        out = last.outputs[0]
        kernel = np.ascontiguousarray(weight.T if matrix[0] else weight)
        kernel = kernel.reshape(*kernel.shape, *[1] * (len(graph.shapes[source]) - 2))
        inputs = [source, graph.add_constant(kernel, layer.inputs[matrix[0]])]
        if bias is not None:
            inputs.append(graph.add_constant(bias.astype(weight.dtype), f"{layer.name}/bias"))
        attributes = _plain(kernel.ndim - 2)
        # Where the last move stands: what it reads comes before it.
        changed[last.name] = replace(layer, op="Conv", attributes=attributes, inputs=tuple(inputs), outputs=(out,))
    if changed:
        gone = {made.name for made in changed.values()}
        kept = (layer for layer in graph.layers if layer.name in changed or layer.name not in gone)
        graph.layers = [changed.get(layer.name, layer) for layer in kept]
        graph.prune()


def _adds_constant(graph: MutableGraph, layer: Layer, tensor: str) -> bool:
    constants = [graph.constants[name] for name in layer.inputs if name in graph.constants]
    same = graph.shapes.get(layer.outputs[0]) == graph.shapes.get(tensor)
    return layer.op == "Add" and same and len(constants) == 1 and constants[0].dtype.kind == "f"


def _between_pictures(
    graph: MutableGraph, before: list[Layer], weight: Array, on_last: bool, behind: list[Layer]
) -> tuple[str, Layer, Array | None] | None:
    """The picture that moves before a product read, the last of those behind it, and the bias; None where it is none.

    Args:
        graph: Has all shapes.
        before: The moves before the product, in order; the first ones may be left out.
        weight: The matrix, [outer, inner].
        on_last: Whether the product is over the last axis, else over the last but one.
        behind: The moves behind the product, in order, and a sum with a constant among them; the last may be left out.
    """
    outer, inner = weight.shape
    for start in range(len(before) - 1, -1, -1):
        picture = graph.shapes.get(before[start].inputs[0], ())
        if len(picture) < 4 or picture[1] != inner:
            continue
        for end, last in enumerate(behind):
            if last.op == "Add" or graph.shapes.get(last.outputs[0], ()) != (picture[0], outer, *picture[2:]):
                continue
            places = int(np.prod(picture[2:]))
            indices = np.arange(inner * places).reshape(1, *picture[1:])
            for move in before[start:]:
                indices = _move(graph, move, indices)
            columns = np.moveaxis(indices, -1 if on_last else -2, 0)
            if (
                len(columns) != inner
                or (columns != columns[0] + places * np.arange(inner).reshape(-1, *[1] * (columns.ndim - 1))).any()
            ):
                continue
            moved = columns[0] + places * np.arange(outer).reshape(-1, *[1] * (columns.ndim - 1))
            moved = np.moveaxis(moved, 0, -1 if on_last else -2)
            bias: Array | None = None
            for move in behind[: end + 1]:
                if move.op != "Add":
                    moved = _move(graph, move, moved)
                    bias = None if bias is None else _move(graph, move, bias)
                    continue
                value = next(graph.constants[name] for name in move.inputs if name in graph.constants)
                if value.ndim > moved.ndim or value.shape[: 1 - moved.ndim] not in ((), (1,)):
                    break
                bias = np.broadcast_to(value, moved.shape)
            else:
                same = (moved.reshape(-1) == np.arange(outer * places)).all()
                rows = None if bias is None else bias.reshape(outer, places)
                if same and (rows is None or (rows == rows[:, :1]).all()):
                    return before[start].inputs[0], last, None if rows is None else rows[:, 0]
    return None


def _move(graph: MutableGraph, move: Layer, values: Array) -> Array:
    """What a move makes of one sample."""
    if move.op == "Transpose":
        return values.transpose(move.attributes["perm"])
    return values.reshape(1, *graph.shapes[move.outputs[0]][1:]) if move.op != "Identity" else values


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


def _is_pointwise(layer: Layer) -> bool:
    attributes = layer.attributes
    single = all(n == 1 for key in ("kernel_shape", "strides") for n in attributes[key])
    return single and attributes["group"] == 1 and not any(attributes["pads"])


def _plain(axes: int) -> dict[str, object]:
    ones = (1,) * axes
    return {"kernel_shape": ones, "strides": ones, "dilations": ones, "pads": (0,) * (2 * axes), "group": 1}
