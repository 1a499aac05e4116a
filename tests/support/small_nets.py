"""Small networks with every join and geometry that relevance has trouble with, as ONNX models with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxlrp.compile import compile
from onnxlrp.composites import Composite
from onnxlrp.engines import Forward
from onnxlrp.graph.graph import Graph
from onnxlrp.graph.load import load
from onnxlrp.graph.outputs import heads
from onnxlrp.graph.writing.to_onnx import emit
from onnxlrp.methods.registry import METHODS as REGISTERED
from onnxlrp.methods.registry import composites

from .arrays import Array
from .conformance import prepared

# The presets that need no file; those of patterns have tests of their own.
METHODS = tuple(name for name in composites() if "patterns" not in REGISTERED[name].options)


def unregister(monkeypatch: pytest.MonkeyPatch, registry: Any, name: str) -> None:
    """Take a name out of a registry for the rest of a test."""
    assert name in list(registry)
    monkeypatch.delitem(registry._rows, name)


class Net:
    """Builds a model operator by operator; methods take and give tensor names."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape, self.opset = shape, 20
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, op: str, *inputs: str | Array, **attributes: Any) -> str:
        """A node; arrays among the inputs become initialisers."""
        names = [self.weight(i) if isinstance(i, np.ndarray) else i for i in inputs]
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [name], name=name, **attributes))
        return name

    def ops(self, op: str, *inputs: str | Array, results: int, **attributes: Any) -> list[str]:
        """A node with several results."""
        first = self.op(op, *inputs, **attributes)
        names = [first, *(f"{first}/{i}" for i in range(1, results))]
        self.nodes[-1].output.extend(names[1:])
        return names

    def weight(self, array: Array) -> str:
        name = f"w{len(self.weights)}"
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def conv(
        self,
        x: str,
        inner: int,
        outer: int,
        kernel: tuple[int, ...] = (3, 3),
        group: int = 1,
        bias: bool = True,
        **attributes: Any,
    ) -> str:
        """A convolution with He-scaled weights; padded to keep a stride 1 map's size unless `pads` are given."""
        weight = self.rng.normal(size=(outer, inner // group, *kernel)) / np.sqrt(inner // group * np.prod(kernel) / 2)
        attributes = {"pads": [k // 2 for k in kernel] * 2, **attributes}
        biases = [0.3 * self.rng.normal(size=outer)] if bias else []
        return self.op("Conv", x, weight, *biases, kernel_shape=kernel, group=group, **attributes)

    def dense(self, x: str, inner: int, outer: int, bias: bool = True) -> str:
        weight = self.rng.normal(size=(outer, inner)) / np.sqrt(inner / 2)
        biases = [0.3 * self.rng.normal(size=outer)] if bias else []
        return self.op("Gemm", x, weight, *biases, transB=1)

    def norm(self, x: str, channels: int) -> str:
        draw = self.rng.uniform
        return self.op("BatchNormalization", x, *(draw(0.5, 1.5, channels) for _ in range(4)))

    def relu(self, x: str) -> str:
        return self.op("Relu", x)

    def clip(self, x: str, high: float = 1.0) -> str:
        return self.op("Clip", x, np.array(0.0), np.array(high))

    def model(self, y: str, classes: int = 4, inputs: Sequence[str] = ("x",)) -> onnx.ModelProto:
        """The model with output y, [N, classes]."""
        values = [helper.make_tensor_value_info(i, TensorProto.FLOAT, ["N", *self.shape]) for i in inputs]
        out = helper.make_tensor_value_info(y, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "small", values, [out], self.weights)
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", self.opset)])
        return onnx.shape_inference.infer_shapes(model)


NETS: dict[str, Callable[[], onnx.ModelProto]] = {}


def net(make: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    NETS[make.__name__] = make
    return make


@net
def plain() -> onnx.ModelProto:
    n = Net(2, 5, 5)
    a = n.relu(n.conv("x", 2, 4))
    b = n.relu(n.conv(a, 4, 3, strides=[2, 2]))
    return n.model(n.dense(n.op("Flatten", b), 27, 4))


@net
def residual() -> onnx.ModelProto:
    n = Net(2, 5, 5, seed=1)
    a = n.op("MaxPool", n.relu(n.conv("x", 2, 3)), kernel_shape=[2, 2], strides=[1, 1])
    b = n.conv(n.relu(n.conv(a, 3, 3)), 3, 3)
    c = n.relu(n.op("Add", b, a))
    d = n.relu(n.conv(c, 3, 3, kernel=(1, 1)))
    return n.model(n.dense(n.op("Flatten", n.op("GlobalAveragePool", d)), 3, 4))


@net
def maxpool() -> onnx.ModelProto:
    n = Net(2, 6, 6, seed=2)
    a = n.op("MaxPool", n.relu(n.conv("x", 2, 4)), kernel_shape=[2, 2], strides=[2, 2])
    b = n.relu(n.conv(a, 4, 3))
    return n.model(n.dense(n.op("Flatten", b), 27, 4))


@net
def overlapping() -> onnx.ModelProto:
    """Max pooling of stride 2 over windows of 3, padded; then without a ReLU between it and the next layer."""
    n = Net(2, 7, 7, seed=3)
    a = n.op("MaxPool", n.relu(n.conv("x", 2, 3)), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    b = n.op("MaxPool", n.conv(a, 3, 3), kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1])
    return n.model(n.dense(n.op("Flatten", b), 48, 4))


@net
def norm_first() -> onnx.ModelProto:
    """BatchNormalization before the first convolution, and before a ReLU as in DenseNet."""
    n = Net(2, 5, 5, seed=4)
    a = n.conv(n.norm("x", 2), 2, 3)
    b = n.op("Concat", a, n.conv(n.relu(n.norm(a, 3)), 3, 2), axis=1)
    c = n.op("GlobalAveragePool", n.relu(n.norm(b, 5)))
    return n.model(n.dense(n.op("Flatten", c), 5, 4))


@net
def concat() -> onnx.ModelProto:
    """Two branches side by side, one of them grouped and dilated."""
    n = Net(4, 5, 5, seed=5)
    a = n.relu(n.conv("x", 4, 4, kernel=(1, 1)))
    b = n.relu(n.conv("x", 4, 4, group=2, dilations=[2, 2], pads=[2, 2, 2, 2]))
    c = n.relu(n.conv(n.op("Concat", a, b, axis=1), 8, 3, strides=[2, 2], pads=[0, 1, 1, 0]))
    return n.model(n.dense(n.op("Flatten", c), 12, 4))


@net
def pad() -> onnx.ModelProto:
    """A Pad that no convolution takes in, and depthwise convolution."""
    n = Net(2, 4, 4, seed=6)
    a = n.relu(n.conv("x", 2, 4))
    b = n.op("Pad", a, np.array([0, 0, 1, 1, 0, 0, 0, 1], np.int64))
    c = n.op("MaxPool", b, kernel_shape=[2, 2], strides=[1, 1])
    d = n.relu(n.conv(c, 4, 4, group=4, pads=[0, 0, 0, 0]))
    return n.model(n.dense(n.op("Flatten", d), 24, 4))


@net
def avgpool() -> onnx.ModelProto:
    n = Net(2, 6, 6, seed=7)
    a = n.relu(n.conv("x", 2, 4))
    b = n.op("AveragePool", a, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1)
    c = n.relu(n.conv(b, 4, 3))
    d = n.op("AveragePool", c, kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1])
    return n.model(n.dense(n.op("Flatten", d), 27, 4))


@net
def clip() -> onnx.ModelProto:
    """ReLU6's kind of ceiling, low enough to be reached."""
    n = Net(2, 5, 5, seed=8)
    a = n.clip(n.conv("x", 2, 4), 0.8)
    b = n.clip(n.conv(a, 4, 4, group=4), 0.5)
    c = n.conv(b, 4, 4, kernel=(1, 1))
    d = n.clip(n.op("Add", c, a))
    return n.model(n.dense(n.op("Flatten", d), 100, 4))


@net
def preactivation() -> onnx.ModelProto:
    """A convolution whose result goes both into a ReLU and around it."""
    n = Net(2, 4, 4, seed=10)
    a = n.conv("x", 2, 3)
    b = n.op("Add", n.conv(n.relu(a), 3, 3), a)
    c = n.op("Add", b, n.conv(n.relu(n.conv(n.relu(b), 3, 3)), 3, 3))
    return n.model(n.dense(n.op("Flatten", n.relu(c)), 48, 4))


@net
def everything() -> onnx.ModelProto:
    """One net with all of it: BN first, residual, overlapping max pooling, concat, clip, average pooling."""
    n = Net(2, 6, 6, seed=9)
    a = n.relu(n.conv(n.norm("x", 2), 2, 4))
    b = n.op("MaxPool", a, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    c = n.relu(n.op("Add", n.conv(n.relu(n.conv(b, 4, 4)), 4, 4, bias=False), b))
    d = n.op("Concat", n.clip(n.conv(c, 4, 2, kernel=(1, 1)), 0.7), n.relu(n.conv(c, 4, 2)), axis=1)
    e = n.op("AveragePool", d, kernel_shape=[2, 2], strides=[2, 2])
    f = n.relu(n.dense(n.op("Flatten", e), 36, 6))
    return n.model(n.dense(f, 6, 4))


@cache
def graph(name: str) -> Graph:
    """The loaded graph of a net by name."""
    return load(NETS[name]())


def as_it_stands(model: onnx.ModelProto) -> Graph:
    """The graph of a model whose output is explained itself, whatever its last functions are."""
    graph = load(model)
    return replace(graph, head=heads.decide(graph, graph.outputs[0].name, as_it_stands=True))


def forward(graph: Graph) -> Forward:
    """The forward model as engines take it."""
    return Forward(lambda dtype, tensors: emit(graph, dtype, tensors), tuple(t.name for t in graph.inputs))


def batch(graph: Graph, n: int = 2, seed: int = 0) -> dict[str, Array]:
    """Samples of mixed signs for each input of a graph."""
    rng = np.random.default_rng(seed)
    return {t.name: rng.normal(size=(n, *t.shape)).astype(np.float32) for t in graph.inputs}


def explained(
    graph: Graph, composite: Composite, inputs: Mapping[str, Array], name: str = "reference", **options: Any
) -> dict[str, Array]:
    """All outputs of the program that explains `inputs`; options are those of `compile`."""
    program = compile(graph, composite, **{"mode": "top", **options})
    return prepared(name, forward(graph), program)(inputs)


def agree(actual: Array, expected: Array, tolerance: float = 1e-9) -> None:
    """Equal to a share of the largest magnitude; what is expected to be zero is zero."""
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()
