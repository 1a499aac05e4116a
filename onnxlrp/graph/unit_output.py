"""A unit as an output of the graph: one number for each sample, which every method can explain."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .graph import Array, Graph, Head, Layer, Tensor
from .names import unique_name
from .units import Unit


def with_output(graph: Graph, unit: Unit) -> tuple[Graph, Head]:
    """Return the graph with a further output, the activation of a unit, and the head of that output.

    The output is Σ weight · activation (`Unit.mask`), computed behind the tensor of the unit. Relevance starts at that
    tensor (`Head.unit`), not at the sum.

    Args:
        graph: The graph.
        unit: A unit of it.
    """
    end = _End(graph, unit.tensor, unit.label)
    name = end.append(unit)
    output = Tensor(name, (1,), end.dtypes[name])
    made = replace(
        graph,
        layers=(*graph.layers, *end.layers),
        outputs=(*graph.outputs, output),
        constants={**graph.constants, **end.constants},
        shapes={**graph.shapes, **end.shapes},
        dtypes={**graph.dtypes, **end.dtypes},
    )
    return made, Head(name, name, "Values", stated=True, unit=unit.tensor)


@dataclass
class _End:
    """Layers behind a tensor, one behind the other."""

    graph: Graph
    tensor: str
    label: str
    layers: list[Layer] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)

    def append(self, unit: Unit) -> str:
        """Append what computes the unit, and return the tensor of shape (1,), which has the unit's name."""
        found = self._append(unit)
        name = unique_name(unit.label, self._is_taken)
        self.layers[-1] = replace(self.layers[-1], name=name, outputs=(name,))
        self.shapes[name], self.dtypes[name] = self.shapes.pop(found), self.dtypes.pop(found)
        return name

    def _append(self, unit: Unit) -> str:
        spatial = [i for i in range(len(unit.shape)) if i != unit.axis]
        if not unit.shape:
            self._add("Unsqueeze", (1,), np.array([1], np.int64))
        for axis, at in zip(spatial, unit.position or (), strict=False):
            self._pick(axis, at)
        if spatial:
            self._sum(spatial, keep=False)
        if unit.channel is not None:
            return self._pick(0, unit.channel)
        if unit.direction is not None:
            self._add("Mul", (unit.channels,), np.asarray(unit.direction, np.float32))
        return self._sum([0], keep=True)

    def _pick(self, axis: int, at: int) -> str:
        shape = tuple(1 if i == axis else n for i, n in enumerate(self._shape))
        return self._add("Gather", shape, np.array([at], np.int64), axis=1 + axis)

    def _sum(self, axes: list[int], keep: bool) -> str:
        shape = tuple(1 if i in axes else n for i, n in enumerate(self._shape) if keep or i not in axes)
        return self._add("ReduceSum", shape, np.array([1 + a for a in axes], np.int64), keepdims=int(keep))

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.shapes[self.tensor] if self.tensor in self.shapes else self.graph.shapes[self.tensor]

    def _add(self, op: str, shape: tuple[int, ...], constant: Array, **attributes: Any) -> str:
        dtype = self.graph.dtypes.get(self.tensor, "float32") if not self.layers else self.dtypes[self.tensor]
        out = unique_name(f"{self.label}/{op}", self._is_taken)
        operand = unique_name(f"{out}/constant", self._is_taken)
        self.layers.append(Layer(op, out, "", (self.tensor, operand), (out,), attributes))
        self.constants[operand], self.shapes[out], self.dtypes[out] = constant, shape, dtype
        self.tensor = out
        return out

    def _is_taken(self, name: str) -> bool:
        graph, layers = self.graph, {layer.name for layer in (*self.graph.layers, *self.layers)}
        return any(name in names for names in (layers, graph.shapes, graph.constants, self.shapes, self.constants))
