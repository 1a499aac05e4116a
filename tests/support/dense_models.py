"""Small files with scores at many positions: segmentation in every layout, one value at each pixel, tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import onnx

from .small_nets import Net


@dataclasses.dataclass(frozen=True)
class Case:
    """A file and its output.

    Attributes:
        make: Makes the file.
        logits: The tensor of the logits, by its name in the file.
        axis: Its axis of classes, without the batch; None where each position has one value.
        space: The lengths of its axes of positions.
        classes: The number of classes.
    """

    make: Callable[[], onnx.ModelProto]
    logits: str
    axis: int | None
    space: tuple[int, ...]
    classes: int


def _body(n: Net, classes: int) -> str:
    return n.conv(n.relu(n.conv("x", 3, 6, pads=[1, 1, 1, 1])), 6, classes, kernel=(1, 1))


def logits() -> onnx.ModelProto:
    """[K, h, w], as it is."""
    n = Net(3, 6, 7)
    return n.model(_body(n, 4))


def softmax() -> onnx.ModelProto:
    """[K, h, w] behind a Softmax over the classes."""
    n = Net(3, 6, 7, seed=1)
    return n.model(n.op("Softmax", _body(n, 4), axis=1))


def channels_last() -> onnx.ModelProto:
    """[h, w, K] behind a Softmax over the classes."""
    n = Net(3, 6, 7, seed=2)
    return n.model(n.op("Softmax", n.op("Transpose", _body(n, 4), perm=[0, 2, 3, 1]), axis=-1))


def decision() -> onnx.ModelProto:
    """The class of each position as a number, [h, w]."""
    n = Net(3, 6, 7, seed=3)
    return n.model(n.op("Cast", n.op("ArgMax", _body(n, 4), axis=1, keepdims=0), to=1))


def one() -> onnx.ModelProto:
    """[1, h, w] behind a Sigmoid."""
    n = Net(3, 6, 7, seed=4)
    return n.model(n.op("Sigmoid", _body(n, 1)))


def separate() -> onnx.ModelProto:
    """[K, h, w] behind a Sigmoid: a position may be of several classes."""
    n = Net(3, 6, 7, seed=5)
    return n.model(n.op("Sigmoid", _body(n, 3)))


def tokens() -> onnx.ModelProto:
    """[T, V]: scores of the next token."""
    n = Net(5, 6, seed=6)
    y = n.relu(n.op("MatMul", "x", n.rng.normal(size=(6, 8))))
    return n.model(n.op("MatMul", y, n.rng.normal(size=(8, 11))))


def depth() -> onnx.ModelProto:
    """[h, w]: one value at each pixel, whose axis of channels is dropped."""
    n = Net(3, 6, 7, seed=7)
    return n.model(n.op("Squeeze", _body(n, 1), np.array([1])))


CASES = {
    "logits": Case(logits, "conv2", 0, (6, 7), 4),
    "softmax": Case(softmax, "conv2", 0, (6, 7), 4),
    "channels_last": Case(channels_last, "transpose3", 2, (6, 7), 4),
    "decision": Case(decision, "conv2", 0, (6, 7), 4),
    "one": Case(one, "conv2", 0, (6, 7), 1),
    "separate": Case(separate, "conv2", 0, (6, 7), 3),
    "tokens": Case(tokens, "matmul2", 1, (5,), 11),
    "depth": Case(depth, "squeeze3", None, (6, 7), 1),
}
