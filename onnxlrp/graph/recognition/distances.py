"""Differences from constants and squared distances to them: kernel machines, mixtures, codebooks."""

from __future__ import annotations

from .. import operators
from ..facts import scalar
from ..graph import Graph, Layer


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
    """Return whether a layer subtracts constants from an activation, for the distance to them or for what is left.

    Distances are sums of squares. What is left, x − μ, is multiplied by the posterior of a component or the share of a
    word: so Fisher vectors and VLAD describe a sample by a mixture or a codebook.

    Args:
        graph: The model.
        layer: The layer.

    References:
        Perronnin et al., Improving the Fisher kernel for large-scale image classification, ECCV 2010.
        Jégou et al., Aggregating local descriptors into a compact image representation, CVPR 2010.
    """
    if layer.op not in operators.SHIFTS_OF_CODES or len(_live(graph, layer)) != 1:
        return False
    return any(_reads_difference(graph, reader, layer.outputs[0]) for reader in graph.consumers(layer.outputs[0]))


def is_assignment(graph: Graph, layer: Layer) -> bool:
    """Return whether a layer divides a sample among the words of a codebook, by a softmax of distances to them.

    So do the posteriors of a mixture.

    Args:
        graph: The model.
        layer: The layer.
    """
    return layer.op == "Softmax" and _of_distances(graph, layer.inputs[0])


def _reads_difference(graph: Graph, layer: Layer, tensor: str) -> bool:
    """Whether a layer sums squares or weighs by shares, scales what another does, or takes 1 − |x|, of a category."""
    if _sums_squares(graph, layer) or _weighs(graph, layer, tensor):
        return True
    if layer.op == "Abs":
        readers = graph.consumers(layer.outputs[0])
        return bool(readers) and all(r.op == "Sub" and r.inputs[0] in graph.constants for r in readers)
    result = layer.outputs[0]
    scales = layer.op in operators.SCALES_DIFFERENCES and len(_live(graph, layer)) == 1
    return scales and any(_reads_difference(graph, reader, result) for reader in graph.consumers(result))


def _sums_squares(graph: Graph, layer: Layer) -> bool:
    """Whether a layer is a sum of squares, or the square that a sum reads."""
    if layer.op in operators.SUMS_OF_SQUARES:
        return True
    return _is_square(graph, layer) and any(
        reader.op in operators.SUMS_OR_MEANS for reader in graph.consumers(layer.outputs[0])
    )


def _is_square(graph: Graph, layer: Layer) -> bool:
    if layer.op == "Pow":
        return scalar(graph, layer, 1, None) == 2
    return layer.op == "Mul" and layer.inputs[0] == layer.inputs[1]


def _weighs(graph: Graph, layer: Layer, tensor: str) -> bool:
    """Whether a layer multiplies a tensor by what comes of a softmax."""
    others = [name for name in _live(graph, layer) if name != tensor]
    if layer.op not in operators.WEIGHS or len(others) != 1:
        return False
    source = graph.producer(others[0])
    while source is not None and source.op in operators.BETWEEN_GATE_AND_PRODUCT:
        source = graph.producer(source.inputs[0])
    return source is not None and source.op == "Softmax"


def _live(graph: Graph, layer: Layer) -> list[str]:
    return [name for name in layer.inputs if name and name not in graph.constants]


def _of_distances(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is made of sums of squares alone, scaled, shifted and moved."""
    layer = graph.producer(tensor)
    if layer is None:
        return False
    squares = layer if layer.op in operators.SUMS_OF_SQUARES else _square_before(graph, layer)
    if squares is not None:
        before = graph.producer(squares.inputs[0])
        while before is not None and before.op in operators.SCALES_DIFFERENCES:
            live = _live(graph, before)
            before = graph.producer(live[0]) if len(live) == 1 else None
        return before is not None and is_difference(graph, before)
    live = _live(graph, layer)
    power = layer.op == "Pow" and (scalar(graph, layer, 1, None) or 0) > 0  # torch's cdist has 1 / (2 + 1e-6)
    known = (
        (power or layer.op in operators.AROUND_DISTANCES) and bool(live) and (len(live) == 1 or layer.op == "Concat")
    )
    return known and all(_of_distances(graph, name) for name in live)


def _square_before(graph: Graph, layer: Layer) -> Layer | None:
    """The square that a layer sums; None where it sums none."""
    if layer.op not in operators.SUMS_OR_MEANS:
        return None
    square = graph.producer(layer.inputs[0])
    return square if square is not None and _is_square(graph, square) else None


def _is_read(graph: Graph, tensor: str) -> bool:
    """Whether a mixture reads a tensor, perhaps moved."""
    for reader in graph.consumers(tensor):
        if reader.op == "ReduceLogSumExp":
            return True
        if reader.op in operators.AROUND_DISTANCES and _is_read(graph, reader.outputs[0]):
            return True
    return False
