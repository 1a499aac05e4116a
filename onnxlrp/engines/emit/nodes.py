"""Builder of the nodes and initialisers of an ONNX graph, which appends equal ones once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from ...program.program import Array

SMALL = 4096  # constant expressions up to this many elements are stored folded
_FAR = int(np.iinfo(np.int64).max)  # the end of a slice that reaches to the last element


class Nodes:
    """Appends nodes and initialisers to a graph.

    Args:
        graph: The graph. Names of new tensors begin with the attribute `origin`, the layer and rule they come from.
        portable: Whether operators that only onnxruntime is known to have are avoided.
    """

    def __init__(self, graph: onnx.GraphProto, portable: bool = False) -> None:
        self.graph, self.portable = graph, portable
        self.origin = ""
        self._taken = {name for node in graph.node for name in (*node.output, *node.input)}
        self._taken |= {value.name for value in graph.input}
        self._weights = {tensor.name for tensor in graph.initializer}
        self._stored: dict[tuple[Any, ...], str] = {}
        self._shared: dict[tuple[Any, ...], list[str]] = {}

    def inner(self, graph: onnx.GraphProto) -> InnerNodes:
        """Return a builder of the body of a loop, whose nodes may read the tensors of this graph."""
        return InnerNodes(self, graph)

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node, unless there is an equal one, and return the name of its result."""
        return self.nodes(op, inputs, 1, **attributes)[0]

    def nodes(self, op: str, inputs: Sequence[str], results: int, **attributes: Any) -> list[str]:
        """Append a node with several results, unless there is an equal one, and return their names."""
        key = (op, tuple(inputs), results, repr(sorted(attributes.items())))
        if key not in self._shared:
            outputs = [self.fresh(f"{self.origin}/{op}") for _ in range(results)]
            self.graph.node.append(helper.make_node(op, list(inputs), outputs, name=outputs[0], **attributes))
            self._shared[key] = outputs
        return self._shared[key]

    def fresh(self, wish: str, prefix: str = "lrp/") -> str:
        """Return a name that no tensor has, as `wish` or with a number behind it."""
        wish = prefix + re.sub(r"[^\w./:-]", "_", wish)
        name, n = wish, 1
        while name in self._taken:
            n += 1
            name = f"{wish}_{n}"
        self._taken.add(name)
        return name

    def store(self, array: npt.ArrayLike) -> str:
        """Append an initialiser, unless there is an equal one, and return its name; floats become float32."""
        array = np.asarray(array)
        if np.issubdtype(array.dtype, np.floating):
            array = array.astype(np.float32)
        array = np.ascontiguousarray(array).reshape(array.shape)
        # Not by id: the next array may get the address of this one.
        content = array.tobytes() if array.size <= SMALL else hashlib.sha256(array.data).digest()
        key = (array.shape, array.dtype.str, content)
        if key not in self._stored:
            name = self.fresh("constant")
            self.graph.initializer.append(numpy_helper.from_array(array, name))
            self._stored[key] = name
        return self._stored[key]

    def ints(self, *values: int) -> str:
        """Append a vector of int64 as an initialiser, and return its name."""
        return self.store(np.asarray(values, np.int64))

    def pad(self, x: str, before: Sequence[int], after: Sequence[int], *value: str) -> str:
        """Append padding of every axis, and return the name of the result; a negative amount crops.

        Other runtimes lack negative amounts: for them cropping is a Slice of its own.

        Args:
            x: The tensor.
            before: How many elements are put before the first of each axis.
            after: How many are put behind the last.
            value: The scalar that is put there; 0 if there is none.
        """
        if not any(before) and not any(after):
            return x
        cropped = [axis for axis, amounts in enumerate(zip(before, after, strict=True)) if min(amounts) < 0]
        if not self.portable or not cropped:
            return self.node("Pad", x, self.ints(*before, *after), *value)
        starts = [max(0, -before[axis]) for axis in cropped]
        ends = [after[axis] if after[axis] < 0 else _FAR for axis in cropped]
        x = self.node("Slice", x, self.ints(*starts), self.ints(*ends), self.ints(*cropped))
        return self.pad(x, [max(0, n) for n in before], [max(0, n) for n in after], *value)

    def weight(self, name: str, array: Array) -> str:
        """Return the name of a weight of the model, appended where the forward pass has not kept it."""
        if name not in self._weights:
            self.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
            self._weights.add(name)
            self._taken.add(name)
        return name


class InnerNodes(Nodes):
    """Appends nodes to the graph of a loop's body; what does not depend on the step goes to the graph around it.

    Args:
        outer: The builder of the graph around it.
        graph: The body. Its inputs are there already.
    """

    def __init__(self, outer: Nodes, graph: onnx.GraphProto) -> None:
        self.outer, self.graph, self.portable = outer, graph, outer.portable
        self._shared: dict[tuple[Any, ...], list[str]] = {}
        self._inside = {value.name for value in graph.input}

    @property
    def origin(self) -> str:
        """The layer and rule that new tensors come from."""
        return self.outer.origin

    @origin.setter
    def origin(self, origin: str) -> None:
        self.outer.origin = origin

    def nodes(self, op: str, inputs: Sequence[str], results: int, **attributes: Any) -> list[str]:
        """Append a node with several results, unless there is an equal one, and return their names."""
        if self._inside.isdisjoint(inputs):
            return self.outer.nodes(op, inputs, results, **attributes)
        found = super().nodes(op, inputs, results, **attributes)
        self._inside.update(found)
        return found

    def fresh(self, wish: str, prefix: str = "lrp/") -> str:
        """Return a name that no tensor has."""
        return self.outer.fresh(wish, prefix)

    def store(self, array: npt.ArrayLike) -> str:
        """Append an initialiser to the graph around the body."""
        return self.outer.store(array)

    def weight(self, name: str, array: Array) -> str:
        """Return the name of a weight of the model."""
        return self.outer.weight(name, array)
