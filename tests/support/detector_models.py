"""Small detectors in the layouts of the field, with what their outputs mean by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from .arrays import Array
from .evaluated import values_of
from .small_nets import Net

SIDE, CLASSES = 16, 5


@dataclasses.dataclass(frozen=True)
class Detector:
    """A file and what it says.

    Attributes:
        file: The file.
        tensors: Names of the tensors that `corners` and `scores` read.
        corners: From the values of the tensors of one sample to y0, x0, y1, x1 in pixels, [A, 4].
        scores: From these to the scores by which boxes are ranked, [A, C].
        explained: The tensor that is explained, and where in it class k of box a is.
        raw: The tensor of the coordinates, and where in it the coordinates of box a are, as they are written.
    """

    file: onnx.ModelProto
    tensors: tuple[str, ...]
    corners: Callable[..., Array]
    scores: Callable[..., Array]
    explained: tuple[str, Callable[[int, int], tuple[int, ...]]]
    raw: tuple[str, Callable[[int], tuple[Any, ...]], str]

    def read(self, x: Array) -> list[Array]:
        """The values of the tensors [N, …]."""
        return [values_of(self.file, name)(x) for name in self.tensors]

    def entry(self, x: Array, a: int, k: int) -> Array:
        """The explained number of each row of x."""
        name, at = self.explained
        return np.asarray(values_of(self.file, name)(x)[(slice(None), *at(a, k))])


def _body(n: Net) -> str:
    return n.relu(n.conv(n.relu(n.conv("x", 3, 6)), 6, 6, strides=[2, 2]))


def _grid(cells: int) -> Array:
    y, x = np.mgrid[0:cells, 0:cells]
    return np.stack([x, y]).reshape(2, -1).astype(np.float32)


def _decoded(n: Net, y: str, stride: int = 2) -> str:
    """Centre and size [4, A] in pixels, of a map."""
    cells = SIDE // stride
    raw = n.op("Reshape", n.conv(y, 6, 4), np.array([0, 4, cells * cells]))
    near = n.op("Sigmoid", raw)
    xy, wh = n.ops("Split", near, np.array([2, 2]), axis=1, results=2)
    centre = n.op("Mul", n.op("Add", xy, _grid(cells)[np.newaxis]), np.array(stride, np.float32))
    size = n.op("Add", n.op("Mul", wh, np.array(6, np.float32)), np.array(2, np.float32))
    return n.op("Concat", centre, size, axis=1)


def _classes(n: Net, y: str, count: int = CLASSES) -> str:
    return n.op("Reshape", n.conv(y, 6, count), np.array([0, count, -1]))


def centred(four: Array) -> Array:
    """Corners of centres and sizes [A, 4]."""
    x, y, w, h = four.T
    return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], axis=1)


def turned(four: Array) -> Array:
    """Corners y0, x0, y1, x1 of x0, y0, x1, y1 [A, 4]."""
    return four[:, [1, 0, 3, 2]]


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def v8(transposed: bool = False, seed: int = 0) -> Detector:
    """[4 + C, A], a Sigmoid of the classes before they are joined."""
    n = Net(3, SIDE, SIDE, seed=seed)
    y = _body(n)
    z = _classes(n, y)
    out = n.op("Concat", _decoded(n, y), n.op("Sigmoid", z), axis=1)
    whole = n.op("Transpose", out, perm=[0, 2, 1]) if transposed else out
    return Detector(
        n.model(whole), (out,), lambda o: centred(o[:4].T), lambda o: o[4:].T, (z, lambda a, k: (k, a)),
        (out, lambda a: (slice(0, 4), a), "cxcywh"),
    )  # fmt: skip


def v8_merged(seed: int = 6) -> Detector:
    """[4 + C, A], centre and size joined with the classes in one Concat, as converters write it."""
    made = v8(seed=seed)
    inner = next(n for n in made.file.graph.node if n.op_type == "Concat")
    outer = next(n for n in made.file.graph.node if inner.output[0] in n.input)
    parts = [*inner.input, *list(outer.input)[1:]]
    del outer.input[:]
    outer.input.extend(parts)
    made.file.graph.node.remove(inner)
    return made


def v5(transposed: bool = False, seed: int = 1) -> Detector:
    """[A, 5 + C] of two scales, each with two boxes at a position."""
    n = Net(3, SIDE, SIDE, seed=seed)
    first = _body(n)
    second = n.relu(n.conv(first, 6, 6, strides=[2, 2]))
    each, numbers = 2, 5 + CLASSES
    scales = []
    for y, stride in ((first, 2), (second, 4)):
        cells = SIDE // stride
        raw = n.op("Reshape", n.conv(y, 6, each * numbers), np.array([0, each, numbers, cells, cells]))
        near = n.op("Sigmoid", n.op("Transpose", raw, perm=[0, 1, 3, 4, 2]))
        xy, wh, rest = n.ops("Split", near, np.array([2, 2, 1 + CLASSES]), axis=4, results=3)
        grid = _grid(cells).reshape(2, cells, cells).transpose(1, 2, 0)[np.newaxis, np.newaxis]
        centre = n.op("Mul", n.op("Add", xy, grid), np.array(stride, np.float32))
        size = n.op("Add", n.op("Mul", wh, np.array(6, np.float32)), np.array(2, np.float32))
        joined = n.op("Concat", centre, size, rest, axis=4)
        scales.append(n.op("Reshape", joined, np.array([0, each * cells * cells, numbers])))
    out = n.op("Concat", *scales, axis=1)
    whole = n.op("Transpose", out, perm=[0, 2, 1]) if transposed else out
    return Detector(
        n.model(whole), (out,), lambda o: centred(o[:, :4]), lambda o: o[:, 5:] * o[:, 4:5],
        (out, lambda a, k: (a, 5 + k)), (out, lambda a: (a, slice(0, 4)), "cxcywh"),
    )  # fmt: skip


def x(seed: int = 2) -> Detector:
    """[A, 4 + 1 + C], as YOLOX joins them."""
    n = Net(3, SIDE, SIDE, seed=seed)
    y = _body(n)
    parts = [_decoded(n, y), n.op("Sigmoid", _classes(n, y, 1)), n.op("Sigmoid", _classes(n, y))]
    joined = n.op("Concat", *parts, axis=1)
    out = n.op("Transpose", joined, perm=[0, 2, 1])
    return Detector(
        n.model(out), (out,), lambda o: centred(o[:, :4]), lambda o: o[:, 5:] * o[:, 4:5],
        (out, lambda a, k: (a, 5 + k)), (out, lambda a: (a, slice(0, 4)), "cxcywh"),
    )  # fmt: skip


def _two(n: Net, boxes: str, scores: str) -> onnx.ModelProto:
    made = n.model(boxes)
    made.graph.output.append(helper.make_tensor_value_info(scores, TensorProto.FLOAT, None))
    return onnx.shape_inference.infer_shapes(made)


def _corner_boxes(n: Net, y: str, shares: bool) -> str:
    """Boxes [A, 4] as corners x0, y0, x1, y1, in pixels or as shares of the picture."""
    half = np.zeros((4, 4), np.float32)
    half[[0, 1], [0, 1]] = half[[0, 1], [2, 3]] = 1
    half[2, 0] = half[3, 1] = -0.5
    half[2, 2] = half[3, 3] = 0.5
    made = n.op("MatMul", n.op("Transpose", _decoded(n, y), perm=[0, 2, 1]), half)
    return n.op("Div", made, np.array(SIDE, np.float32)) if shares else made


def ssd(seed: int = 3) -> Detector:
    """Boxes [A, 4] as shares of the picture beside a Softmax [A, 1 + C], whose first class is none."""
    n = Net(3, SIDE, SIDE, seed=seed)
    y = _body(n)
    z = n.op("Transpose", _classes(n, y, 1 + CLASSES), perm=[0, 2, 1])
    boxes, scores = _corner_boxes(n, y, True), n.op("Softmax", z, axis=2)
    return Detector(
        _two(n, boxes, scores), (boxes, scores), lambda b, s: turned(b) * SIDE,
        lambda b, s: np.concatenate([np.full((len(s), 1), -1), s[:, 1:]], axis=1), (z, lambda a, k: (a, k)),
        (boxes, lambda a: (a, slice(0, 4)), "xyxy"),
    )  # fmt: skip


def retina(seed: int = 4) -> Detector:
    """Scores [A, C] behind a Sigmoid beside boxes [A, 4] in pixels, the scores first."""
    n = Net(3, SIDE, SIDE, seed=seed)
    y = _body(n)
    z = n.op("Transpose", _classes(n, y), perm=[0, 2, 1])
    boxes, scores = _corner_boxes(n, y, False), n.op("Sigmoid", z)
    return Detector(
        _two(n, scores, boxes), (boxes, scores), lambda b, s: turned(b), lambda b, s: s, (z, lambda a, k: (a, k)),
        (boxes, lambda a: (a, slice(0, 4)), "xyxy"),
    )  # fmt: skip


def detr(seed: int = 5, classes: int = CLASSES) -> Detector:
    """Logits [A, C + 1], whose last class is none, beside centres and sizes [A, 4] behind a Sigmoid."""
    n = Net(3, SIDE, SIDE, seed=seed)
    y = _body(n)
    z = n.op("Transpose", _classes(n, y, classes + 1), perm=[0, 2, 1])
    boxes = n.op("Sigmoid", n.op("Transpose", _classes(n, y, 4), perm=[0, 2, 1]))
    made = _two(n, z, boxes)
    helper.set_model_props(made, {"onnxlrp.prep": json.dumps({"labels": list("abcdefg"[:classes])})})

    def scores(b: Array, z: Array) -> Array:
        p = _softmax(z)
        p[:, -1] = -1
        return p

    return Detector(
        made, (boxes, z), lambda b, z: centred(b) * SIDE, scores, (z, lambda a, k: (a, k)),
        (boxes, lambda a: (a, slice(0, 4)), "cxcywh"),
    )  # fmt: skip


def suppressed(one: bool, score: float = 0.4, iou: float = 0.3) -> Detector:
    """A detector that ends in NonMaxSuppression: of one joined output, or of boxes beside scores."""
    made = v8() if one else retina()
    file = onnx.ModelProto.FromString(made.file.SerializeToString())
    add = file.graph.node.append
    if one:
        (out,) = made.tensors
        add(helper.make_node("Split", [out, "parts"], ["four", "rest"], axis=1))
        file.graph.initializer.append(onnx.numpy_helper.from_array(np.array([4, CLASSES]), "parts"))
        add(helper.make_node("Transpose", ["four"], ["rows"], perm=[0, 2, 1]))
    else:
        boxes, scores = made.tensors
        add(helper.make_node("Identity", [boxes], ["rows"]))
        add(helper.make_node("Transpose", [scores], ["rest"], perm=[0, 2, 1]))
    constants = {"most": np.array([50]), "iou": np.array([iou], np.float32), "least": np.array([score], np.float32)}
    file.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    add(
        helper.make_node(
            "NonMaxSuppression", ["rows", "rest", "most", "iou", "least"], ["chosen"], center_point_box=int(one)
        )
    )
    add(helper.make_node("Cast", ["chosen"], ["found"], to=TensorProto.FLOAT))
    del file.graph.output[:]
    file.graph.output.append(helper.make_tensor_value_info("found", TensorProto.FLOAT, None))
    return dataclasses.replace(made, file=file)


CASES: dict[str, Callable[[], Detector]] = {
    "v8": v8,
    "v8_merged": v8_merged,
    "v8_transposed": lambda: v8(True),
    "v5": v5,
    "v5_transposed": lambda: v5(True),
    "x": x,
    "ssd": ssd,
    "retina": retina,
    "detr": detr,
}
