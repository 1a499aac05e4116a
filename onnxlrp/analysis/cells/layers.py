"""The recurrent layers of a graph: their gates and states, each as a unit over all steps."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import UnsupportedError
from ...graph.graph import Graph
from ...graph.operators import PREVIOUS
from ...graph.outputs.units import Unit, of_tensor
from ...graph.recurrence import state_of

_GATES = {"LSTM": ("input", "forget", "output"), "GRU": ("update", "reset"), "RNN": ()}


@dataclass(frozen=True, eq=False)
class Recurrent:
    """One direction of a recurrent layer.

    Attributes:
        label: What the user calls it, such as "lstm" or "lstm.reverse".
        op: "LSTM", "GRU" or "RNN".
        reverse: Whether steps run from the last to the first.
        gates: Its gates by name.
        states: Its cells, as they are shown: of an LSTM what its output gate is multiplied by, tanh c; else h.
        handed: By "hidden" and "cell" the states that it hands on.
        before: By the same names the same states one step earlier.
    """

    label: str
    op: str
    reverse: bool
    gates: dict[str, Unit]
    states: Unit
    handed: dict[str, Unit]
    before: dict[str, Unit]

    @property
    def width(self) -> int:
        """The number of its cells."""
        return self.states.shape[-1]

    @property
    def cells(self) -> str:
        """What its cells are called as units: "lstm.cell"."""
        return f"{self.label}.{'cell' if self.op == 'LSTM' else 'hidden'}"


def recurrent_layers(graph: Graph) -> list[Recurrent]:
    """Return the recurrent layers of a graph, each direction by itself, in their order.

    Raises:
        UnsupportedError: There are none.
    """
    loops: dict[str, dict[str, tuple[str, str, bool]]] = {}
    by_name = {layer.name: layer for layer in graph.layers}
    for layer in graph.layers:
        if layer.op == PREVIOUS:
            state = state_of(layer)
            part = "cell" if layer.name.startswith(f"{state.loop}.cell_previous") else "hidden"
            known = loops.setdefault(state.loop, {})
            known.setdefault(part, (state.tensor, layer.outputs[0], state.reverse))
    found = []
    for prefix, states in loops.items():
        parts = {part: by_name.get(f"{prefix}.{part}") for part in ("input", "forget", "output", "update", "reset")}
        op = "LSTM" if parts["forget"] else "GRU" if parts["update"] else "RNN"
        if op != "RNN":
            one = parts["forget"] or parts["update"]
            assert one is not None
            label = one.label.rpartition(".")[0]
        else:
            label = next(n.label for n in graph.layers if n.name.startswith(f"{prefix}.state.")).rpartition(".state")[0]
        main = "cell" if op == "LSTM" else "hidden"
        if main not in states:
            continue
        named = {part: of_tensor(graph, states[part][0], f"{label}.{part}") for part in states}
        before = {part: of_tensor(graph, states[part][1], f"{label}.{part} before") for part in states}
        gates = {
            part: of_tensor(graph, own.outputs[0], f"{label}.{part}")
            for part in _GATES[op]
            if (own := parts[part]) is not None
        }
        shown = by_name.get(f"{prefix}.cell.activation") if op == "LSTM" else None
        cells = named[main] if shown is None else of_tensor(graph, shown.outputs[0], f"{label}.cell.activation")
        found.append(Recurrent(label, op, states[main][2], gates, cells, named, before))
    if not found:
        raise UnsupportedError(
            "the explained output is made of no layer of the operators LSTM, GRU and RNN",
            "cells that a file writes out step by step are units: record=[...] in Python, onnxlrp inspect lists them",
        )
    return found
