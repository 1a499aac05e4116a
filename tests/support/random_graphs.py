"""Random valid graphs: a chain of layers with branches, in the spellings of opsets 9 to 23, from a seed.

Every graph takes x [N, …] with any batch, or a batch of one that is written down, and gives y [N, K].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

F = np.float32
UNARY = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Softplus", "Neg", "Abs", "Identity", "HardSigmoid", "Selu")


@dataclass
class Graph:
    """A graph in the making: the last tensor with its shape per sample, nodes and weights.

    Attributes:
        rng: What decides.
        opset: The operator set that the nodes are spelled in.
        shape: Shape of the last tensor per sample.
        quantized: Whether a value is rounded on its way.
    """

    rng: np.random.Generator
    opset: int
    shape: tuple[int, ...]
    last: str = "x"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)
    quantized: bool = False

    def weight(self, value: Any, dtype: Any = F) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(value, dtype)
        return name

    def random(self, *shape: int) -> str:
        return self.weight(self.rng.normal(size=shape) / math.sqrt(max(1, math.prod(shape[1:]))))

    def op(self, op: str, *inputs: str, shape: tuple[int, ...] | None = None, **attributes: Any) -> str:
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=f"/{op}_{len(self.nodes)}", **attributes))
        self.last, self.shape = out, self.shape if shape is None else shape
        return out

    def axes(self, op: str, axes: list[int], shape: tuple[int, ...], since: int = 13, **more: Any) -> None:
        """An operator whose axes are an attribute before an opset, and an input from there on."""
        if self.opset < since:
            self.op(op, self.last, shape=shape, axes=axes, **more)
        else:
            self.op(op, self.last, self.weight(axes, np.int64), shape=shape, **more)


def unary(g: Graph) -> None:
    g.op(str(g.rng.choice(UNARY)), g.last)


def clip(g: Graph) -> None:
    """Between bounds that no rounded value meets: at a kink, either slope is right."""
    if g.opset < 11:
        g.op("Clip", g.last, min=-0.51, max=1.01)
    else:
        g.op("Clip", g.last, g.weight(-0.51), g.weight(1.01))


def conv(g: Graph) -> None:
    channels, sides = g.shape[0], g.shape[1:]
    kernel = [int(g.rng.integers(1, min(3, n) + 1)) for n in sides]
    stride = int(g.rng.integers(1, 3))
    group = channels if g.rng.random() < 0.25 else 1
    filters = group * int(g.rng.integers(1, 4))
    pads = [int(g.rng.integers(0, 2)) for _ in range(2 * len(sides))]
    d = len(sides)
    shape = tuple((n + pads[i] + pads[i + d] - kernel[i]) // stride + 1 for i, n in enumerate(sides))
    inputs = [g.last, g.random(filters, channels // group, *kernel)]
    inputs += [g.random(filters)] if g.rng.random() < 0.7 else []
    g.op("Conv", *inputs, shape=(filters, *shape), kernel_shape=kernel, strides=[stride] * d, pads=pads, group=group)


def batch_norm(g: Graph) -> None:
    c = g.shape[0]
    variance = g.weight(g.rng.random(c) + 0.5)
    g.op("BatchNormalization", g.last, g.random(c), g.random(c), g.random(c), variance)


def pool(g: Graph) -> None:
    if min(g.shape[1:]) < 2:
        return
    d = len(g.shape) - 1
    shape = (g.shape[0], *((n - 2) // 2 + 1 for n in g.shape[1:]))
    op = "MaxPool" if g.rng.random() < 0.5 else "AveragePool"
    g.op(op, g.last, shape=shape, kernel_shape=[2] * d, strides=[2] * d)


def affine(g: Graph) -> None:
    """Times and plus a constant: of one number, or one for each channel."""
    small = (1,) if g.rng.random() < 0.3 else (g.shape[0], *[1] * (len(g.shape) - 1))
    g.op(str(g.rng.choice(["Mul", "Add", "Sub", "Div"])), g.last, g.weight(g.rng.random(small) + 0.5))


def residual(g: Graph) -> None:
    before, shape = g.last, g.shape
    for _ in range(int(g.rng.integers(1, 3))):
        (unary if g.rng.random() < 0.6 else affine)(g)
    op = str(g.rng.choice(["Add", "Mul", "Sub", "Max", "Concat"]))
    if op == "Concat":
        g.op("Concat", before, g.last, shape=(2 * shape[0], *shape[1:]), axis=1)
    else:
        g.op(op, before, g.last)


def transpose(g: Graph) -> None:
    order = g.rng.permutation(len(g.shape))
    g.op("Transpose", g.last, shape=tuple(g.shape[i] for i in order), perm=[0, *(int(i) + 1 for i in order)])


def reshape(g: Graph) -> None:
    """The sample flattened and cut anew, with 0, -1 or the number itself for the batch where that is allowed."""
    size = int(np.prod(g.shape))
    first = int(g.rng.choice([n for n in range(1, size + 1) if size % n == 0]))
    shape = (first, size // first)
    target = [0, *shape] if g.rng.random() < 0.5 else [-1, *shape]
    g.op("Reshape", g.last, g.weight(target, np.int64), shape=shape)


def matmul(g: Graph) -> None:
    if len(g.shape) < 2:
        return
    out = int(g.rng.integers(2, 6))
    g.op("MatMul", g.last, g.random(g.shape[-1], out), shape=(*g.shape[:-1], out))


def softmax(g: Graph) -> None:
    if g.opset >= 13:
        g.op("Softmax", g.last, axis=-1)


def reduce(g: Graph) -> None:
    if len(g.shape) < 2:
        return
    axis = len(g.shape)
    if g.rng.random() < 0.5:
        g.axes("ReduceSum", [axis], g.shape[:-1], keepdims=0)
    else:
        g.axes("ReduceMean", [axis], (*g.shape[:-1], 1), since=18, keepdims=1)


def unsqueeze(g: Graph) -> None:
    if len(g.shape) < 4:
        g.axes("Unsqueeze", [len(g.shape) + 1], (*g.shape, 1))


def sliced(g: Graph) -> None:
    n = g.shape[0]
    if n < 2 or g.opset < 10:
        return
    start, stop = sorted(g.rng.choice(n + 1, 2, replace=False).tolist())
    bounds = [g.weight([value], np.int64) for value in (start, stop, 1)]
    g.op("Slice", g.last, *bounds, shape=(stop - start, *g.shape[1:]))


def pad(g: Graph) -> None:
    amounts = [0, *[int(g.rng.integers(0, 2)) for _ in g.shape], 0, *[int(g.rng.integers(0, 2)) for _ in g.shape]]
    d = len(g.shape) + 1
    shape = tuple(n + amounts[i + 1] + amounts[i + 1 + d] for i, n in enumerate(g.shape))
    if g.opset < 11:
        g.op("Pad", g.last, shape=shape, pads=amounts)
    else:
        g.op("Pad", g.last, g.weight(amounts, np.int64), shape=shape)


def round_trip(g: Graph) -> None:
    """QuantizeLinear and DequantizeLinear, as quantisers write them."""
    if g.opset < 10:
        return
    scale, zero = g.weight(0.02), g.weight(128, np.uint8)
    whole = g.op("QuantizeLinear", g.last, scale, zero)
    g.op("DequantizeLinear", whole, scale, zero)
    g.quantized = True


LAYERS: tuple[Callable[[Graph], None], ...] = (
    unary, clip, affine, residual, transpose, reshape, matmul, softmax, reduce, unsqueeze, sliced, pad, round_trip,
)  # fmt: skip
WITH_SPACE: tuple[Callable[[Graph], None], ...] = (conv, conv, batch_norm, pool)


def random_model(seed: int) -> tuple[onnx.ModelProto, Any, bool]:
    """Return a model, three samples of it, and whether it rounds.

    Args:
        seed: The same seed gives the same model.
    """
    rng = np.random.default_rng(seed)
    shape = [(2, 5, 6), (3, 8), (7,), (1, 6, 6), (4, 3)][int(rng.integers(5))]
    g = Graph(rng, int(rng.integers(9, 24)), shape)
    for _ in range(int(rng.integers(1, 8))):
        spatial = len(g.shape) in (2, 3) and rng.random() < 0.4
        kinds = WITH_SPACE if spatial else LAYERS
        kinds[int(rng.integers(len(kinds)))](g)
    size, classes = int(np.prod(g.shape)), int(rng.integers(2, 5))
    g.op("Flatten", g.last, shape=(size,), axis=1)
    if rng.random() < 0.5:
        g.op("Gemm", g.last, g.random(classes, size), g.random(classes), shape=(classes,), transB=1)
    else:
        g.op("MatMul", g.last, g.random(size, classes), shape=(classes,))
    if rng.random() < 0.3:
        g.op("Softmax", g.last, axis=1)
    g.nodes[-1].output[0] = "y"
    batch: Any = "N" if rng.random() < 0.8 else 1
    graph = helper.make_graph(
        g.nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [batch, *shape])],
        [helper.make_tensor_value_info("y", 1, [batch, classes])],
        [numpy_helper.from_array(value, name) for name, value in g.weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", g.opset)], ir_version=8)
    return model, rng.normal(size=(3, *shape)).astype(F), g.quantized
