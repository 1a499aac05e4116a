"""Preprocessing as a graph: a picture of any size in, the model's input out, as Pillow makes it, columns first.

Resizing is a product with a matrix of weights on each axis, which depend on the size of the picture and are computed in
the graph. Pillow rounds them to 22 bits, and the pixels to whole numbers after each axis; in float64 both are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ...errors import UnsupportedError
from ...inputs import InputKind
from ...pictures.colors import colormap
from ...pictures.style import DEFAULT
from ...preprocessing import Preprocessing
from ...preprocessing.geometry import PAD

PICTURE, HEATMAP, OVERLAY, SEEN, TARGET = "picture", "heatmap", "overlay", "seen", "target"
_PREFIX = "onnxlrp/"
_BITS = 1 << 22  # one, in Pillow's weights


class Value:
    """A tensor of the graph that is written, with Python's arithmetic; numbers take its type."""

    def __init__(self, graph: Graph, name: str, dtype: type = np.float64) -> None:
        self.graph, self.name, self.dtype = graph, name, dtype

    def op(self, operator: str, *others: Any, dtype: type | None = None, **attributes: Any) -> Value:
        """Append a node of this tensor and others; numbers become constants of its type."""
        return self.graph.op(operator, self, *others, dtype=dtype or self.dtype, **attributes)

    def to(self, dtype: type) -> Value:
        """Convert to another type."""
        return self.op("Cast", dtype=dtype, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def __add__(self, other: Any) -> Value:
        return self.op("Add", other)

    def __sub__(self, other: Any) -> Value:
        return self.op("Sub", other)

    def __mul__(self, other: Any) -> Value:
        return self.op("Mul", other)

    def __truediv__(self, other: Any) -> Value:
        return self.op("Div", other)

    def __lt__(self, other: Any) -> Value:
        return self.op("Less", other, dtype=np.bool_)

    def __matmul__(self, other: Value) -> Value:
        return self.op("MatMul", other)

    def divided(self, by: float) -> Value:
        """Divide and round down."""
        return (self / by).op("Floor")

    def sum(self, axes: list[int], keep: bool = False) -> Value:
        """Add up over axes."""
        return self.op("ReduceSum", self.graph.number(axes, np.int64), keepdims=int(keep))

    def clip(self, low: float, high: float) -> Value:
        """Bring values into a range."""
        return self.op("Clip", low, high)

    def reshape(self, shape: list[int]) -> Value:
        """Give another shape: 0 keeps a length, -1 takes what is left."""
        return self.op("Reshape", self.graph.number(shape, np.int64))

    def transpose(self, *order: int) -> Value:
        """Change the order of the axes."""
        return self.op("Transpose", perm=order)

    def at(self, place: int, axis: int) -> Value:
        """Take one place of an axis, which goes."""
        return self.op("Gather", self.graph.number(place, np.int64), axis=axis)

    def length(self, axis: int) -> Value:
        """Return the length of an axis, a scalar of int64."""
        return self.op("Shape", dtype=np.int64).at(axis, 0)

    def named(self, name: str) -> None:
        """Give the tensor a name of the outside, with a node of its own."""
        self.op("Identity")
        self.graph.nodes[-1].output[0] = name

    def choose(self, yes: Value, no: Any) -> Value:
        """Return `yes` where this is true, else `no`."""
        other = no if isinstance(no, Value) else self.graph.number(no, yes.dtype)
        return self.op("Where", yes, other, dtype=yes.dtype)


class Graph:
    """Nodes and constants that are written one after the other."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def op(self, operator: str, *inputs: Any, dtype: type, **attributes: Any) -> Value:
        """Append a node; inputs that are no tensors become constants of the first one's type."""
        kind = next(one.dtype for one in inputs if isinstance(one, Value))
        names = [(one if isinstance(one, Value) else self.number(one, kind)).name for one in inputs]
        name = f"{_PREFIX}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, names, [name], name=name, **attributes))
        return Value(self, name, dtype)

    def number(self, value: Any, dtype: type) -> Value:
        """Append a constant."""
        name = f"{_PREFIX}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return Value(self, name, dtype)

    def counted(self, length: Value | int, dtype: type = np.float64) -> Value:
        """Return the numbers from 0 up to a length."""
        stop = length if isinstance(length, Value) else self.number(length, np.int64)
        return self.op("Range", self.number(0, np.int64), stop, self.number(1, np.int64), dtype=np.int64).to(dtype)


def with_preprocessing(
    model: ModelProto, prep: Preprocessing, kind: InputKind, overlay: bool = False, best: str = "ArgMax"
) -> ModelProto:
    """Return an explainer that takes a picture [H, W, 3] of uint8 and gives a heatmap.

    Args:
        model: The explainer: its first input is the model's, its outputs are "scores" and "relevance".
        prep: The preprocessing.
        kind: The kind of the model's input.
        overlay: Also give the heatmap drawn over the grey picture.
        best: The operator that finds the best class among the scores.

    Returns:
        A model with the input "picture" in the place of the model's own. Its outputs are "scores"; "heatmap" [1, h, w],
        of several targets [T, 1, h, w]: the relevance of the pixels that the model sees, summed over channels; and
        "overlay" [h, w, 3] of uint8, of the first target; "seen" [h, w, C] of uint8: the picture, resized and cut. An
        input "target", of one entry, may be -1: the class with the highest score.
    """
    graph = Graph()
    seen = _seen(Value(graph, PICTURE, np.uint8), prep)
    source = model.graph.input[0]
    dtype = helper.tensor_dtype_to_np_dtype(source.type.tensor_type.elem_type)
    _input(seen, prep, dtype.type).named(source.name)
    before = len(graph.nodes)

    relevance = next(value for value in model.graph.output if value.name == "relevance")
    lead = len(relevance.type.tensor_type.shape.dim) - len(kind.shape)  # samples, and targets if there are several
    heat = Value(graph, relevance.name, np.float32).to(np.float64)
    if kind.other_axes:
        heat = heat.sum([lead + axis for axis in kind.other_axes])
    heat.to(np.float32).named(HEATMAP)
    targets = [dim.dim_value for dim in relevance.type.tensor_type.shape.dim[: lead - 1]]
    outputs = [value for value in model.graph.output if value.name != "relevance"]
    outputs.append(helper.make_tensor_value_info(HEATMAP, TensorProto.FLOAT, [*targets, 1, *prep.size]))
    if overlay:
        first = heat.reshape([-1, *prep.size]).at(0, 0)
        _overlay(first, seen, prep).named(OVERLAY)
        outputs.append(helper.make_tensor_value_info(OVERLAY, TensorProto.UINT8, [*prep.size, 3]))

    seen.to(np.uint8).named(SEEN)
    outputs.append(helper.make_tensor_value_info(SEEN, TensorProto.UINT8, [*prep.size, prep.channels]))

    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:], made.graph.output[:], made.graph.input[:]
    nodes = [*graph.nodes[:before], *model.graph.node, *graph.nodes[before:]]
    if any(value.name == TARGET for value in model.graph.input):
        nodes += _own_best(graph, model, nodes, best)
    made.graph.node.extend(_in_order(nodes))
    made.graph.initializer.extend(graph.constants)
    made.graph.input.append(helper.make_tensor_value_info(PICTURE, TensorProto.UINT8, ["height", "width", 3]))
    made.graph.input.extend(list(model.graph.input)[1:])
    for value in made.graph.input:
        if value.name == TARGET:  # one picture has one: a fixed length is what runtimes check
            value.CopyFrom(helper.make_tensor_value_info(TARGET, TensorProto.INT64, [1]))
    made.graph.output.extend(outputs)
    return made


def _own_best(graph: Graph, model: ModelProto, nodes: list[NodeProto], best: str) -> list[NodeProto]:
    """The nodes that put the model's own best class in the place of a target of -1; all others then read it."""
    before = len(graph.nodes)
    scores = Value(graph, model.graph.output[0].name, np.float32).op("Flatten", axis=1)
    own = scores.op(best, axis=1, keepdims=0, dtype=np.int64)
    target = Value(graph, TARGET, np.int64)
    chosen = target.op("Equal", -1, dtype=np.bool_).choose(own, target)
    for node in nodes:
        for n, name in enumerate(node.input):
            if name == TARGET:
                node.input[n] = chosen.name
    return graph.nodes[before:]


def _in_order(nodes: list[NodeProto]) -> list[NodeProto]:
    """Nodes such that each comes after those whose results it reads, else as they stand."""
    makers = {name: n for n, node in enumerate(nodes) for name in node.output if name}
    done: dict[int, None] = {}
    for first in range(len(nodes)):
        stack = [first]
        while stack:
            n = stack[-1]
            left = [makers[name] for name in nodes[n].input if name in makers and makers[name] not in done]
            if left and n not in done:
                stack += left
            else:
                done.setdefault(stack.pop())
    return [nodes[n] for n in done]


def check(prep: Preprocessing, kind: InputKind) -> None:
    """Refuse what cannot be written. Raises UnsupportedError for an input that is no picture, or an interpolation."""
    if not kind.is_image:
        raise UnsupportedError(f"the input is no picture: {kind.describe()}", "leave --embed-preprocessing out")
    if prep.interpolation not in _FILTERS:
        raise UnsupportedError(
            f"interpolation {prep.interpolation} is not written into explainers",
            f"--interpolation {' or '.join(_FILTERS)}, or leave --embed-preprocessing out",
        )


# -- from the picture to the input


def _seen(picture: Value, prep: Preprocessing) -> Value:
    """The picture as the model sees it, resized and cut, in whole numbers [h, w, C] of float64."""
    height, width = (picture.length(axis).to(np.float64) for axis in (0, 1))
    pixels = picture.to(np.float64)
    if prep.color == "grey":
        pixels = _grey(pixels).op("Unsqueeze", pixels.graph.number([2], np.int64))
    rows, columns = _FRAMES[prep.resize](height, width, prep)
    vertical, above = _weights(height, *rows, prep.size[0], prep.interpolation)
    horizontal, beside = _weights(width, *columns, prep.size[1], prep.interpolation)
    channels = prep.channels
    flat = pixels.transpose(0, 2, 1)  # [H, C, W]
    flat = _rounded(flat @ horizontal.transpose(1, 0))  # [H, C, w]
    flat = _rounded(vertical @ flat.reshape([0, -1]))  # [h, C w]
    seen = flat.reshape([prep.size[0], channels, prep.size[1]]).transpose(0, 2, 1)
    inside = above.reshape([-1, 1, 1]).op("And", beside.reshape([1, -1, 1]))
    return inside.choose(seen, float(PAD))


def _input(seen: Value, prep: Preprocessing, dtype: Any) -> Value:
    """The model's input of what it sees."""
    y = seen
    if prep.color == "BGR":
        y = y.op("Gather", y.graph.number([2, 1, 0], np.int64), axis=2)
    y = (y * prep.scale - np.array(prep.mean)) / np.array(prep.std)
    if prep.layout == "NCHW":
        y = y.transpose(2, 0, 1)
    elif prep.layout == "NHW":
        y = y.reshape(list(prep.size))
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        y = y.op("Round").clip(float(limits.min), float(limits.max))
    return y.op("Unsqueeze", y.graph.number([0], np.int64)).to(dtype)


def _grey(pixels: Value) -> Value:
    """The luma of an RGB picture [H, W], by Pillow's whole numbers: (19595 R + 38470 G + 7471 B + 2¹⁵) / 2¹⁶."""
    return ((pixels * np.array([19595.0, 38470.0, 7471.0])).sum([2]) + 32768.0).divided(65536.0)


def _rounded(sums: Value) -> Value:
    """Pixels of sums of whole weights."""
    return (sums + _BITS / 2).divided(float(_BITS)).clip(0.0, 255.0)


def _weights(length: Value, resized: Value, start: Value, cells: int, name: str) -> tuple[Value, Value]:
    """The weights [cells, length] of each pixel for some cells of a resized axis, and which of them are inside of it.

    Args:
        length: The length of the axis.
        resized: The length that it is resized to.
        start: The first cell, below 0 before the picture.
        cells: The number of cells.
        name: The interpolation.
    """
    graph = length.graph
    support, weight = _FILTERS[name]
    scale = length / resized
    stretched = scale.op("Max", 1.0)
    cell = graph.counted(cells) + start
    centre = ((cell + 0.5) * scale).reshape([-1, 1])
    pixel = graph.counted(length.to(np.int64)).reshape([1, -1])
    x = (pixel - centre + 0.5) * (graph.number(1.0, np.float64) / stretched)
    found = (x.op("Abs") < support + 1e-9).choose(weight(x), 0.0)
    shares = found / found.sum([1], keep=True)
    whole = shares.op("Sign") * (shares.op("Abs") * float(_BITS) + 0.5).op("Floor")
    inside = (cell < 0.0).op("Not").op("And", cell < resized)
    return whole, inside


def _triangle(x: Value) -> Value:
    return (x.op("Abs").op("Neg") + 1.0).op("Max", 0.0)


def _cubic(x: Value) -> Value:
    a = x.op("Abs")
    near = (a * 1.5 - 2.5) * a * a + 1.0
    far = (((a - 5.0) * a + 8.0) * a - 4.0) * -0.5
    return (a < 1.0).choose(near, far)


def _sinc(x: Value) -> Value:
    angle = x * math.pi
    return (angle.op("Abs") < 1e-300).choose(
        x * 0.0 + 1.0, angle.op("Sin") / (angle.op("Abs") + 1e-300) * angle.op("Sign")
    )


def _lanczos(x: Value) -> Value:
    return _sinc(x) * _sinc(x / 3.0)


# Interpolation → support and weight of a distance, in cells of the coarser grid.
_FILTERS: dict[str, tuple[float, Callable[[Value], Value]]] = {
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, _cubic),
    "lanczos": (3.0, _lanczos),
}

Axes = tuple[tuple[Value, Value], tuple[Value, Value]]  # of rows and columns: the resized length, and where it is cut


def _stretch(height: Value, width: Value, prep: Preprocessing) -> Axes:
    sizes = prep.resize_to if len(prep.resize_to) == 2 else prep.size
    number = height.graph.number
    rows, columns = (
        (number(new, np.float64), _centre(number(new, np.float64), size, prep.offset))
        for new, size in zip(sizes, prep.size, strict=True)
    )
    return rows, columns


def _shorter_crop(height: Value, width: Value, prep: Preprocessing) -> Axes:
    h, w = (float(side) for side in prep.size)
    number = height.graph.number
    factor = (number(h, np.float64) / height).op("Max", number(w, np.float64) / width) / prep.crop
    sizes = [(side * factor + 1e-6).op("Floor").op("Max", least) for side, least in ((height, h), (width, w))]
    if len(prep.resize_to) == 1:
        shorter = height.op("Min", width)
        exact = [(side * float(prep.resize_to[0]) / shorter).op("Floor") for side in (height, width)]
        small = (exact[0] < h).op("Or", exact[1] < w)
        sizes = [small.choose(size, one) for size, one in zip(sizes, exact, strict=True)]
    rows, columns = ((new, _centre(new, side, prep.offset)) for new, side in zip(sizes, prep.size, strict=True))
    return rows, columns


def _letterbox(height: Value, width: Value, prep: Preprocessing) -> Axes:
    number = height.graph.number
    h, w = (number(float(side), np.float64) for side in prep.size)
    factor = (h / height).op("Min", w / width)
    rows, columns = (
        (new, ((whole - new) / 2.0 - 0.1).op("Round").op("Neg"))
        for new, whole in (
            ((side * factor).op("Round").op("Max", 1.0), whole) for side, whole in ((height, h), (width, w))
        )
    )
    return rows, columns


_FRAMES: dict[str, Callable[[Value, Value, Preprocessing], Axes]] = {
    "stretch": _stretch,
    "shorter-crop": _shorter_crop,
    "letterbox": _letterbox,
}


def _centre(whole: Value, part: int, offset: str) -> Value:
    """Where the centre starts: half a pixel is rounded to even, or down."""
    return ((whole - float(part)) / 2.0).op("Floor" if offset == "floor" else "Round")


# -- from relevance to the drawing


def _overlay(heat: Value, seen: Value, prep: Preprocessing) -> Value:
    """The heatmap [h, w] over the grey picture, coloured as by `onnxlrp explain`: [h, w, 3] of uint8."""
    graph = heat.graph
    size = heat.op("Abs")
    count = math.prod(prep.size)
    place = DEFAULT.clip / 100 * (count - 1)
    low = min(int(place), count - 1)
    # The largest in falling order: the percentile lies between the last two.
    largest = size.reshape([-1]).op("TopK", graph.number([count - low], np.int64), axis=0)
    graph.nodes[-1].output.append(f"{largest.name}.places")
    below, above = largest.at(count - 1 - low, 0), largest.at(max(count - 2 - low, 0), 0)
    v = below + (above - below) * (place - low)
    v = (v < 1e-300).choose(largest.at(0, 0), v)
    v = (v < 1e-300).choose(v * 0.0 + 1.0, v)
    unit = ((heat / v + 1.0) / 2.0).clip(0.0, 1.0)
    table = graph.number(colormap(DEFAULT.cmap), np.float64)
    colors = table.op("Gather", (unit * 256.0).op("Round").to(np.int64), axis=0)
    opacity = ((size / v).clip(0.0, 1.0).op("Sqrt") * DEFAULT.blend).reshape([*prep.size, 1])
    grey = seen if prep.color == "grey" else _grey(seen)
    pale = (grey * 0.62 + 84.0).reshape([*prep.size, 1])
    return (opacity * colors + (opacity.op("Neg") + 1.0) * pale).op("Round").to(np.uint8)
