"""Gates: which factor of a product scales the other, a fact about a graph."""

from __future__ import annotations

import numpy as np

from .. import operators
from ..facts import INTEGRAL, depends, scalar
from ..graph import Graph, Layer

Range = tuple[float, float]

_ANY: Range = (-np.inf, np.inf)
_RANGES: dict[str, Range] = {
    **dict.fromkeys(operators.BOUNDED - {"Clip"}, (-1.0, 1.0)),
    **dict.fromkeys(operators.SHARES, (0.0, 1.0)),
}


def gate(graph: Graph, layer: Layer) -> int | None:
    """Return which factor of a product is the gate: 0, 1 or None.

    What does not depend on the explained input is a constant, and the gate: the text of a picture in CLIP. x·f(x) is a
    gate of itself (SiLU). Else the gate is the factor that is made of integers or comparisons, which have no slope,
    that divides (x·D^-β), that is a bounded function's value (squeeze-and-excitation), that of two bounded ones lies
    between 0 and 1 (sigmoid · tanh in an LSTM), or that is broadcast over the other.

    Args:
        graph: The model.
        layer: A product of two activations.

    References:
        Arras et al., Explaining recurrent neural network predictions in sentiment analysis, WASSA 2017.
    """
    if len(graph.inputs) > 1:
        given = [not depends(graph, graph.inputs[0].name, name) for name in layer.inputs]
        if given[0] != given[1]:
            return given.index(True)
    elementwise = [_formula(graph, name) for name in layer.inputs]
    for own in (0, 1):
        if layer.inputs[1 - own] in elementwise[own]:
            return own
    for known in (_has_steps_alone, _divides, _is_bounded, _is_share):
        found = [known(graph, name) for name in layer.inputs]
        if found[0] != found[1]:
            return found.index(True)
    sizes = [int(np.prod(graph.shapes[name])) for name in layer.inputs]
    return None if sizes[0] == sizes[1] else int(sizes[1] < sizes[0])


def activated(graph: Graph, layer: Layer) -> int | None:
    """Return which factor of a product without a gate is an activation of unbounded values: 0, 1 or None.

    That is the gate of a gated linear unit: SiLU (SwiGLU), Gelu (GeGLU), ReLU. Where both factors are such, or neither,
    there is none.

    Args:
        graph: The model.
        layer: A product of two activations.

    References:
        Shazeer, GLU variants improve transformer, 2020.
    """
    found = [_is_activated(graph, name) for name in layer.inputs]
    return found.index(True) if found[0] != found[1] else None


def _is_activated(graph: Graph, tensor: str) -> bool:
    while (layer := graph.producer(tensor)) is not None:
        if layer.op in operators.GLU_ACTIVATIONS:
            return True
        live = _live(graph, layer)
        if layer.op == "Mul" and len(live) == 2:
            return any(live[1 - own] in _formula(graph, live[own]) for own in (0, 1))
        if len(live) != 1 or layer.op not in operators.BETWEEN_GATE_AND_PRODUCT:
            return False
        tensor = live[0]
    return False


def _has_steps_alone(graph: Graph, tensor: str) -> bool:
    """Return whether a tensor is computed of integers or comparisons alone, as a mask is; an input is none."""
    pending, seen = [tensor], set[str]()
    while pending:
        name = pending.pop()
        layer = graph.producer(name)
        if layer is None:
            return False
        if name in seen or graph.dtypes.get(name) in INTEGRAL:
            continue
        if layer.op not in operators.BETWEEN_GATE_AND_PRODUCT | operators.ARITHMETIC:
            return False
        seen.add(name)
        pending += _live(graph, layer)
    return True


def _divides(graph: Graph, tensor: str) -> bool:
    """Return whether a factor is an inverse, 1/D or D^-β."""
    layer = graph.producer(tensor)
    if layer is None:
        return False
    if layer.op == "Div":
        return layer.inputs[0] in graph.constants
    return layer.op == "Reciprocal" or (layer.op == "Pow" and (scalar(graph, layer, 1, None) or 0) < 0)


def _formula(graph: Graph, tensor: str) -> set[str]:
    """The tensors of which this one is an elementwise function, of no other."""
    chain: set[str] = set()
    while (layer := graph.producer(tensor)) is not None:
        live = _live(graph, layer)
        if len(live) != 1 or graph.shapes.get(live[0]) != graph.shapes.get(tensor):
            break
        if layer.op not in operators.ELEMENTWISE and layer.op not in operators.ROUNDINGS:
            break
        tensor = live[0]
        chain.add(tensor)
    return chain


def _is_bounded(graph: Graph, tensor: str) -> bool:
    low, high = value_range(graph, tensor)
    return bool(np.isfinite([low, high]).all())


def _is_share(graph: Graph, tensor: str) -> bool:
    """Return whether a tensor lies between 0 and 1, as a sigmoid, a hard sigmoid and a softmax do."""
    low, high = value_range(graph, tensor)
    return low >= -1e-6 and high <= 1 + 1e-6


def value_range(graph: Graph, tensor: str) -> Range:
    """Return bounds of a tensor: those of a bounded function, through arithmetic with constants and through copies.

    Args:
        graph: The model.
        tensor: An activation.

    Returns:
        (lowest, highest) value, infinite where nothing is known.
    """
    behind: list[Layer] = []
    found = _ANY
    while (layer := graph.producer(tensor)) is not None:
        live = _live(graph, layer)
        if layer.op in _RANGES:
            found = _RANGES[layer.op]
            break
        constants = len(layer.inputs) == 2 and len(live) == 1
        combines = layer.op in operators.ARITHMETIC or layer.op in ("Min", "Max")
        if layer.op != "Clip" and not (combines and constants) and layer.op not in operators.BETWEEN_GATE_AND_PRODUCT:
            break
        behind.append(layer)
        tensor = live[0]
    for layer in reversed(behind):
        found = _through(graph, layer, found)
    return found


def _through(graph: Graph, layer: Layer, operand: Range) -> Range:
    """Return the bounds of a layer's result from those of its one activation."""
    if layer.op == "Clip":
        bounds = scalar(graph, layer, 1, -np.inf), scalar(graph, layer, 2, np.inf)
        low, high = (np.nan if bound is None else bound for bound in bounds)
        return float(np.fmin(np.fmax(operand[0], low), high)), float(np.fmax(np.fmin(operand[1], high), low))
    if layer.op not in operators.ARITHMETIC and layer.op not in ("Min", "Max"):
        return operand
    own = next(n for n, name in enumerate(layer.inputs) if name not in graph.constants)
    constant = graph.constants[layer.inputs[1 - own]].astype(np.float64)
    function = _COMBINE[layer.op]
    with np.errstate(all="ignore"):
        results = [function(end, constant) if own == 0 else function(constant, end) for end in operand]
    ends = np.concatenate([np.ravel(result) for result in results])
    crosses_zero = layer.op == "Div" and own == 1 and operand[0] <= 0 <= operand[1]
    return _ANY if np.isnan(ends).any() or not ends.size or crosses_zero else (float(ends.min()), float(ends.max()))


_COMBINE = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Min": np.minimum,
    "Max": np.maximum,
}


def _live(graph: Graph, layer: Layer) -> list[str]:
    return [name for name in layer.inputs if name and name not in graph.constants]
