"""LSTM, GRU and RNN as layers over all steps at once, each gate a layer that has rules.

The operator of the file computes the states; every gate of every step then follows from the input and the state one
step earlier, in one product of matrices. The state that a gate computes and the one that the operator has are the same
numbers, so that relevance goes through the gates (`graph.recurrence`), and runtimes need not compute states twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from .. import operators
from ..graph import Array, Layer
from ..operators import CELL_STATES, PREVIOUS
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph
from .cell import Cell, Gate, refuse


def unfold(graph: MutableGraph) -> None:
    """Write each recurrent layer of stored tensors as layers over all steps.

    Args:
        graph: Its batch is on axis 0.

    Raises:
        UnsupportedError: A layer has the batch elsewhere, or an activation function that is not known.
    """
    layers: list[Layer] = []
    left = {layer.name for layer in folded(graph)}
    for layer in graph.layers:
        layers.extend(_unfolded(graph, layer) if layer.name in left else [layer])
    graph.layers = layers


def folded(graph: MutableGraph) -> list[Layer]:
    """Return the recurrent layers but for those that compute states for the layers of an unfolded one."""
    producers, own = graph.producers(), set()
    for layer in graph.layers:
        if layer.op == PREVIOUS and (states := producers.get(layer.inputs[0])) is not None:
            own.add(states.inputs[0])
    return [layer for layer in graph.layers if layer.op in operators.RECURRENT and own.isdisjoint(layer.outputs)]


def _unfolded(graph: MutableGraph, layer: Layer) -> list[Layer]:
    if layer.attributes.get("layout", 0) != 1:
        raise refuse(layer, "has the batch on an axis of its own in a model of a fixed batch")
    build, uses = Builder(graph, layer), graph.uses()
    stated = layer.attributes.get("direction", "forward")
    reverse = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[stated]
    ends: list[tuple[str, str, str]] = []
    for d, backward in enumerate(reverse):
        prefix = layer.name if len(reverse) == 1 else f"{layer.name}.{'reverse' if backward else 'forward'}"
        cell = Cell(build, d, backward, prefix)
        if len(layer.inputs) > 4 and layer.inputs[4]:
            cell.masks(layer.inputs[4])
        ends.append(_CELLS[layer.op](cell, tuple(uses[name] > 0 for name in layer.outputs)))
    _outputs(build, ends, uses)
    return build.layers


def _outputs(build: Builder, ends: list[tuple[str, str, str]], uses: Counter[str]) -> None:
    """Append what writes the layer's own outputs: the states of all directions side by side, and the last ones."""
    layer, graph = build.layer, build.graph
    for position, name in enumerate(layer.outputs):
        if not name or not uses[name]:
            continue
        parts, shape = [end[position] for end in ends], graph.shapes[name]
        own = layer.name if name == next(n for n in layer.outputs if n and uses[n]) else f"{layer.name}.{position}"
        axis = 1 if position else 2
        joined = parts[0]
        if len(parts) > 1:
            out = name if position else f"{name}/joined"
            joined = build.concat(parts, axis, out)
            graph.dtypes[out] = graph.dtypes[name]
            made = build.layers.pop()
            build.layers.append(Layer("Concat", own if position else f"{own}.joined", layer.path, made.inputs, (out,),
                                      {"axis": axis}))  # fmt: skip
            if position:
                continue
        target = build.integers((-1, *shape[1:]), f"{name}/shape")
        build.layers.append(Layer("Reshape", own, layer.path, (joined, target), (name,), {"allowzero": 0}))


def _rnn(cell: Cell, used: tuple[bool, ...]) -> tuple[str, str, str]:
    """Append h = f(W x + R h₋₁ + b)."""
    h = cell.previous("previous", cell.own_states(), cell.initial(5), "hidden")
    gate = cell.gates["state"]
    z = cell.linear("state", (cell.layer.inputs[0], gate.of_input), (h, gate.of_state), bias=_bias(gate))
    return _ends(cell, lambda part: cell.activate(0, part, cell.bounded("state", z)), used)


def _gru(cell: Cell, used: tuple[bool, ...]) -> tuple[str, str, str]:
    """Append h = (1 − z) ⊙ n + z ⊙ h₋₁; n = g(W x + R (r ⊙ h₋₁) + b), or with the reset behind the product by R."""
    x = cell.layer.inputs[0]
    h = cell.previous("previous", cell.own_states(), cell.initial(5), "hidden")
    update, reset = (cell.gate(0, name, _preactivation(cell, name, h)) for name in ("update", "reset"))
    gate = cell.gates["candidate"]
    if cell.layer.attributes.get("linear_before_reset", 0):
        bias = () if gate.state_bias is None else (cell.constant(gate.state_bias, "candidate.state_bias"),)
        product = cell.add("MatMul", "candidate.recurrent", h, gate.of_state, *bias)
        kept = cell.gated("candidate.reset", reset, product)
        z = cell.linear("candidate", (x, gate.of_input), (kept, ""), bias=gate.input_bias)
    else:
        kept = cell.gated("candidate.reset", reset, h)
        z = cell.linear("candidate", (x, gate.of_input), (kept, gate.of_state), bias=_bias(gate))
    candidate = cell.gate(1, "candidate", z)
    new = cell.gated("new", cell.one_minus("update.rest", update), candidate)
    old = cell.gated("kept", update, h)
    return _ends(cell, lambda part: cell.add("Add", part, new, old), used)


def _lstm(cell: Cell, used: tuple[bool, ...]) -> tuple[str, str, str]:
    """Append c = f ⊙ c₋₁ + i ⊙ g, h = o ⊙ h(c); the gates read c too where the layer has peepholes."""
    h = cell.previous("previous", cell.own_states(), cell.initial(5), "hidden")
    initial = cell.initial(6)
    coupled = bool(cell.layer.attributes.get("input_forget", 0))
    candidate = cell.gate(1, "candidate", _preactivation(cell, "candidate", h))
    c = ""
    if cell.gates["input"].peephole or (cell.gates["forget"].peephole and not coupled):
        c = cell.previous("cell_previous", _states_by_peepholes(cell, h, candidate, initial, coupled), initial, "cell")
    i = cell.gate(0, "input", _preactivation(cell, "input", h, c))
    f = cell.one_minus("forget", i) if coupled else cell.gate(0, "forget", _preactivation(cell, "forget", h, c))
    new = cell.gated("new", i, candidate)
    c = c or cell.previous("cell_previous", cell.cell_states(f, new, initial), initial, "cell")
    state = cell.add("Add", "cell", cell.gated("kept", f, c), new)
    o = cell.gate(0, "output", _preactivation(cell, "output", h, state))
    squashed = cell.activate(2, "cell.activation", state)
    hidden, last, _ = _ends(cell, lambda part: cell.gated(part, o, squashed), used)
    return hidden, last, cell.end("cell.last", state) if len(used) > 2 and used[2] else ""


def _states_by_peepholes(cell: Cell, h: str, candidate: str, initial: str, coupled: bool) -> str:
    """Append the cell states of a layer whose gates read the cell: the gates are computed step by step."""
    z = [_preactivation(cell, name, h, "", "states") for name in ("input", "forget")]
    factors = [cell.gates[name].peephole or cell.constant(np.zeros(cell.width, np.float32), f"{name}.P")
               for name in ("input", "forget")]  # fmt: skip
    sigma = cell.functions[0]
    return cell.add(CELL_STATES, "cell_states", *z, candidate, initial, *factors, cell.valid, coupled=int(coupled),
                    reverse=int(cell.reverse), width=cell.width, gate=sigma.name, clip=cell.clip,
                    **sigma.numbers())  # fmt: skip


def _preactivation(cell: Cell, name: str, h: str, c: str = "", part: str = "linear") -> str:
    """Append W x + R h₋₁ + P ⊙ c + b of a gate; without the peephole where no c is given."""
    gate = cell.gates[name]
    peephole = ((c, gate.peephole),) if c and gate.peephole else ()
    operands = ((cell.layer.inputs[0], gate.of_input), (h, gate.of_state), *peephole)
    return cell.linear(name, *operands, bias=_bias(gate), part=part)


def _bias(gate: Gate) -> Array | None:
    biases = [bias for bias in (gate.input_bias, gate.state_bias) if bias is not None]
    return None if not biases else np.sum([bias.astype(np.float64) for bias in biases], axis=0)


def _ends(cell: Cell, state: Callable[[str], str], used: tuple[bool, ...]) -> tuple[str, str, str]:
    """Append the states, and the one at the last step where it is read."""
    hidden = cell.of_valid("hidden", state("hidden.all")) if cell.valid else state("hidden")
    return hidden, cell.end("hidden.last", hidden) if len(used) > 1 and used[1] else "", ""


_CELLS: dict[str, Callable[[Cell, tuple[bool, ...]], tuple[str, str, str]]] = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}
