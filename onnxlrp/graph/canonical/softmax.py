"""A softmax that stands as its formula becomes one layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .. import operators
from ..graph import Array, Layer
from ..names import unique_name
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph

Shape = tuple[int, ...]
_Turn = tuple[str, Array]  # an operator on logits and its constant


def fuse_softmax(graph: MutableGraph) -> None:
    """Write eᵘ / Σ eᵘ as Softmax(u), and u − ln Σ eᵘ as LogSoftmax(u), along one axis that is not the batch.

    The same where u = x − m is shifted by anything that is constant along the axis, the maximum as a rule: that changes
    neither function, so that x takes the place of u. The sum may be kept in its place by any reshape; the logarithm may
    be a ReduceLogSumExp; Exp(LogSoftmax(x)) and Log(Softmax(x)) are the one layer that they equal. A Softmax along
    several axes is one along their elements as one axis. Where w p or p^c of p = Softmax(x) is divided by its sum, as
    other frequencies of the classes and a temperature are given to a trained model, the Softmax is that of x + ln w or
    c x.

    Args:
        graph: Has the shapes of all activations.
    """
    formulas = _Formulas(graph)
    graph.layers = [made for layer in graph.layers for made in formulas.replaced(layer)]


@dataclass(eq=False)
class _Formulas:
    """The formulas of a graph, read backward from the layer in which each ends."""

    graph: MutableGraph

    def __post_init__(self) -> None:
        self.producers = self.graph.producers()

    def replaced(self, layer: Layer) -> list[Layer]:
        """Return the layers of the softmax that a layer is the end of, or the layer."""
        found, op = None, "Softmax"
        made: list[Layer] = []
        if layer.op in ("Div", "Mul") and len(layer.inputs) == 2:
            if (quotient := self._quotient(layer)) is not None:
                found, made = self._written(layer, *quotient)
                if not found:
                    self.producers.update({part.outputs[0]: part for part in made})
                    return made
        elif layer.op == "Exp":
            found = self._of(layer.inputs[0], "LogSoftmax") or self._difference(self.producers.get(layer.inputs[0]))
        elif layer.op in ("Log", "Sub"):
            found, op = (
                self._of(layer.inputs[0], "Softmax") if layer.op == "Log" else self._difference(layer),
                "LogSoftmax",
            )
        if found is None or self.graph.shape(found[0]) != self.graph.shape(layer.outputs[0]):
            return [layer]
        made.append(replace(layer, op=op, inputs=(found[0],), attributes={"axis": found[1]}))
        self.producers.update({part.outputs[0]: part for part in made})
        return made

    def _of(self, tensor: str, op: str) -> tuple[str, int] | None:
        """Operand and axis of the softmax that writes a tensor."""
        layer = self.producers.get(tensor)
        if layer is None or layer.op != op:
            return None
        axis = int(layer.attributes.get("axis", -1)) % len(self.graph.shape(tensor))
        return (layer.inputs[0], axis) if axis else None

    def _quotient(self, layer: Layer) -> tuple[str, Shape, list[_Turn]] | None:
        """Operand and axes of e / Σ e, the sum divided by or its inverse a factor, and what is done to its logits."""
        left, right = layer.inputs
        pairs = ((left, right),) if layer.op == "Div" else ((left, right), (right, left))
        for power, norm in pairs:
            if layer.op == "Mul":
                inverse = self.producers.get(norm)
                if inverse is None or inverse.op != "Reciprocal":
                    continue
                norm = inverse.inputs[0]
            axes = self._axes(norm, "ReduceSum", power)
            source, turns = self._unturned(power)
            if not axes or source is None:
                continue
            if source.op == "Exp":
                return self._unshifted(source.inputs[0], *axes), axes, turns
            if turns and (softmax := self._of(source.outputs[0], "Softmax")) is not None and axes == softmax[1:]:
                return softmax[0], axes, turns
        return None

    def _unturned(self, tensor: str) -> tuple[Layer | None, list[_Turn]]:
        """The layer before products with positive constants and powers, and these as layers of logarithms, in order."""
        turns: list[_Turn] = []
        while (layer := self.producers.get(tensor)) is not None and layer.op in operators.FACTORS_AND_POWERS:
            for x, factor in (layer.inputs, layer.inputs[::-1])[: 2 if layer.op == "Mul" else 1]:
                value = self.graph.constant(factor)
                if value is not None and self.graph.shape(x) == self.graph.shape(tensor) and (value > 0).all():
                    break
            else:
                break
            value = np.asarray(value, np.float64)
            if layer.op == "Pow" and value.size != 1:
                break
            turns.append(("Mul", value) if layer.op == "Pow" else ("Add", np.log(value) * (1, -1)[layer.op == "Div"]))
            tensor = x
        return layer, turns[::-1]

    def _written(
        self, layer: Layer, x: str, axes: Shape, turns: list[_Turn]
    ) -> tuple[tuple[str, int] | None, list[Layer]]:
        """Operand and axis of a softmax of turned logits, and the layers before it; no operand where these are all."""
        graph, build = self.graph, Builder(self.graph, layer)
        shape = graph.shape(x)

        def new(word: str) -> str:
            return unique_name(f"{build.out}/{word}", lambda name: name in graph.shapes or name in graph.constants)

        for op, value in turns:
            kept = value.astype(graph.dtypes.get(build.out, "float32"))
            x = build.add(op, x, build.constant(kept, f"{build.out}/turn"), out=new("turned"), shape=shape)
        if len(axes) == 1 or shape != graph.shape(build.out):
            return (x, axes[0]), build.layers
        whole = (*shape[: axes[0]], math.prod(shape[a] for a in axes), *shape[axes[-1] + 1 :])
        for name, target in (("flat", whole), (build.out, shape)):
            if name != build.out:
                x = build.add("Reshape", x, self._target(build, target), out=new(name), shape=target)
                x = build.add("Softmax", x, out=new("softmax"), name=layer.name, shape=target, axis=axes[0])
            else:
                build.add("Reshape", x, self._target(build, target))
        return None, build.layers

    def _target(self, build: Builder, shape: Shape) -> str:
        return build.integers([-1, *shape[1:]], f"{build.out}/shape")

    def _difference(self, layer: Layer | None) -> tuple[str, int] | None:
        """Operand and axis of u − ln Σ eᵘ."""
        if layer is None or layer.op != "Sub":
            return None
        u, norm = layer.inputs
        axis = self._axis(norm, "ReduceLogSumExp", u)
        if axis is None:
            axis = self._log_of_sum(norm, u)
        if axis is None and (sum_ := self.producers.get(norm)) is not None and sum_.op == "Add":
            # m + ln Σ e^(u − m)
            for m, logarithm in (sum_.inputs, sum_.inputs[::-1]):
                if (behind := self._behind(logarithm)) is None or behind.op != "Log":
                    continue
                shifted = [la.outputs[0] for la in self.producers.values() if la.op == "Sub" and la.inputs == (u, m)]
                axis = next((a for s in shifted if (a := self._log_of_sum(logarithm, s)) is not None), axis)
        return None if axis is None else (self._unshifted(u, axis), axis)

    def _log_of_sum(self, tensor: str, u: str) -> int | None:
        """The axis where a tensor is ln Σ eᵘ."""
        logarithm = self._behind(tensor)
        if logarithm is None or logarithm.op != "Log":
            return None
        for exponential in self.producers.values():
            if exponential.op == "Exp" and exponential.inputs[0] == u:
                axis = self._axis(logarithm.inputs[0], "ReduceSum", exponential.outputs[0], kept=tensor)
                if axis is not None:
                    return axis
        return None

    def _axis(self, tensor: str, op: str, operand: str, kept: str = "") -> int | None:
        """The one axis that a reduction of `operand` sums over, where its result stands in the operand's axes."""
        axes = self._axes(tensor, op, operand, kept)
        return axes[0] if len(axes) == 1 else None

    def _axes(self, tensor: str, op: str, operand: str, kept: str = "") -> Shape:
        """The axes, next to each other, that a reduction sums over as of `_axis`; those of length 1 tell nothing."""
        layer, shape = self._behind(tensor), self.graph.shape(operand)
        if layer is None or layer.op != op or layer.inputs[0] != operand:
            return ()
        given = self.graph.constant(layer.inputs[1]) if len(layer.inputs) > 1 else None
        listed = given.reshape(-1).tolist() if given is not None else list(layer.attributes.get("axes", ()))
        if not listed or not shape:
            return ()
        axes = sorted({int(axis) % len(shape) for axis in listed})
        axes = [axis for axis in axes if shape[axis] != 1] or axes[:1]
        reduced = tuple(1 if i in axes else n for i, n in enumerate(shape))
        beside = axes == list(range(axes[0], axes[-1] + 1)) and axes[0] > 0
        return tuple(axes) if beside and self.graph.shape(kept or tensor) in (reduced, shape) else ()

    def _behind(self, tensor: str) -> Layer | None:
        """The layer that computes a tensor, past reshapes and copies."""
        layer = self.producers.get(tensor)
        while layer is not None and (layer.op in operators.RESHAPES or layer.op in ("Identity", "Expand")):
            layer = self.producers.get(layer.inputs[0])
        return layer

    def _unshifted(self, u: str, *axes: int) -> str:
        """The tensor x where u = x − m and m is constant along the axes, else u."""
        while (layer := self.producers.get(u)) is not None and layer.op == "Sub":
            x, m = layer.inputs
            shape, shift = self.graph.shape(x), self._without_copies(m)
            aligned = (1,) * (len(shape) - len(shift)) + shift
            if x in self.graph.constants or shape != self.graph.shape(u) or any(aligned[axis] != 1 for axis in axes):
                break
            u = x
        return u

    def _without_copies(self, tensor: str) -> Shape:
        layer = self.producers.get(tensor)
        return self.graph.shape(layer.inputs[0] if layer is not None and layer.op == "Expand" else tensor)
