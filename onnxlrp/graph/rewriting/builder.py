"""The one way to make layers: those that stand for a layer of a graph, with names, shapes and types of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import Layer
from .mutable_graph import MutableGraph

Shape = tuple[int, ...]


@dataclass
class Builder:
    """Layers that stand for one layer of a graph, added one behind the other.

    Each has the path of that layer; what it writes has its type, and a shape where one is given.

    Attributes:
        graph: Gets the constants, shapes and types. Its list of layers is left to the caller.
        layer: What the new layers stand for.
        layers: The new layers, in order.
    """

    graph: MutableGraph
    layer: Layer
    layers: list[Layer] = field(default_factory=list)

    @property
    def out(self) -> str:
        """The first output of the layer that is replaced."""
        return self.layer.outputs[0]

    def shape(self, name: str) -> Shape:
        """The shape of an activation or a constant; () where it is not known."""
        return self.graph.shape(name)

    def constant(self, value: npt.ArrayLike, name: str) -> str:
        """Add a constant, and return the name that it got: the given one, or a numbered one where that is taken."""
        return self.graph.add_constant(np.asarray(value), name)

    def integers(self, value: npt.ArrayLike, name: str) -> str:
        """Add a constant of int64: a shape, axes or indices."""
        return self.constant(np.asarray(value, np.int64), name)

    def declare(self, name: str, shape: Sequence[int]) -> str:
        """Note the shape of a new activation, and return its name."""
        self.graph.shapes[name] = tuple(int(n) for n in shape)
        if self.out in self.graph.dtypes:
            self.graph.dtypes[name] = self.graph.dtypes[self.out]
        return name

    def add(
        self,
        op: str,
        *inputs: str,
        out: str = "",
        name: str = "",
        shape: Sequence[int] | None = None,
        **attributes: Any,
    ) -> str:
        """Append a layer.

        Args:
            op: Its operator.
            *inputs: The tensors that it reads.
            out: The tensor that it writes; what the replaced layer writes by default.
            name: Its name; that of the replaced layer followed by `out` by default.
            shape: Shape of `out`, the batch included, where it is not known yet.
            **attributes: Its attributes.

        Returns:
            The tensor that it writes.
        """
        out = out or self.out
        if shape is not None:
            self.declare(out, shape)
        self.layers.append(Layer(op, name or f"{self.layer.name}/{out}", self.layer.path, inputs, (out,), attributes))
        return out

    def keep(self, **changes: Any) -> None:
        """Append the replaced layer itself, with some of its fields changed."""
        self.layers.append(replace(self.layer, **changes))

    def reshape(self, source: str, shape: Sequence[int], out: str, name: str = "", declare: bool = True) -> str:
        """Append a Reshape, under the name of the replaced layer where it writes what that wrote."""
        target = self.integers(shape, f"{out}/shape")
        name = name or (self.layer.name if out == self.out else "")
        return self.add("Reshape", source, target, out=out, name=name, shape=shape if declare else None)

    def slice(self, source: str, bounds: tuple[int, int], axis: int, out: str, name: str = "") -> str:
        """Append `source[start:end]` along one axis."""
        parts = (("start", bounds[0]), ("end", bounds[1]), ("axis", axis))
        where = [self.integers([value], f"{out}/{part}") for part, value in parts]
        shape = [bounds[1] - bounds[0] if i == axis else n for i, n in enumerate(self.shape(source))]
        return self.add("Slice", source, *where, out=out, name=name, shape=shape)

    def concat(self, parts: Sequence[str], axis: int, out: str) -> str:
        """Append the concatenation of tensors along one axis."""
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self.add("Concat", *parts, out=out, shape=shape, axis=axis)
