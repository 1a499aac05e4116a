"""Follow the batch through a model and rewrite each layer so that the batch is axis 0 of what it reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.draft import Draft
from onnxlrp.graph.frames import SPATIAL, over_frames, pooled_whole
from onnxlrp.graph.graph import Array, Layer, ops
from onnxlrp.graph.names import printable
from onnxlrp.graph.place import Place, Shape, place_after_reshape

_FRONT = Place()
_ELEMENTWISE = ops(
    """Add Sub Mul Div Pow Max Min Sum Mean Where PRelu Mod And Or Xor Not Equal Greater GreaterOrEqual Less
    LessOrEqual IsNaN IsInf Relu LeakyRelu Elu Selu Celu Clip HardSwish HardSigmoid Sigmoid Tanh Gelu Erf Mish
    Softplus Softsign Sqrt Exp Log Abs Neg Reciprocal Sign Sin Cos Floor Ceil Round Cast Identity
    Dropout QuantizeLinear DequantizeLinear"""
)


def refuse(layer: Layer, what: str, fix: str = "") -> UnsupportedError:
    """An error that names a layer."""
    path = f" ({printable(layer.path)})" if layer.path else ""
    return UnsupportedError(
        f'The {layer.op} node "{printable(layer.name)}"{path} {what}.',
        fix or "Export the model so that every layer keeps the batch on axis 0.",
    )


@dataclass
class Layout:
    """Where the batch of each activation lies. `draft.shapes` are the model's own shapes, at `draft.batch`."""

    draft: Draft
    places: dict[str, Place] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places.update(dict.fromkeys(self.draft.inputs, _FRONT))

    def store(self, layer: Layer) -> list[Layer]:
        """The layers that compute the same on stored tensors."""
        rule = _RULES.get(layer.op) or (_elementwise if layer.op in _ELEMENTWISE else _in_front)
        place, layers = rule(self, layer)
        self.places.update(dict.fromkeys((name for name in layer.outputs if name), place))
        return layers

    def check_outputs(self) -> None:
        """An output of the model keeps its order of elements."""
        for layer in self.draft.layers:
            for name in layer.outputs:
                place = self.places.get(name, _FRONT)
                if name in self.draft.outputs and (place.axis or place.pre > 1):
                    raise refuse(layer, f'gives the output "{printable(name)}", whose axis 0 is not the batch')

    def activations(self, layer: Layer) -> list[str]:
        return [name for name in layer.inputs if name in self.places]

    def common(self, layer: Layer) -> Place:
        """The place that all activations of a layer share."""
        places = {self.places[name] for name in self.activations(layer)}
        ranks = {len(self.shape(layer, name)) for name in self.activations(layer)}
        if len(places) == 1 and (len(ranks) == 1 or places == {_FRONT}):
            return places.pop()
        raise refuse(layer, "reads activations that have the batch on different axes")

    def shape(self, layer: Layer, name: str) -> Shape:
        if name not in self.draft.shapes:
            raise refuse(layer, f'has no known shape for "{printable(name)}"', "Export the model with static shapes.")
        return self.draft.shapes[name]

    def with_constant(self, layer: Layer, position: int, value: Array, **changes: Any) -> Layer:
        """The layer with another constant operand, stored under a name of its own."""
        inputs = list(layer.inputs) + [""] * (position + 1 - len(layer.inputs))
        inputs[position] = self.draft.add_constant(value, inputs[position] or f"{layer.outputs[0]}/{position}")
        return replace(layer, inputs=tuple(inputs), **changes)


Stored = tuple[Place, list[Layer]]
Rule = Callable[[Layout, Layer], Stored]


def _in_front(layout: Layout, layer: Layer) -> Stored:
    """Operators without a rule of their own need the batch in front."""
    if any(layout.places[name] != _FRONT for name in layout.activations(layer)):
        raise refuse(layer, "reads an activation whose axis 0 is not the batch")
    return _FRONT, [layer]


def _spatial(layout: Layout, layer: Layer) -> Stored:
    place = layout.places.get(layer.inputs[0], _FRONT)
    layers = None if place == _FRONT else over_frames(layout, layer)
    return _in_front(layout, layer) if layers is None else (place, layers)


def _global_pool(layout: Layout, layer: Layer) -> Stored:
    place = layout.places[layer.inputs[0]]
    if place == _FRONT or place.axis:
        return _in_front(layout, layer)
    return place, [pooled_whole(layout, layer)]


def _elementwise(layout: Layout, layer: Layer) -> Stored:
    added, layer = _aligned(layout, layer)
    place, layers = _same_rank(layout, layer)
    return place, [*added, *layers]


def _aligned(layout: Layout, layer: Layer) -> tuple[list[Layer], Layer]:
    """Broadcasting aligns operands at their last axes: one of a lower rank whose batch meets that of the others so
    ([N, C] with [H, W, N, C]) gets the axes that it lacks."""
    rank, added, inputs = len(layout.shape(layer, layer.outputs[0])), [], list(layer.inputs)
    lacking = {name: rank - len(layout.shape(layer, name)) for name in layout.activations(layer)}
    meeting = {replace(layout.places[name], axis=layout.places[name].axis + n) for name, n in lacking.items()}
    if len(meeting) != 1 or not any(lacking.values()):
        return [], layer
    place = meeting.pop()
    for position, name in enumerate(inputs):
        if lacking.get(name):
            shape, out = layout.shape(layer, name), f"{layer.outputs[0]}/operand{position}"
            target = np.array([-1, *place.stored_shape((1,) * lacking[name] + shape)], np.int64)
            operand = layout.draft.add_constant(target, f"{out}/shape")
            added.append(Layer("Reshape", out, layer.path, (name, operand), (out,)))
            layout.draft.shapes[out] = (1,) * lacking[name] + shape
            layout.places[out] = place
            inputs[position] = out
    return added, replace(layer, inputs=tuple(inputs))


def _same_rank(layout: Layout, layer: Layer) -> Stored:
    place = layout.common(layer) if layout.activations(layer) else _FRONT
    rank = len(layout.shape(layer, layer.outputs[0]))
    if any(len(layout.shape(layer, name)) != rank for name in layout.activations(layer)):
        return _in_front(layout, layer)
    for position, name in enumerate(layer.inputs):
        value = layout.draft.constant(name)
        if value is None or value.ndim == 0:
            continue
        stored = place.stored_constant(value, rank, layout.draft.batch)
        if stored is None:
            raise refuse(layer, "has a constant operand that differs between samples")
        if stored.shape != value.shape:
            layer = layout.with_constant(layer, position, stored)
    return place, [layer]


def _open_ended(layout: Layout, layer: Layer) -> Stored:
    raise refuse(layer, "gives as many elements as it finds at run time", "Export the model with static shapes.")


def _transpose(layout: Layout, layer: Layer) -> Stored:
    source = layer.inputs[0]
    place, rank = layout.places[source], len(layout.shape(layer, source))
    perm = layer.attributes.get("perm") or tuple(reversed(range(rank)))
    stored = (0, *(axis for a in perm for axis in place.stored_axes(a)))
    after = replace(place, axis=perm.index(place.axis))
    if stored == tuple(range(len(stored))):
        return after, [replace(layer, op="Identity", attributes={})]
    return after, [replace(layer, attributes={"perm": stored})]


def _reshape(layout: Layout, layer: Layer) -> Stored:
    """Reshape, Flatten, Squeeze, Unsqueeze: the elements keep their order."""
    source, target = layout.shape(layer, layer.inputs[0]), layout.shape(layer, layer.outputs[0])
    place = layout.places[layer.inputs[0]]
    after = place_after_reshape(place, source, target, layout.draft.batch)
    if after is None:
        raise refuse(layer, f"gives {list(target)}: the batch is no factor of an axis")
    if place == after == _FRONT and layer.op != "Reshape" and len(layer.inputs) == (1 if layer.op == "Flatten" else 2):
        return after, [layer]
    shape = np.array([-1, *after.stored_shape(target)], np.int64)
    return after, [layout.with_constant(layer, 1, shape, op="Reshape", attributes={})]


def _expand(layout: Layout, layer: Layer) -> Stored:
    source, target = layout.shape(layer, layer.inputs[0]), layout.shape(layer, layer.outputs[0])
    place = layout.places[layer.inputs[0]]
    if place.axis + len(target) - len(source) != place.axis or source[place.axis] != target[place.axis]:
        raise refuse(layer, "adds an axis before the batch, or repeats the batch")
    return place, [layout.with_constant(layer, 1, np.array([1, *place.stored_shape(target)], np.int64))]


def _matmul(layout: Layout, layer: Layer) -> Stored:
    left, right = layer.inputs
    rank = len(layout.shape(layer, layer.outputs[0]))
    if layout.draft.constant(left) is None and layout.draft.constant(right) is None:
        place = layout.common(layer)
        if place.axis >= rank - 2:
            raise refuse(layer, "multiplies matrices across samples")
        return place, [layer]
    position = 1 if left in layout.places else 0
    place = layout.places[layer.inputs[1 - position]]
    rank = max(rank, len(layout.shape(layer, layer.inputs[1 - position])))
    value = layout.draft.constants[layer.inputs[position]]
    if value.ndim > 2:
        # The batch axes of the constant broadcast; its last two are the matrix.
        if place.axis >= rank - 2:
            raise refuse(layer, "multiplies matrices across samples")
        stored = place.stored_constant(value, rank, layout.draft.batch)
        if stored is None:
            raise refuse(layer, "has a constant operand that differs between samples")
        return place, [layer if stored.shape == value.shape else layout.with_constant(layer, position, stored)]
    if place.axis == rank - 1 or (position == 0 and place.axis == rank - 2):
        raise refuse(layer, "multiplies matrices across samples")
    return place, [layer]


def _gemm(layout: Layout, layer: Layer) -> Stored:
    """A Gemm whose rows hold more than the batch is a MatMul and an Add."""
    place = layout.places.get(layer.inputs[0], _FRONT)
    if place == _FRONT:
        return _in_front(layout, layer)
    weight = layout.draft.constant(layer.inputs[1])
    attributes = layer.attributes
    if weight is None or place.axis or attributes.get("transA", 0):
        raise refuse(layer, "multiplies matrices across samples")
    weight = np.ascontiguousarray(weight.T if attributes.get("transB", 0) else weight)
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    weight = weight if alpha == 1 else weight.astype(np.float64) * alpha
    product = layout.with_constant(replace(layer, inputs=layer.inputs[:2]), 1, weight, op="MatMul", attributes={})
    if len(layer.inputs) < 3:
        return place, [product]
    bias = layout.draft.constant(layer.inputs[2])
    if bias is None or (bias.ndim == 2 and bias.shape[0] != 1):
        raise refuse(layer, "adds a bias that differs between rows")
    middle = f"{layer.outputs[0]}/product"
    bias = bias.reshape(-1) if beta == 1 else bias.reshape(-1).astype(np.float64) * beta
    operand = layout.draft.add_constant(bias, layer.inputs[2])
    total = Layer("Add", f"{layer.name}/bias", layer.path, (middle, operand), layer.outputs)
    return place, [replace(product, outputs=(middle,)), total]


def _along_axis(layout: Layout, layer: Layer) -> Stored:
    """Operators with an `axis`: it moves with the layout, and may vanish behind the layer."""
    if layer.inputs[0] not in layout.places:
        return _in_front(layout, layer)
    place = layout.common(layer)
    if place == _FRONT:
        return place, [layer]
    rank = len(layout.shape(layer, layer.inputs[0]))
    default = 0 if layer.op in ("Split", "Gather", "ArgMax", "ArgMin") else -1
    axis = layer.attributes.get("axis", default) % rank
    stored = place.stored_axes(axis)
    if axis == place.axis:
        raise refuse(layer, "works along the batch axis")
    if layer.op == "LayerNormalization":
        return (place, [layer]) if axis > place.axis else _in_front(layout, layer)
    lost = rank - len(layout.shape(layer, layer.outputs[0]))
    after = replace(place, axis=place.axis - (lost if axis < place.axis else 0))
    return after, [replace(layer, attributes={**layer.attributes, "axis": stored[0]})]


def _gather_nd(layout: Layout, layer: Layer) -> Stored:
    """At constant places of the axes before the batch (x[:, :, i, j], transposed): a Gather from these, flattened."""
    data = layer.inputs[0]
    place, indices = layout.places.get(data, _FRONT), layout.draft.constant(layer.inputs[1])
    depth = 0 if indices is None else indices.shape[-1]
    if place == _FRONT or indices is None or not 0 < depth <= place.axis or layer.attributes.get("batch_dims", 0):
        return _in_front(layout, layer)
    shape, out = layout.shape(layer, data), f"{layer.outputs[0]}/flat"
    lead = shape[:depth]
    places = np.ravel_multi_index(tuple(indices[..., i] % n for i, n in enumerate(lead)), lead)
    flat = np.array([-1, int(np.prod(lead)), *place.stored_shape(shape)[depth:]], np.int64)
    target = layout.draft.add_constant(flat, f"{out}/shape")
    where = layout.draft.add_constant(places.astype(np.int64), f"{out}/places")
    flattened = Layer("Reshape", f"{layer.name}/flat", layer.path, (data, target), (out,))
    after = replace(place, axis=place.axis - depth + places.ndim)
    return after, [flattened, replace(layer, op="Gather", inputs=(out, where), attributes={"axis": 1})]


def _recurrent(layout: Layout, layer: Layer) -> Stored:
    raise refuse(
        layer,
        "is recurrent, and there are no rules for recurrent layers",
        "Explain the part of the model before it: onnx.utils.extract_model('MODEL.onnx', 'PART.onnx', "
        f"[its inputs], ['{printable(layer.inputs[0])}'])",
    )


def _along_axes(layout: Layout, layer: Layer) -> Stored:
    """Slice and the reductions: axes are a constant operand."""
    place = layout.places[layer.inputs[0]]
    if place == _FRONT:
        return _in_front(layout, layer)
    position = 3 if layer.op == "Slice" else 1
    rank = len(layout.shape(layer, layer.inputs[0]))
    operand = layer.inputs[position] if len(layer.inputs) > position else ""
    axes = layout.draft.constant(operand)
    if axes is None or any(a % rank == place.axis for a in axes.tolist()):
        raise refuse(layer, "works along the batch axis")
    true = [a % rank for a in axes.tolist()]
    stored = np.array([place.stored_axes(a)[0] for a in true], np.int64)
    kept = layer.op == "Slice" or layer.attributes.get("keepdims", 1)
    after = place if kept else replace(place, axis=place.axis - sum(a < place.axis for a in true))
    return after, [layout.with_constant(layer, position, stored)]


def _along_constant_axis(layout: Layout, layer: Layer) -> Stored:
    """CumSum: the axis is a constant operand."""
    place = layout.places[layer.inputs[0]]
    axis = layout.draft.constant(layer.inputs[1])
    rank = len(layout.shape(layer, layer.inputs[0]))
    if axis is None or int(axis.reshape(())) % rank == place.axis:
        raise refuse(layer, "works along the batch axis")
    (stored,) = place.stored_axes(int(axis.reshape(())) % rank)
    return place, [layout.with_constant(layer, 1, np.array(stored, np.int64))]


def _for_each_axis(layout: Layout, layer: Layer) -> Stored:
    """Pad and Tile: amounts for each axis, none for the batch."""
    place, rank = layout.places[layer.inputs[0]], len(layout.shape(layer, layer.inputs[0]))
    amounts = layout.draft.constant(layer.inputs[1])
    axes = layout.draft.constant(layer.inputs[3]) if len(layer.inputs) > 3 else np.arange(rank)
    if amounts is None or axes is None:
        raise refuse(layer, "repeats or pads by amounts that are computed at run time")
    nothing, ends = (1, 1) if layer.op == "Tile" else (0, 2)
    full = np.full((ends, rank), nothing)
    full[:, axes % rank] = amounts.reshape(ends, -1)
    if (full[:, place.axis] != nothing).any():
        raise refuse(layer, "repeats or pads the batch")
    stored = np.full((ends, rank + len(place.factors)), nothing)
    for axis in set(range(rank)) - {place.axis}:
        stored[:, place.stored_axes(axis)[0]] = full[:, axis]
    layer = replace(layer, inputs=tuple(layer.inputs[:3]))
    return place, [layout.with_constant(layer, 1, stored.reshape(-1).astype(np.int64))]


def _triangle(layout: Layout, layer: Layer) -> Stored:
    """Trilu works on the last two axes."""
    place, rank = layout.places[layer.inputs[0]], len(layout.shape(layer, layer.inputs[0]))
    if place.axis >= rank - 2:
        raise refuse(layer, "works along the batch axis")
    return place, [layer]


def _concat(layout: Layout, layer: Layer) -> Stored:
    """A constant that is concatenated with activations (a class token) is expanded over the batch."""
    place, layers = _along_axis(layout, layer) if not _constants(layout, layer) else (layout.common(layer), [layer])
    if not _constants(layout, layer):
        return place, layers
    rank = len(layout.shape(layer, layer.outputs[0]))
    axis = layer.attributes["axis"] % rank
    if axis == place.axis:
        raise refuse(layer, "works along the batch axis")
    added: list[Layer] = []
    inputs = list(layer.inputs)
    for position, name in enumerate(inputs):
        value = layout.draft.constant(name)
        if value is None:
            continue
        sample = place.stored_constant(value, rank, layout.draft.batch)
        if sample is None:
            raise refuse(layer, "has a constant operand that differs between samples")
        out = f"{layer.outputs[0]}/operand{position}"
        target = np.array([-1, *sample.shape[1:]], np.int64)
        operands = (layout.draft.add_constant(sample, name), layout.draft.add_constant(target, f"{out}/shape"))
        added.append(Layer("Expand", out, layer.path, operands, (out,)))
        inputs[position] = out
    stored = {**layer.attributes, "axis": place.stored_axes(axis)[0]}
    return place, [*added, replace(layer, inputs=tuple(inputs), attributes=stored)]


def _constants(layout: Layout, layer: Layer) -> bool:
    return any(layout.draft.constant(name) is not None for name in layer.inputs)


def _resize(layout: Layout, layer: Layer) -> Stored:
    """`sizes`, `scales` and `roi` without the batch; whole lengths as sizes, which every runtime reads alike."""
    source, target = layout.shape(layer, layer.inputs[0]), layout.shape(layer, layer.outputs[0])
    attributes, rank = dict(layer.attributes), len(source)
    roi, scales, sizes = (None if len(layer.inputs) <= i else layout.draft.constant(layer.inputs[i]) for i in (1, 2, 3))
    if source[0] != target[0] or (roi is scales is sizes is None):
        raise refuse(layer, "resizes the batch, or by sizes that are computed at run time")
    axes = [a % rank for a in attributes.get("axes", range(rank))]
    kept = [i for i, a in enumerate(axes) if a]
    stretched = attributes.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    if len(kept) < len(axes) and not stretched:
        raise refuse(layer, "keeps an aspect ratio over the batch")
    crops = attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if roi is not None and roi.size and crops:
        layer = layout.with_constant(layer, 1, roi.reshape(2, -1)[:, kept].reshape(-1))
    elif len(layer.inputs) > 1 and layer.inputs[1]:
        layer = replace(layer, inputs=(layer.inputs[0], "", *layer.inputs[2:]))
    chosen = tuple(axes[i] for i in kept)
    attributes["axes"] = chosen
    if scales is not None and scales.size:
        whole = all(abs(float(scales[i]) * source[axes[i]] - target[axes[i]]) < 1e-4 for i in kept)
        if not whole or crops:
            return _in_front(layout, layout.with_constant(layer, 2, scales[kept], attributes=attributes))
        layer = replace(layer, inputs=layer.inputs[:2])
        sizes, kept = np.array([target[a] for a in chosen], np.int64), list(range(len(chosen)))
    assert sizes is not None
    layer = replace(layer, inputs=(*layer.inputs, "", "")[:4])
    return _in_front(layout, layout.with_constant(layer, 3, sizes[kept], attributes=attributes))


_RULES: dict[str, Rule] = {
    "Transpose": _transpose,
    **dict.fromkeys(("Compress", "NonZero", "Unique"), _open_ended),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    "Expand": _expand,
    "MatMul": _matmul,
    "Gemm": _gemm,
    **dict.fromkeys(
        ["Split", "Gather", "Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "LayerNormalization"], _along_axis
    ),
    **dict.fromkeys(
        ["Slice", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare"], _along_axes
    ),
    **dict.fromkeys(SPATIAL, _spatial),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    "GatherND": _gather_nd,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    "CumSum": _along_constant_axis,
    **dict.fromkeys(["Pad", "Tile"], _for_each_axis),
    "Trilu": _triangle,
    "Concat": _concat,
    "Resize": _resize,
}
