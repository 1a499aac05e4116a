"""Squared distances to constants, and the soft maxima of them that kernel machines and mixtures are."""

from __future__ import annotations

from . import operators
from .graph import Graph, Layer


def is_mixture(graph: Graph, layer: Layer) -> bool:
    """Return whether a ReduceLogSumExp is over squared distances, scaled and shifted by constants.

    So are the sums of a kernel machine of radial basis functions, ln Σ a exp(−γ‖x − s‖²), and the density of a Gaussian
    mixture.

    Args:
        graph: The model.
        layer: The layer.
    """
    return layer.op == "ReduceLogSumExp" and _of_distances(graph, layer.inputs[0])


def adds_coefficients(graph: Graph, layer: Layer) -> bool:
    """Return whether a layer adds constants to squared distances that a mixture reads: logarithms of its coefficients.

    Args:
        graph: The model.
        layer: An addition of an activation and constants.
    """
    if layer.op != "Add":
        return False
    return any(_of_distances(graph, name) for name in _live(graph, layer)) and _is_read(graph, layer.outputs[0])


def is_difference(graph: Graph, layer: Layer) -> bool:
    """Return whether a layer subtracts constants from an activation, for the distance to them.

    Args:
        graph: The model.
        layer: The layer.
    """
    if layer.op != "Sub" or len(_live(graph, layer)) != 1:
        return False
    return any(_squares(graph, reader) for reader in graph.consumers(layer.outputs[0]))


def _squares(graph: Graph, layer: Layer) -> bool:
    """Whether a layer sums squares, or scales what another sums; or takes 1 − |x|, of a category."""
    if layer.op == "ReduceSumSquare":
        return True
    if layer.op == "Abs":
        readers = graph.consumers(layer.outputs[0])
        return bool(readers) and all(r.op == "Sub" and r.inputs[0] in graph.constants for r in readers)
    scales = layer.op in operators.SCALES_DIFFERENCES and len(_live(graph, layer)) == 1
    return scales and any(_squares(graph, reader) for reader in graph.consumers(layer.outputs[0]))


def _live(graph: Graph, layer: Layer) -> list[str]:
    return [name for name in layer.inputs if name and name not in graph.constants]


def _of_distances(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is made of sums of squares alone, scaled, shifted and moved."""
    layer = graph.producer(tensor)
    if layer is None:
        return False
    if layer.op == "ReduceSumSquare":
        before = graph.producer(layer.inputs[0])
        while before is not None and before.op in operators.SCALES_DIFFERENCES:
            live = _live(graph, before)
            before = graph.producer(live[0]) if len(live) == 1 else None
        return before is not None and is_difference(graph, before)
    live = _live(graph, layer)
    known = layer.op in operators.AROUND_DISTANCES and bool(live) and (len(live) == 1 or layer.op == "Concat")
    return known and all(_of_distances(graph, name) for name in live)


def _is_read(graph: Graph, tensor: str) -> bool:
    """Whether a mixture reads a tensor, perhaps moved."""
    for reader in graph.consumers(tensor):
        if reader.op == "ReduceLogSumExp":
            return True
        if reader.op in operators.AROUND_DISTANCES and _is_read(graph, reader.outputs[0]):
            return True
    return False
