"""Operators that are others in disguise: Split is slices, negative padding a slice, a Gemm that adds an activation a
Gemm and an Add, gathering or scattering at constant places a Gather from the flat sample, or slices side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from onnxlrp.graph.draft import Draft
from onnxlrp.graph.graph import Array, Layer


def lower(draft: Draft) -> None:
    """Replace them in place; the layers that stand for one keep its path, and its name with a number behind it."""
    layers: list[Layer] = []
    for layer in draft.layers:
        rule = _RULES.get(layer.op)
        layers.extend(rule(draft, layer) or [layer] if rule is not None and _known(draft, layer) else [layer])
    draft.layers = layers


def _known(draft: Draft, layer: Layer) -> bool:
    return all(name in draft.shapes or name in draft.constants for name in (*layer.inputs, *layer.outputs) if name)


def _split(draft: Draft, layer: Layer) -> list[Layer]:
    """One Slice for each part, so that no layer on a path has several outputs."""
    source = draft.shapes[layer.inputs[0]]
    axis = layer.attributes.get("axis", 0) % len(source)
    slices, start = [], 0
    for position, out in enumerate(layer.outputs):
        if not out:
            return []
        end = start + draft.shapes[out][axis]
        slices.append(_slice(draft, layer, layer.inputs[0], out, axis, start, end, f"{layer.name}/{position}"))
        start = end
    return slices


def _slice(draft: Draft, layer: Layer, source: str, out: str, axis: int, start: int, end: int, name: str) -> Layer:
    where = [draft.add_constant(np.array([v], np.int64), f"{out}/{part}")
             for part, v in (("start", start), ("end", end), ("axis", axis))]  # fmt: skip
    return Layer("Slice", name, layer.path, (source, *where), (out,))


def _gemm(draft: Draft, layer: Layer) -> list[Layer]:
    """α·A·B + β·C with C an activation."""
    if len(layer.inputs) < 3 or not layer.inputs[2] or layer.inputs[2] in draft.constants:
        return []
    beta = float(layer.attributes.get("beta", 1.0))
    product, term = f"{layer.outputs[0]}/product", layer.inputs[2]
    _declare(draft, product, draft.shapes[layer.outputs[0]], layer.outputs[0])
    layers = [replace(layer, inputs=layer.inputs[:2], outputs=(product,))]
    if beta != 1:
        scaled, factor = (
            f"{layer.outputs[0]}/term",
            draft.add_constant(np.array(beta, np.float32), f"{layer.name}/beta"),
        )
        _declare(draft, scaled, draft.shapes[term], layer.outputs[0])
        layers.append(Layer("Mul", f"{layer.name}/beta", layer.path, (term, factor), (scaled,)))
        term = scaled
    return [*layers, Layer("Add", f"{layer.name}/sum", layer.path, (product, term), layer.outputs)]


def _pad(draft: Draft, layer: Layer) -> list[Layer]:
    """What a negative amount cuts is cut first."""
    source, amounts = draft.shapes.get(layer.inputs[0], ()), draft.constant(layer.inputs[1])
    axes = draft.constant(layer.inputs[3]) if len(layer.inputs) > 3 else np.arange(len(source))
    if amounts is None or axes is None or not (amounts < 0).any():
        return []
    cut = np.minimum(amounts.reshape(2, -1), 0)
    middle = f"{layer.outputs[0]}/cut"
    shape = np.array(source)
    shape[axes] += cut.sum(axis=0)
    _declare(draft, middle, tuple(shape), layer.outputs[0])
    ends = [source[axis] + end for axis, end in zip(axes.tolist(), cut[1].tolist(), strict=True)]
    operands = [draft.add_constant(np.asarray(value, np.int64), f"{middle}/{part}")
                for part, value in (("start", -cut[0]), ("end", ends), ("axes", axes))]  # fmt: skip
    kept = draft.add_constant(np.maximum(amounts, 0), layer.inputs[1])
    return [
        Layer("Slice", f"{layer.name}/cut", layer.path, (layer.inputs[0], *operands), (middle,)),
        replace(layer, inputs=(middle, kept, *layer.inputs[2:])),
    ]


# -- constant places


def _gather_elements(draft: Draft, layer: Layer) -> list[Layer]:
    source, shape = layer.inputs[0], draft.shapes.get(layer.inputs[0], ())
    places = _elements(draft, layer, shape, layer.attributes.get("axis", 0))
    return [] if places is None else _from_flat(draft, layer, source, shape, places)


def _gather_nd(draft: Draft, layer: Layer) -> list[Layer]:
    source, shape = layer.inputs[0], draft.shapes.get(layer.inputs[0], ())
    places = _tuples(draft, layer, shape, layer.attributes.get("batch_dims", 0))
    return [] if places is None else _from_flat(draft, layer, source, shape, places)


def _elements(draft: Draft, layer: Layer, shape: tuple[int, ...], axis: int) -> Array | None:
    """Where in a sample, [rest of the index shape], GatherElements and ScatterElements reach; None where samples
    differ, or are mixed."""
    indices = draft.constant(layer.inputs[1])
    axis = axis % len(shape) if shape else 0
    if indices is None or not axis or not _alike(indices) or indices.shape[0] != shape[0]:
        return None
    row = indices[0] % shape[axis]
    places = list(np.indices(row.shape))
    places[axis - 1] = row
    return np.asarray(np.ravel_multi_index(places, shape[1:]))


def _tuples(draft: Draft, layer: Layer, shape: tuple[int, ...], batch_dims: int) -> Array | None:
    """The same of GatherND and ScatterND, whose indices are tuples on their last axis."""
    indices = draft.constant(layer.inputs[1])
    if indices is None or not shape or indices.ndim < 2 or indices.shape[0] != shape[0]:
        return None
    depth = indices.shape[-1]
    if batch_dims == 0:
        # Each sample names itself first.
        own = np.arange(shape[0]).reshape(-1, *([1] * (indices.ndim - 2)))
        if depth < 1 or not (indices[..., 0] % shape[0] == own).all():
            return None
        indices, depth = indices[..., 1:], depth - 1
    elif batch_dims > 1:
        return None
    if not _alike(indices):
        return None
    inner = np.arange(int(np.prod(shape[1:]))).reshape(shape[1:])
    return np.asarray(inner[tuple(indices[0, ..., i] for i in range(depth))])


def _alike(indices: Array) -> bool:
    return bool((indices == indices[:1]).all())


def _from_flat(draft: Draft, layer: Layer, source: str, shape: tuple[int, ...], places: Array) -> list[Layer]:
    """y = flat(x)[places]."""
    flat = _flattened(draft, layer, source, shape)
    indices = draft.add_constant(places.astype(np.int64), f"{layer.outputs[0]}/places")
    return [flat, replace(layer, op="Gather", inputs=(flat.outputs[0], indices), attributes={"axis": 1})]


def _flattened(draft: Draft, layer: Layer, source: str, shape: tuple[int, ...]) -> Layer:
    length = int(np.prod(shape[1:]))
    target = draft.add_constant(np.array([shape[0], length], np.int64), f"{layer.outputs[0]}/{source}/shape")
    out = f"{layer.outputs[0]}/{source}/flat"
    _declare(draft, out, (shape[0], length), layer.outputs[0])
    return Layer("Reshape", f"{layer.name}/{source}", layer.path, (source, target), (out,))


def _scatter(draft: Draft, layer: Layer) -> list[Layer]:
    """Elements replaced: of a box, by slices side by side; else by a Gather from the data and the updates."""
    data, _, updates = layer.inputs[:3]
    shape = draft.shapes.get(data) or draft.constants[data].shape
    constant = draft.constant(updates)
    if layer.attributes.get("reduction", "none") != "none" or (constant is not None and data in draft.constants):
        return []
    if layer.op == "ScatterND":
        places = _tuples(draft, layer, shape, 0)
    else:
        places = _elements(draft, layer, shape, layer.attributes.get("axis", 0))
    if places is None or len(np.unique(places)) != places.size:
        return []
    box = _box(places, shape[1:])
    if box is not None:
        whole = (shape[0], *(b - a for a, b in box))
        target = draft.add_constant(np.array(whole, np.int64), f"{layer.outputs[0]}/box/shape")
        boxed = f"{layer.outputs[0]}/box"
        if constant is not None:
            boxed = draft.add_constant(constant.reshape(whole), boxed)
            return _inserted(draft, layer, data, shape, boxed, box, layer.outputs[0])
        _declare(draft, boxed, whole, layer.outputs[0])
        reshaped = Layer("Reshape", f"{layer.name}/box", layer.path, (updates, target), (boxed,))
        return [reshaped, *_inserted(draft, layer, data, shape, boxed, box, layer.outputs[0])]
    if data in draft.constants or constant is not None:
        return []
    flats = [_flattened(draft, layer, name, draft.shapes[name]) for name in dict.fromkeys((data, updates))]
    size = int(np.prod(shape[1:]))
    source = np.arange(size)
    source[places.reshape(-1)] = size + np.arange(places.size)
    both = f"{layer.outputs[0]}/both"
    _declare(draft, both, (shape[0], size + places.size), layer.outputs[0])
    ends = (flats[0].outputs[0], flats[-1].outputs[0])
    joined = Layer("Concat", f"{layer.name}/both", layer.path, ends, (both,), {"axis": 1})
    indices = draft.add_constant(source.reshape(shape[1:]), f"{layer.outputs[0]}/places")
    return [*flats, joined, replace(layer, op="Gather", inputs=(both, indices), attributes={"axis": 1})]


def _box(places: Array, shape: tuple[int, ...]) -> list[tuple[int, int]] | None:
    """The box that the places are, in its own order."""
    coordinates = np.unravel_index(places.reshape(-1), shape)
    box = [(int(c.min()), int(c.max()) + 1) for c in coordinates]
    inner = np.arange(int(np.prod(shape))).reshape(shape)[tuple(slice(a, b) for a, b in box)]
    return box if np.array_equal(inner.reshape(-1), places.reshape(-1)) else None


def _inserted(
    draft: Draft,
    layer: Layer,
    data: str,
    shape: tuple[int, ...],
    updates: str,
    box: list[tuple[int, int]],
    out: str,
) -> list[Layer]:
    """Along one axis: what stands before the box, the box (with its other axes), what stands behind it."""
    axis = next((i for i, ((a, b), n) in enumerate(zip(box, shape[1:], strict=True), 1) if (a, b) != (0, n)), 0)
    if not axis:
        return [Layer("Identity", f"{layer.name}/{out}", layer.path, (updates,), (out,))]
    layers: list[Layer] = []
    (start, end), length = box[axis - 1], shape[axis]

    def piece(a: int, b: int) -> str:
        if data in draft.constants:
            part = draft.constants[data][tuple(slice(a, b) if i == axis else slice(None) for i in range(len(shape)))]
            return draft.add_constant(np.ascontiguousarray(part), f"{out}/{a}")
        name = f"{out}/{axis}/{a}"
        _declare(draft, name, tuple(b - a if i == axis else n for i, n in enumerate(shape)), layer.outputs[0])
        layers.append(_slice(draft, layer, data, name, axis, a, b, f"{layer.name}/{name}"))
        return name

    rest = [(0, end - start) if i == axis else bounds for i, bounds in enumerate(box, 1)]
    inner_shape = tuple(end - start if i == axis else n for i, n in enumerate(shape))
    middle = updates
    if any(bounds != (0, n) for bounds, n in zip(rest, inner_shape[1:], strict=True)):
        middle = f"{out}/{axis}"
        _declare(draft, middle, inner_shape, layer.outputs[0])
        layers.extend(_inserted(draft, layer, piece(start, end), inner_shape, updates, rest, middle))
    before = [piece(0, start)] if start else []
    behind = [piece(end, length)] if end < length else []
    joined = Layer("Concat", f"{layer.name}/{out}", layer.path, (*before, middle, *behind), (out,), {"axis": axis})
    return [*layers, joined]


def _declare(draft: Draft, name: str, shape: tuple[int, ...], like: str) -> None:
    draft.shapes[name] = tuple(int(n) for n in shape)
    if like in draft.dtypes:
        draft.dtypes[name] = draft.dtypes[like]


_RULES: dict[str, Callable[[Draft, Layer], list[Layer]]] = {
    "Split": _split,
    "Gemm": _gemm,
    "Pad": _pad,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
}
