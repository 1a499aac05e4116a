"""Axes of tensors traced back to the axes of the explained input."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..graph import Graph, Layer, Tensor
from ..operators import CONVOLUTIONS, GLOBAL_POOLS, KEEPS_AXES, MATRIX_PRODUCTS, REDUCTIONS, RESHAPES, WINDOW_POOLS
from .parts import (
    NOWHERE,
    Axes,
    Axis,
    Picked,
    is_placed,
    joined,
    length_of,
    merged,
    picked,
    reshaped,
    resized,
    unplaced,
    whole,
)

POOLS = WINDOW_POOLS | GLOBAL_POOLS


def trace_axes(graph: Graph, source: Tensor) -> dict[str, Axes]:
    """The axes of every tensor that depends on `source`, an input of the graph, in terms of the input's axes.

    Transposing, reshaping, elementwise operators, pooling and convolutions keep track of places; the filters of a
    convolution and the columns of a product are FEATURES. Tokens beside the places, as that of a class, and a roll of
    an axis are Picked. Tensors behind an operator that nothing is known of are left out.
    """
    known: dict[str, Axes] = {source.name: tuple(whole(axis, n) for axis, n in enumerate(source.shape))}
    for layer in graph.layers:
        if not any(name in known for name in layer.inputs):
            continue
        for name in layer.outputs:
            shape = graph.shapes.get(name)
            found = None if shape is None else _result(graph, layer, known, shape)
            if found is not None and shape is not None and len(found) == len(shape):
                known[name] = found
    return known


def contracted(graph: Graph, layer: Layer, axes: Axes, position: int) -> tuple[Axis, Axes] | None:
    """The axis of a product's operand at `position` that the product sums over, and the operand's other axes.

    None for an Einsum that sums over none of its axes, or over several.
    """
    if layer.op == "Einsum":
        terms, result = einsum_terms(layer)
        word = terms[position][len(terms[position]) - len(axes) :] if "." not in "".join(terms) else ""
        gone = [n for n, letter in enumerate(word) if letter not in result]
        if len(gone) != 1:
            return None
        at = gone[0]
    else:
        at = len(axes) - (2 if position == 1 and len(axes) > 1 else 1)
    return (axes[at], axes[:at] + axes[at + 1 :]) if axes else None


def selected(graph: Graph, layer: Layer) -> tuple[int, tuple[int, ...]] | None:
    """The one axis of a sample that a Slice or Gather selects positions of, and the positions, in their order.

    None where it is another operator, its positions are no constants, or it cuts several axes.
    """
    shape = graph.shapes.get(layer.inputs[0])
    operands = [graph.constants.get(name) for name in layer.inputs[1:] if name]
    if shape is None or any(value is None for value in operands):
        return None
    if layer.op == "Gather" and operands:
        at = full_axis(int(layer.attributes.get("axis", 0)), len(shape))
        if at < 0 or operands[0] is None:
            return None
        return at, tuple(int(n) % shape[at] for n in operands[0].reshape(-1))
    if layer.op != "Slice" or len(operands) < 2:
        return None
    starts, ends, *more = (np.asarray(value).reshape(-1).tolist() for value in operands)
    axes = more[0] if more else list(range(len(starts)))
    steps = more[1] if len(more) > 1 else [1] * len(starts)
    cut = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = full_axis(axis, len(shape))
        if at < 0:
            return None
        taken = range(shape[at])[start:end:step]
        if taken != range(shape[at]):
            cut.append((at, tuple(taken)))
    return cut[0] if len(cut) == 1 else None


def full_axis(axis: int, rank: int) -> int:
    """An axis as ONNX counts it, with the batch, among the `rank` axes of a sample."""
    return axis - 1 if axis >= 0 else axis + rank


# -- one operator


def _result(graph: Graph, layer: Layer, known: Mapping[str, Axes], shape: tuple[int, ...]) -> Axes | None:
    op = layer.op
    first = known.get(layer.inputs[0])
    if op in _BY_OPERATOR:
        return _BY_OPERATOR[op](graph, layer, known, shape)
    if op in CONVOLUTIONS | POOLS and first is not None:
        places = tuple(resized(axis, n) for axis, n in zip(first[1:], shape[1:], strict=False))
        return (unplaced(shape[0]) if op in CONVOLUTIONS else first[0], *places)
    if op in RESHAPES and first is not None:
        return reshaped(first, shape)
    if op in REDUCTIONS and first is not None:
        return _reduced(graph, layer, first, shape)
    if op == "Concat":
        beside = _beside(graph, layer, known)
        if beside is not None:
            return beside
    if op == "Slice" and first is not None:
        found = selected(graph, layer)
        if found is not None and any(isinstance(part[0], Picked) for part in first[found[0]]):
            return (*first[: found[0]], picked(first[found[0]], found[1]), *first[found[0] + 1 :])
    if op in KEEPS_AXES:
        tracked = [axes for name in layer.inputs if (axes := known.get(name)) is not None and len(axes) == len(shape)]
        met = joined([tuple(resized(a, n) for a, n in zip(axes, shape, strict=True)) for axes in tracked])
        return met if tracked else None
    return _elementwise(graph, layer, known, shape)


def _elementwise(graph: Graph, layer: Layer, known: Mapping[str, Axes], shape: tuple[int, ...]) -> Axes | None:
    """Of an operator whose result has the broadcast shape of its operands: it is taken to act at each place."""
    tracked = []
    for name in layer.inputs:
        axes, own = known.get(name), graph.shapes.get(name, ())
        if axes is None:
            continue
        if len(own) != len(shape) or any(n not in (1, wide) for n, wide in zip(own, shape, strict=True)):
            return None
        tracked.append(tuple(a if n == wide else () for a, n, wide in zip(axes, own, shape, strict=True)))
    if not tracked:
        return None
    return tuple(axis or unplaced(n) for axis, n in zip(joined(tracked), shape, strict=True))


def _transposed(graph: Graph, layer: Layer, known: Mapping[str, Axes], shape: tuple[int, ...]) -> Axes | None:
    axes, order = known.get(layer.inputs[0]), layer.attributes.get("perm")
    if axes is None or order is None or order[0] != 0:
        return None
    return tuple(axes[axis - 1] for axis in order[1:])


def _multiplied(graph: Graph, layer: Layer, known: Mapping[str, Axes], shape: tuple[int, ...]) -> Axes | None:
    if layer.op == "Einsum":
        return _einsum(graph, layer, known, shape)
    left, right = (known.get(name) for name in layer.inputs[:2])
    if left is not None and right is not None:
        if len(left) != len(right) or len(left) < 2:
            return None
        return (*joined([left[:-2], right[:-2]]), left[-2], right[-1])
    if left is not None:
        return (*left[:-1], unplaced(shape[-1])) if len(shape) == len(left) else None
    if right is None or len(shape) != len(right) or len(right) < 2:
        return None
    return (*right[:-2], unplaced(shape[-2]), right[-1])


def _einsum(graph: Graph, layer: Layer, known: Mapping[str, Axes], shape: tuple[int, ...]) -> Axes | None:
    terms, result = einsum_terms(layer)
    if "." in "".join(terms) or len(result) != len(shape) + 1:
        return None
    letters: dict[str, Axis] = {}
    for term, name in zip(terms, layer.inputs, strict=True):
        for letter, axis in zip(term[1:], known.get(name, ()), strict=False):
            letters.setdefault(letter, axis)
    return tuple(letters.get(letter) or unplaced(n) for letter, n in zip(result[1:], shape, strict=True))


def _gathered(graph: Graph, layer: Layer, known: Mapping[str, Axes], shape: tuple[int, ...]) -> Axes | None:
    data, indices = layer.inputs[:2]
    if indices in known and data in graph.constants:  # an embedding
        more = shape[len(known[indices]) :]
        return (*known[indices], *map(unplaced, more))
    axes = known.get(data)
    if axes is None or indices not in graph.constants:
        return None
    at = full_axis(layer.attributes.get("axis", 0), len(axes))
    if at < 0:
        return None
    count = len(graph.constant_shape(indices))
    if count == 1 and any(isinstance(part[0], Picked) for part in axes[at]):
        found = selected(graph, layer)
        assert found is not None
        return (*axes[:at], picked(axes[at], found[1]), *axes[at + 1 :])
    middle = (resized(axes[at], shape[at]),) if count == 1 else tuple(map(unplaced, shape[at : at + count]))
    return (*axes[:at], *middle, *axes[at + 1 :])


def _beside(graph: Graph, layer: Layer, known: Mapping[str, Axes]) -> Axes | None:
    """The axes of operands side by side, where one has places among others that have none, or where they roll an axis.

    Tokens of nowhere are constants, as that of the class, and what is computed of all places, as their mean.
    """
    rank = len(graph.shapes[layer.outputs[0]])
    at = full_axis(int(layer.attributes["axis"]), rank)
    if at < 0:
        return None
    rolled = _rolled(graph, layer, known, at)
    if rolled is not None:
        return rolled
    index: list[int] = []
    placed: list[Axes] = []
    for name in layer.inputs:
        axes = known.get(name)
        if axes is None and not (name in graph.constants or _is_fixed(graph, name)):
            return None
        length = graph.constant_shape(name)[at + 1] if name in graph.constants else graph.shapes[name][at]
        if axes is not None and is_placed(axes[at]):
            placed.append(axes)
            index.extend(range(length))
        else:
            index.extend([NOWHERE] * length)
    if len(placed) != 1:
        return None
    others = joined([axes for name in layer.inputs if (axes := known.get(name)) is not None])
    return (*others[:at], picked(placed[0][at], index), *others[at + 1 :])


def _rolled(graph: Graph, layer: Layer, known: Mapping[str, Axes], at: int) -> Axes | None:
    """The axes of a tensor whose slices are side by side in another order."""
    makers = [graph.producer(name) for name in layer.inputs]
    if len(makers) < 2 or any(maker is None or maker.op != "Slice" for maker in makers):
        return None
    sources = {maker.inputs[0] for maker in makers if maker is not None}
    found = [selected(graph, maker) for maker in makers if maker is not None]
    axes = known.get(sources.pop()) if len(sources) == 1 else None
    if axes is None or any(one is None or one[0] != at for one in found):
        return None
    index = [n for one in found if one is not None for n in one[1]]
    if sorted(index) != list(range(length_of(axes[at]))):
        return None
    return (*axes[:at], picked(axes[at], index), *axes[at + 1 :])


def _is_fixed(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is computed of constants and the batch alone."""
    layer = graph.producer(tensor)
    return layer is not None and all(name in graph.constants or _is_fixed(graph, name) for name in layer.inputs if name)


def _space_to_depth(graph: Graph, layer: Layer, known: Mapping[str, Axes], shape: tuple[int, ...]) -> Axes | None:
    axes, side = known.get(layer.inputs[0]), layer.attributes["blocksize"]
    if axes is None:
        return None
    rows, columns = (reshaped((axis,), (n, side)) for axis, n in zip(axes[1:], shape[1:], strict=True))
    return merged([rows[1], columns[1], axes[0]]), rows[0], columns[0]


def _depth_to_space(graph: Graph, layer: Layer, known: Mapping[str, Axes], shape: tuple[int, ...]) -> Axes | None:
    axes = known.get(layer.inputs[0])
    return None if axes is None else (unplaced(shape[0]), *map(resized, axes[1:], shape[1:]))


_BY_OPERATOR: Mapping[str, Callable[[Graph, Layer, Mapping[str, Axes], tuple[int, ...]], Axes | None]] = {
    "Transpose": _transposed,
    **dict.fromkeys(MATRIX_PRODUCTS, _multiplied),
    "Gather": _gathered,
    "SpaceToDepth": _space_to_depth,
    "DepthToSpace": _depth_to_space,
}


def _reduced(graph: Graph, layer: Layer, axes: Axes, shape: tuple[int, ...]) -> Axes | None:
    if len(shape) == len(axes):
        return tuple(resized(axis, n) for axis, n in zip(axes, shape, strict=True))
    over = layer.attributes.get("axes")
    if over is None and len(layer.inputs) > 1 and layer.inputs[1] in graph.constants:
        over = graph.constants[layer.inputs[1]].tolist()
    gone = {full_axis(axis, len(axes)) for axis in over or ()}
    return tuple(axis for n, axis in enumerate(axes) if n not in gone)


def einsum_terms(layer: Layer) -> tuple[list[str], str]:
    """The letters of each operand of an Einsum, and those of its result."""
    equation = layer.attributes["equation"]
    text = (equation.decode() if isinstance(equation, bytes) else equation).replace(" ", "")
    left, _, right = text.partition("->")
    return left.split(","), right
