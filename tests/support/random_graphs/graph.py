"""A graph in the making."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

F = np.float32
TYPES = {np.dtype(F): 1, np.dtype(np.int64): 7, np.dtype(bool): 9}


@dataclass(frozen=True)
class Made:
    """A random model with what it is judged on.

    Attributes:
        model: The file.
        x: Three samples [3, …] of its first input.
        given: Values [3, …] of the other inputs by name.
        quantized: A value is rounded on its way: it may fall to either side, and its gradient is straight through.
    """

    model: onnx.ModelProto
    x: Any
    given: dict[str, Any]
    quantized: bool


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
    given: dict[str, Any] = field(default_factory=dict)
    quantized: bool = False

    def __post_init__(self) -> None:
        self.sample = self.shape
        self._names = 0

    # -- choices

    def number(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    # -- tensors

    def weight(self, value: Any, dtype: Any = F) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(value, dtype)
        return name

    def whole(self, *values: int) -> str:
        return self.weight(values, np.int64)

    def random(self, *shape: int) -> str:
        return self.weight(self.rng.normal(size=shape) / math.sqrt(max(1, math.prod(shape[1:]))))

    def another_input(self, shape: tuple[int, ...], dtype: Any = F, most: int = 2) -> str:
        """Another input of the model, one value for each sample: numbers, bools, or indices below `most`."""
        name = f"given{len(self.given)}"
        drawn = self.rng.normal(size=(3, *shape))
        self.given[name] = (drawn if dtype == F else self.rng.integers(0, most, drawn.shape)).astype(dtype)
        return name

    def fresh(self) -> str:
        self._names += 1
        return f"t{self._names}"

    # -- nodes

    def put(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node whose outputs are no part of the chain."""
        outs = [self.fresh() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), outs, name=f"/{op}_{len(self.nodes)}", **attributes))
        return outs[0] if outputs == 1 else outs

    def op(self, op: str, *inputs: str, shape: tuple[int, ...] | None = None, **attributes: Any) -> str:
        """A node that goes on the chain."""
        self.last = self.put(op, *inputs, **attributes)
        self.shape = self.shape if shape is None else shape
        return self.last

    def axes(self, op: str, axes: list[int], shape: tuple[int, ...], since: int = 13, **more: Any) -> None:
        """An operator whose axes are an attribute before an opset, and an input from there on."""
        self.op(op, self.last, *self.axes_input(axes, since), shape=shape, **self.axes_attribute(axes, since), **more)

    def axes_input(self, axes: list[int], since: int) -> list[str]:
        return [self.whole(*axes)] if self.opset >= since else []

    def axes_attribute(self, axes: list[int], since: int) -> dict[str, Any]:
        return {} if self.opset >= since else {"axes": axes}

    def reshape(self, *shape: int, last: str | None = None) -> str:
        """To a shape per sample, with 0, -1, the number itself or shape arithmetic for the batch."""
        source = self.last if last is None else last
        how = self.number(0, 3)
        if how == 0 and shape:  # as exporters write x.view(x.size(0), …)
            length = self.put("Gather", self.put("Shape", source), self.weight(0, np.int64), axis=0)
            row = self.put("Unsqueeze", length, *self.axes_input([0], 13), **self.axes_attribute([0], 13))
            target = self.put("Concat", row, self.whole(*shape), axis=0)
        elif how == 1:
            target = self.whole(-1, *shape)
        elif how == 2 and shape:
            target = self.whole(0, *shape[:-1], -1)
        else:
            target = self.whole(0, *shape)
        return self.op("Reshape", source, target, shape=tuple(shape))

    def transpose(self, *order: int, last: str | None = None) -> str:
        """The axes of a sample in another order."""
        source = self.last if last is None else last
        shape = tuple(self.shape[i] for i in order)
        return self.op("Transpose", source, shape=shape, perm=[0, *(i + 1 for i in order)])

    def attempt(self, op: str, *inputs: str, **attributes: Any) -> bool:
        """A node whose shape onnxruntime is asked for; False, and no node, if it does not run it."""
        before = self.last, self.shape, len(self.nodes), dict(self.weights)
        self.op(op, *inputs, **attributes)
        shape = self._measured()
        if shape is None:
            self.last, self.shape, self.weights = before[0], before[1], before[3]
            del self.nodes[before[2] :]
            return False
        self.shape = shape
        return True

    def _measured(self) -> tuple[int, ...] | None:
        """The shape per sample of the last tensor; None where it does not run, or its shape is inferred otherwise."""
        rng = np.random.default_rng(0)
        feeds = {"x": rng.normal(size=(1, *self.sample)).astype(F)} | {n: v[:1] for n, v in self.given.items()}
        try:
            own = session(self.model([helper.make_tensor_value_info(self.last, 1, None)]))
            shape = tuple(own.run(None, feeds)[0].shape[1:])
            inferred = own.get_outputs()[0].shape[1:]
        except Exception:  # onnxruntime's errors share no base
            return None
        same = all(not isinstance(n, int) or n == m for n, m in zip(inferred, shape, strict=False))
        return shape if same and min(shape, default=0) > 0 else None

    # -- the model

    def model(self, outputs: list[onnx.ValueInfoProto], batch: Any = "N") -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info("x", 1, [batch, *self.sample])]
        for name, value in self.given.items():
            inputs.append(helper.make_tensor_value_info(name, TYPES[value.dtype], [batch, *value.shape[1:]]))
        stored = [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """The file itself in onnxruntime, without any optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
