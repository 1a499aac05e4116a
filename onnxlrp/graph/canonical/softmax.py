"""A softmax that stands as its formula becomes one layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .. import operators
from ..graph import Layer
from ..rewriting.mutable_graph import MutableGraph

Shape = tuple[int, ...]


def fuse_softmax(graph: MutableGraph) -> None:
    """Write eᵘ / Σ eᵘ as Softmax(u), and u − ln Σ eᵘ as LogSoftmax(u), along one axis that is not the batch.

    The same where u = x − m is shifted by anything that is constant along the axis, the maximum as a rule: that changes
    neither function, so that x takes the place of u. The sum may be kept in its place by any reshape; the logarithm may
    be a ReduceLogSumExp; Exp(LogSoftmax(x)) and Log(Softmax(x)) are the one layer that they equal.

    Args:
        graph: Has the shapes of all activations.
    """
    formulas = _Formulas(graph)
    graph.layers = [formulas.replaced(layer) for layer in graph.layers]


@dataclass(eq=False)
class _Formulas:
    """The formulas of a graph, read backward from the layer in which each ends."""

    graph: MutableGraph

    def __post_init__(self) -> None:
        self.producers = self.graph.producers()

    def replaced(self, layer: Layer) -> Layer:
        """Return the softmax that a layer is the end of, or the layer."""
        found, op = None, "Softmax"
        if layer.op in ("Div", "Mul") and len(layer.inputs) == 2:
            found = self._quotient(layer)
        elif layer.op == "Exp":
            found = self._of(layer.inputs[0], "LogSoftmax") or self._difference(self.producers.get(layer.inputs[0]))
        elif layer.op in ("Log", "Sub"):
            found, op = (
                self._of(layer.inputs[0], "Softmax") if layer.op == "Log" else self._difference(layer),
                "LogSoftmax",
            )
        if found is None or self.graph.shape(found[0]) != self.graph.shape(layer.outputs[0]):
            return layer
        made = replace(layer, op=op, inputs=(found[0],), attributes={"axis": found[1]})
        self.producers[layer.outputs[0]] = made
        return made

    def _of(self, tensor: str, op: str) -> tuple[str, int] | None:
        """Operand and axis of the softmax that writes a tensor."""
        layer = self.producers.get(tensor)
        if layer is None or layer.op != op:
            return None
        axis = int(layer.attributes.get("axis", -1)) % len(self.graph.shape(tensor))
        return (layer.inputs[0], axis) if axis else None

    def _quotient(self, layer: Layer) -> tuple[str, int] | None:
        """Operand and axis of e / Σ e, the sum divided by or its reciprocal a factor."""
        left, right = layer.inputs
        pairs = ((left, right),) if layer.op == "Div" else ((left, right), (right, left))
        for power, norm in pairs:
            if layer.op == "Mul":
                inverse = self.producers.get(norm)
                if inverse is None or inverse.op != "Reciprocal":
                    continue
                norm = inverse.inputs[0]
            exponential = self.producers.get(power)
            axis = self._axis(norm, "ReduceSum", power)
            if exponential is not None and exponential.op == "Exp" and axis is not None:
                return self._unshifted(exponential.inputs[0], axis), axis
        return None

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
        layer, shape = self._behind(tensor), self.graph.shape(operand)
        if layer is None or layer.op != op or layer.inputs[0] != operand:
            return None
        given = self.graph.constant(layer.inputs[1]) if len(layer.inputs) > 1 else None
        axes = given.reshape(-1).tolist() if given is not None else list(layer.attributes.get("axes", ()))
        if len(axes) != 1 or not shape:
            return None
        axis = int(axes[0]) % len(shape)
        reduced = tuple(1 if i == axis else n for i, n in enumerate(shape))
        return axis if axis and self.graph.shape(kept or tensor) in (reduced, shape) else None

    def _behind(self, tensor: str) -> Layer | None:
        """The layer that computes a tensor, past reshapes and copies."""
        layer = self.producers.get(tensor)
        while layer is not None and (layer.op in operators.RESHAPES or layer.op in ("Identity", "Expand")):
            layer = self.producers.get(layer.inputs[0])
        return layer

    def _unshifted(self, u: str, axis: int) -> str:
        """The tensor x where u = x − m and m is constant along the axis, else u."""
        while (layer := self.producers.get(u)) is not None and layer.op == "Sub":
            x, m = layer.inputs
            shape, shift = self.graph.shape(x), self._without_copies(m)
            aligned = (1,) * (len(shape) - len(shift)) + shift
            if x in self.graph.constants or shape != self.graph.shape(u) or aligned[axis] != 1:
                break
            u = x
        return u

    def _without_copies(self, tensor: str) -> Shape:
        layer = self.producers.get(tensor)
        return self.graph.shape(layer.inputs[0] if layer is not None and layer.op == "Expand" else tensor)
