"""Recurrent layers in a graph: which layers are computed at all steps at once, and which states they hand on.

A recurrent layer is unfolded into layers over [steps, width] (see `graph.recurrent`). A `PREVIOUS` layer reads the
states that the operator itself computed, one step earlier; its attribute `state` names the tensor of the same states
that layers compute from it, so that relevance can go round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .graph import Graph, Layer
from .operators import PREVIOUS


@dataclass(frozen=True)
class State:
    """A state that a recurrent layer hands from step to step.

    Attributes:
        loop: The name of the recurrent layer that it belongs to.
        tensor: The tensor of the states of all steps, [steps, width].
        reverse: Whether steps run from the last to the first.
    """

    loop: str
    tensor: str
    reverse: bool


def state_of(layer: Layer) -> State:
    """Return the state that a `PREVIOUS` layer reads one step earlier."""
    return State(str(layer.attributes["loop"]), str(layer.attributes["state"]), bool(layer.attributes["reverse"]))


def states(graph: Graph) -> dict[str, State]:
    """Return the states of all recurrent layers of a graph, by tensor."""
    found = (state_of(layer) for layer in graph.layers if layer.op == PREVIOUS)
    return {state.tensor: state for state in found}


def with_states(layers: Sequence[Layer], ends: Iterable[str]) -> set[str]:
    """Return tensors, and the states that layers in front of them read one step earlier, of which these are made.

    Args:
        layers: The layers of a graph, in order.
        ends: The tensors.
    """
    found = set(ends)
    before = {layer.attributes["state"]: layer.outputs[0] for layer in layers if layer.op == PREVIOUS}
    while not before.keys() <= found:
        needed = set(found)
        for layer in reversed(layers):
            if needed.intersection(layer.outputs):
                needed.update(layer.inputs)
        fresh = {state for state, tensor in before.items() if tensor in needed} - found
        if not fresh:
            break
        found |= fresh
    return found


def operators_of_states(graph: Graph) -> frozenset[str]:
    """Return the names of the layers that compute states for `PREVIOUS` layers alone: the operator of the file itself.

    Relevance goes through the layers that compute the same states from the previous ones.
    """
    if not states(graph):
        return frozenset()
    outputs = {tensor.name for tensor in graph.outputs}
    hidden: set[str] = set()
    for layer in reversed(graph.layers):
        if layer.op == PREVIOUS or outputs.intersection(layer.outputs):
            continue
        readers = [(reader, name) for name in layer.outputs if name for reader in graph.consumers(name)]
        if readers and all(reader.name in hidden or _as_states(reader, name) for reader, name in readers):
            hidden.add(layer.name)
    return frozenset(hidden)


def with_own_states(graph: Graph) -> list[Layer]:
    """Return the layers with each state read from the operator of the file, which has it before any layer asks."""
    own = {layer.attributes["state"]: layer.inputs[0] for layer in graph.layers if layer.op == PREVIOUS}
    if not own:
        return list(graph.layers)
    return [
        Layer("Identity", layer.name, layer.path, (own[layer.outputs[0]],), layer.outputs)
        if layer.outputs[0] in own
        else layer
        for layer in graph.layers
    ]


def _as_states(reader: Layer, tensor: str) -> bool:
    return reader.op == PREVIOUS and reader.inputs[0] == tensor and tensor not in reader.inputs[1:]
