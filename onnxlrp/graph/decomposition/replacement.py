"""The layers that stand for one layer of the file, in the making."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ..graph import Layer
from ..reading.printable import printable
from ..rewriting.mutable_graph import MutableGraph

_FIX = "Explain the model that it was optimised from."
# The opset that an operator came with.
_SINCE = {"Gelu": 20, "RMSNormalization": 23}


@dataclass
class Replacement:
    """The layers that stand for one layer of the file; `names`, `made` and `loose` are those of the whole model.

    `made` holds tensors that later layers may read again, by what they are. `loose` are the tensors whose integers were
    replaced by the numbers that they stand for (see `dynamic`).
    """

    graph: MutableGraph
    fused: Layer
    names: set[str]
    made: dict[Hashable, str] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)
    layers: list[Layer] = field(default_factory=list)

    def input(self, position: int) -> str:
        """The tensor of an input, "" where it is absent."""
        return self.fused.inputs[position] if position < len(self.fused.inputs) else ""

    def output(self, position: int = 0) -> str:
        return self.fused.outputs[position] if position < len(self.fused.outputs) else ""

    def shape(self, name: str) -> tuple[int, ...]:
        value = self.graph.constant(name)
        if value is None and name not in self.graph.shapes:
            raise self.refuse(f'an operand of unknown shape ("{printable(name)}")')
        return self.graph.shapes[name] if value is None else value.shape

    def rank(self, name: str) -> int:
        return len(self.shape(name))

    def attribute(self, name: str, default: Any) -> Any:
        return self.fused.attributes.get(name, default)

    def constant(self, value: Any, what: str) -> str:
        array = np.asarray(value, np.float32) if isinstance(value, float) else np.asarray(value)
        return self.graph.add_constant(array, f"{self.fused.name}/{what}")

    def add(self, op: str, *inputs: str, to: tuple[str, ...] = (), main: bool = False, **attributes: Any) -> str:
        """Append a layer; it writes `to`, or a tensor of its own, whose name is returned."""
        if self.graph.opsets.get("", 23) < _SINCE.get(op, 0):
            raise self.refuse(f"no standard form before opset {_SINCE[op]}")
        name = self.fused.name if main else self._named(op)
        given = list(inputs)
        while given and not given[-1]:
            given.pop()
        outputs = to or (f"{self.fused.outputs[0]}/{name}",)
        path = self.fused.path if main else ""
        self.layers.append(Layer(op, name, path, tuple(given), outputs, attributes))
        return outputs[0]

    def finish(self) -> None:
        """The last layer writes what the fused one wrote."""
        self.layers[-1] = replace(self.layers[-1], outputs=(self.output(),))

    def refuse(self, what: str, fix: str = _FIX) -> UnsupportedError:
        return UnsupportedError(f'The {self.fused.op} node "{printable(self.fused.name)}" has {what}.', fix)

    def only(self, *known: int) -> None:
        """Refuse inputs but those at `known` positions: they would be dropped silently."""
        for position, name in enumerate(self.fused.inputs):
            if name and position not in known:
                raise self.refuse(f'an input {position} ("{printable(name)}") that is not known')

    def _named(self, op: str) -> str:
        name, count = f"{self.fused.name}/{op}", 1
        while name in self.names:
            count += 1
            name = f"{self.fused.name}/{op}{count}"
        self.names.add(name)
        return name
