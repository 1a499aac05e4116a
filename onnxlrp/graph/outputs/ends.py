"""Layers put behind a tensor of a graph, one behind the other, as a further output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..graph import Array, Graph, Layer, Tensor
from ..names import unique_name


@dataclass
class End:
    """Layers behind a tensor.

    Attributes:
        graph: The graph.
        tensor: The tensor that the next layer reads: the result of the last one.
        label: What the names of the layers begin with.
        layers: The layers so far.
        constants: Their constants.
        shapes: The shapes of their results, per sample.
        dtypes: The types of their results.
        inputs: Further inputs that they read.
    """

    graph: Graph
    tensor: str
    label: str
    layers: list[Layer] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    inputs: list[Tensor] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor that the next layer reads."""
        return self.shapes[self.tensor] if self.tensor in self.shapes else self.graph.shapes[self.tensor]

    @property
    def dtype(self) -> str:
        """Its type."""
        return self.dtypes.get(self.tensor) or self.graph.dtypes.get(self.tensor, "float32")

    def add(
        self,
        op: str,
        shape: Sequence[int],
        *operands: str | Array,
        first: bool = False,
        dtype: str = "",
        **attributes: Any,
    ) -> str:
        """Append a layer that reads the tensor and further operands, and return its result.

        Args:
            op: The operator.
            shape: The shape of the result, per sample.
            *operands: Names of tensors, or constants.
            first: They come before the tensor.
            dtype: The type of the result; that of the tensor by default.
            **attributes: The attributes.
        """
        dtype, source = dtype or self.dtype, self.tensor
        out = unique_name(f"{self.label}/{op}", self.is_taken)
        names = [self._operand(out, operand) for operand in operands]
        inputs = (*names, source) if first else (source, *names)
        self.layers.append(Layer(op, out, "", tuple(inputs), (out,), attributes))
        self.shapes[out], self.dtypes[out] = tuple(shape), dtype
        self.tensor = out
        return out

    def add_input(self, wish: str, shape: tuple[int, ...], dtype: str) -> str:
        """Add an input of the graph, which the next layer reads; return its name."""
        name = unique_name(wish, self.is_taken)
        self.inputs.append(Tensor(name, shape, dtype))
        self.shapes[name], self.dtypes[name] = shape, dtype
        self.tensor = name
        return name

    def pick(self, axis: int, at: int) -> str:
        """Append a Gather of one element along an axis of a sample, which then has length 1."""
        shape = tuple(1 if i == axis else n for i, n in enumerate(self.shape))
        return self.add("Gather", shape, np.array([at], np.int64), axis=1 + axis)

    def sum(self, axes: Sequence[int], keep: bool) -> str:
        """Append a sum over axes of a sample, which are kept with length 1 or dropped."""
        shape = tuple(1 if i in axes else n for i, n in enumerate(self.shape) if keep or i not in axes)
        return self.add("ReduceSum", shape, np.array([1 + a for a in axes], np.int64), keepdims=int(keep))

    def renamed(self, wish: str) -> str:
        """Give the last result a name, and return it."""
        name, old = unique_name(wish, self.is_taken), self.tensor
        self.layers[-1] = replace(self.layers[-1], name=name, outputs=(name,))
        self.shapes[name], self.dtypes[name] = self.shapes.pop(old), self.dtypes.pop(old)
        self.tensor = name
        return name

    def with_output(self) -> Graph:
        """Return the graph with these layers, their inputs, and their last result as a further output."""
        graph, name = self.graph, self.tensor
        return replace(
            graph,
            layers=(*graph.layers, *self.layers),
            inputs=(*graph.inputs, *self.inputs),
            outputs=(*graph.outputs, Tensor(name, self.shapes[name], self.dtypes[name])),
            constants={**graph.constants, **self.constants},
            shapes={**graph.shapes, **self.shapes},
            dtypes={**graph.dtypes, **self.dtypes},
        )

    def is_taken(self, name: str) -> bool:
        """Whether a tensor, a constant or a layer has this name."""
        graph, layers = self.graph, {layer.name for layer in (*self.graph.layers, *self.layers)}
        return any(name in names for names in (layers, graph.shapes, graph.constants, self.shapes, self.constants))

    def _operand(self, out: str, operand: str | Array) -> str:
        if isinstance(operand, str):
            return operand
        name = unique_name(f"{out}/constant", self.is_taken)
        self.constants[name] = operand
        return name
