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


def vision_transformer() -> onnx.ModelProto:
    """Patches, a class token, one block of attention and one of a GELU; channels of tokens are last.

    conv0 [6, 2, 2] are the patches, matmul10 [5, 18] query, key and value, matmul24 [5, 6] what attention adds, gelu30
    [5, 12] and matmul31 [5, 6] the perceptron; the head reads the class token.
    """
    n = Net(3, 8, 8, seed=5)
    patches = n.conv("x", 3, 6, kernel=(4, 4), strides=[4, 4], pads=[0, 0, 0, 0])
    flat = n.op("Reshape", patches, np.array([0, 6, 4], np.int64))
    tokens = n.op("Transpose", flat, perm=[0, 2, 1])
    shape = n.op("Shape", tokens)
    count = n.op("Gather", shape, np.array([0], np.int64))
    many = n.op("Concat", count, np.array([1, 6], np.int64), axis=0)
    token = n.op("Expand", n.rng.normal(size=(1, 1, 6)), many)
    x = n.op("Add", n.op("Concat", token, tokens, axis=1), 0.1 * n.rng.normal(size=(5, 6)))

    def norm(y: str) -> str:
        return n.op("LayerNormalization", y, n.rng.uniform(0.5, 1.5, 6), 0.1 * n.rng.normal(size=6), axis=-1)

    def linear(y: str, inner: int, outer: int) -> str:
        weighted = n.op("MatMul", y, n.rng.normal(size=(inner, outer)) / np.sqrt(inner))
        return n.op("Add", weighted, 0.1 * n.rng.normal(size=outer))

    split = n.op("Reshape", linear(norm(x), 6, 18), np.array([0, 5, 3, 2, 3], np.int64))
    heads = n.op("Transpose", split, perm=[2, 0, 3, 1, 4])
    q, k, v = (n.op("Gather", heads, np.array(i, np.int64), axis=0) for i in range(3))
    scores = n.op("MatMul", n.op("Mul", q, np.array(3**-0.5)), n.op("Transpose", k, perm=[0, 1, 3, 2]))
    mixed = n.op("Transpose", n.op("MatMul", n.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    y = n.op("Add", x, linear(n.op("Reshape", mixed, np.array([0, 5, 6], np.int64)), 6, 6))
    z = n.op("Add", y, linear(n.op("Gelu", linear(norm(y), 6, 12)), 12, 6))
    first = n.op("Gather", norm(z), np.array(0, np.int64), axis=1)
    return n.model(n.dense(first, 6, 4))


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
