"""Small files with units in every layout: maps, channels last, signals, tokens, vectors, names of TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import onnx

from .small_nets import Net


@dataclasses.dataclass(frozen=True)
class Case:
    """A file and a place in it.

    Attributes:
        make: Makes the file.
        tensor: The tensor, by its name in the file.
        axis: Its axis of channels, without the batch.
        channels: Their number.
        position: A position that the tensor has.
    """

    make: Callable[[], onnx.ModelProto]
    tensor: str
    axis: int
    channels: int
    position: tuple[int, ...] = ()


def maps() -> onnx.ModelProto:
    """conv0, relu1, conv2, relu3, maxpool4, flatten5, gemm6."""
    n = Net(2, 6, 6)
    y = n.relu(n.conv(n.relu(n.conv("x", 2, 4)), 4, 5))
    y = n.op("Flatten", n.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]))
    return n.model(n.dense(y, 45, 4))


def channels_last() -> onnx.ModelProto:
    """A picture [h, w, c], as converters of TensorFlow write it; transpose3 is [h, w, c] again."""
    n = Net(6, 6, 2, seed=1)
    y = n.relu(n.conv(n.op("Transpose", "x", perm=[0, 3, 1, 2]), 2, 4))
    y = n.op("Transpose", y, perm=[0, 2, 3, 1])
    y = n.op("Mul", y, np.linspace(0.5, 1.5, 4))
    return n.model(n.dense(n.op("Flatten", y), 144, 4))


def signal() -> onnx.ModelProto:
    """conv0 and relu1 are [c, t]: a matrix whose channels are its rows."""
    n = Net(3, 12, seed=2)
    y = n.relu(n.conv("x", 3, 5, kernel=(3,)))
    return n.model(n.dense(n.op("Flatten", y), 60, 4))


def tokens() -> onnx.ModelProto:
    """matmul0 and relu2 are [t, c]."""
    n = Net(7, 3, seed=3)
    y = n.relu(n.op("Add", n.op("MatMul", "x", n.rng.normal(size=(3, 5))), n.rng.normal(size=5)))
    return n.model(n.dense(n.op("Flatten", y), 35, 4))


def vector() -> onnx.ModelProto:
    n = Net(6, seed=4)
    return n.model(n.dense(n.relu(n.dense("x", 6, 8)), 8, 4))


CASES: Mapping[str, Case] = {
    "before a ReLU": Case(maps, "conv2", 0, 5, (3, 4)),
    "behind a ReLU": Case(maps, "relu3", 0, 5, (3, 4)),
    "channels last": Case(channels_last, "mul4", 2, 4, (5, 0)),
    "signal": Case(signal, "conv0", 0, 5, (7,)),
    "tokens": Case(tokens, "relu2", 1, 5, (6,)),
    "vector": Case(vector, "relu1", 0, 8),
}
