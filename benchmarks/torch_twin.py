"""A plain convolutional network of an ONNX file as modules of torch, which libraries with hooks can name."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper


class Twin(torch.nn.Module):
    """The nodes of a graph in order, those with weights and activations as modules."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        graph = onnx.load(path).graph
        constants = {t.name: torch.tensor(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        self.source = next(i.name for i in graph.input if i.name not in constants)
        self.steps: list[tuple[str, str, list[str], str]] = []
        self.axes: dict[str, int] = {}
        for n, node in enumerate(graph.node):
            if node.op_type == "Softmax":
                break
            given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            name = f"{node.op_type.lower()}{n}"
            made = self._module(node, given, constants)
            if made is not None:
                self.add_module(name, made)
            self.axes[name] = int(given.get("axis", 1))
            self.steps.append((name, node.op_type, [i for i in node.input if i not in constants], node.output[0]))

    def _module(self, node: Any, given: dict[str, Any], constants: dict[str, Any]) -> Any:
        pads = given.get("pads", [0, 0, 0, 0])
        if node.op_type == "Conv":
            weight, *bias = (constants[name] for name in node.input[1:])
            made = torch.nn.Conv2d(
                weight.shape[1] * given.get("group", 1),
                weight.shape[0],
                tuple(weight.shape[2:]),
                stride=tuple(given.get("strides", (1, 1))),
                padding=tuple(pads[:2]),
                groups=given.get("group", 1),
                bias=bool(bias),
            )
            made.weight.data = weight
            if bias and made.bias is not None:
                made.bias.data = bias[0]
            return made
        if node.op_type == "Relu":
            return torch.nn.ReLU()
        if node.op_type == "MaxPool":
            return torch.nn.MaxPool2d(tuple(given["kernel_shape"]), tuple(given["strides"]), tuple(pads[:2]))
        if node.op_type == "AveragePool":
            return torch.nn.AvgPool2d(tuple(given["kernel_shape"]), tuple(given.get("strides", (1, 1))))
        if node.op_type == "GlobalAveragePool":
            return torch.nn.AdaptiveAvgPool2d(1)
        if node.op_type not in ("Concat", "Dropout", "Flatten", "Reshape", "Identity"):
            raise SystemExit(f"{node.op_type} is not in the twin")
        return None

    def forward(self, x: Any) -> Any:
        """Return the logits [N, K]."""
        values = {self.source: x}
        for name, op, inputs, output in self.steps:
            operands = [values[i] for i in inputs]
            if op == "Concat":
                values[output] = torch.cat(operands, self.axes[name])
            elif op in ("Flatten", "Reshape"):
                values[output] = operands[0].flatten(1)
            elif op in ("Dropout", "Identity"):
                values[output] = operands[0]
            else:
                values[output] = getattr(self, name)(operands[0])
        return values[output].flatten(1)


def twin(path: Path) -> tuple[Twin, list[str]]:
    """Return the network, and the names of its convolutions in order."""
    net = Twin(path).eval()
    for parameter in net.parameters():
        parameter.requires_grad = False
    return net, [name for name, op, _, _ in net.steps if op == "Conv"]


class _Absent(types.ModuleType):
    """A package that is not installed; what is imported from it is a class without instances."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def without_figures() -> None:
    """Let zennit and zennit-crp be imported where what they draw with, and networks of their own, are missing."""
    for package, inner in (
        ("torchvision", ("models", "models.resnet", "models.vgg", "transforms", "transforms.functional")),
        ("matplotlib", ("pyplot", "gridspec")),
    ):
        try:
            __import__(package)
        except ImportError:
            for name in (package, *(f"{package}.{word}" for word in inner)):
                sys.modules[name] = _Absent(name)
