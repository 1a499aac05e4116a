"""A branch of layers that is added to a graph for what explains a tensor, and changes nothing that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...graph import Array, Layer
from ...names import unique_name
from ...rewriting.builder import Builder
from ...rewriting.mutable_graph import MutableGraph


class Branch:
    """Layers with floats, each named after the layer whose result they explain.

    Args:
        graph: Gets constants, shapes and types.
        layer: The layer that is explained.
    """

    def __init__(self, graph: MutableGraph, layer: Layer) -> None:
        self.graph, self.layer = graph, layer
        self._build = Builder(graph, replace(layer, path=""))
        self._taken = {name for own in graph.layers for name in (own.name, *own.outputs)}

    @property
    def layers(self) -> list[Layer]:
        """The layers so far."""
        return self._build.layers

    def constant(self, value: Array, word: str) -> str:
        """Add a constant; numbers with a fraction are stored in float32."""
        array = value.astype(np.float32) if value.dtype.kind == "f" else value.astype(np.int64)
        return self._build.constant(array, f"{self.layer.name}/{word}")

    def add(self, op: str, *inputs: str, word: str, shape: Sequence[int], **attributes: Any) -> str:
        """Append a layer, and return what it writes.

        Args:
            op: Its operator.
            *inputs: The tensors that it reads.
            word: Its name, after that of the layer that is explained.
            shape: The shape of a sample of its result.
            **attributes: Its attributes.
        """
        name = unique_name(f"{self.layer.name}/{word}", lambda n: n in self._taken or n in self.graph.constants)
        self._taken.add(name)
        self._build.add(op, *inputs, out=name, name=name, shape=(self.graph.batch, *shape), **attributes)
        self.graph.dtypes[name] = "float32"
        return name

    def gemm(self, x: str, weight: Array, bias: Array | None, word: str) -> str:
        """Append x W + b, W [D, F]."""
        operands = [x, self.constant(weight, f"{word}/weight")]
        operands += [] if bias is None else [self.constant(bias, f"{word}/bias")]
        how = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        return self.add("Gemm", *operands, word=word, shape=weight.shape[1:], **how)

    def unsqueeze(self, x: str, axis: int, word: str, shape: Sequence[int]) -> str:
        """Append an Unsqueeze along one axis."""
        return self.add("Unsqueeze", x, self.constant(np.array([axis]), f"{word}/axis"), word=word, shape=shape)

    def reduce(self, op: str, x: str, axis: int, word: str, shape: Sequence[int]) -> str:
        """Append a reduction over one axis, which it drops."""
        axes = self.constant(np.array([axis]), f"{word}/axis")
        return self.add(op, x, axes, word=word, shape=shape, keepdims=0, noop_with_empty_axes=0)

    def take(self, x: str, indices: Array, word: str, shape: Sequence[int]) -> str:
        """Append a Gather of elements along axis 1."""
        return self.add("Gather", x, self.constant(indices, f"{word}/indices"), word=word, shape=shape, axis=1)
