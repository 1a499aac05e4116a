"""Operators that are no standard ones on floats become such: fused ones, those on integers, those of ai.onnx.ml."""

from __future__ import annotations

from collections.abc import Mapping

from ..rewriting.constant_folding import is_rounding
from ..rewriting.mutable_graph import MutableGraph
from .attention import ATTENTION
from .dynamic_quantization import DYNAMIC, read_as_floats
from .fused import FUSED
from .grouped_attention import GROUPED
from .integer import INTEGER
from .replacement import Context, Decomposition, Replacement
from .rotary import ROTARY

_STANDARD: Mapping[str, Decomposition] = {**FUSED, **ATTENTION, **ROTARY, **GROUPED, **INTEGER, **DYNAMIC}


def decompositions() -> Mapping[str, Decomposition]:
    """Return what writes each operator as standard ones, those of ai.onnx.ml too, whose modules few models need."""
    from .ml import CLASSICAL

    return {**_STANDARD, **CLASSICAL}


def decomposition_of(op: str) -> Decomposition | None:
    """Return what writes an operator as standard ones; None for those that stay."""
    return (decompositions() if op.startswith("ai.onnx.ml::") else _STANDARD).get(op)


def decompose(graph: MutableGraph) -> None:
    """Replace fused layers, and those on integers, by standard ones of the same result.

    The layer with the weights, or the last one, keeps the name and the path.

    Raises:
        UnsupportedError: A layer is a variant that has no decomposition here.
    """
    context = Context({layer.name for layer in graph.layers})
    for position, layer in enumerate(graph.layers):
        reads_integers = context.as_floats.intersection(layer.inputs)
        rule = decomposition_of(layer.op) or (read_as_floats if reads_integers else None)
        if rule is None or is_rounding(layer):
            context.done.append(layer)
            continue
        context.left = graph.layers[position:]
        build = Replacement(graph, layer, context=context)
        rule(build)
        context.done.extend(build.layers)
    graph.layers = context.done
    domains = {layer.op.rpartition("::")[0] for layer in graph.layers}
    graph.opsets = {domain: version for domain, version in graph.opsets.items() if domain in domains or not domain}


def bytes_as_floats(graph: MutableGraph) -> int:
    """Return how many bytes the constants of integers take that `decompose` writes as floats."""
    read = {name for layer in graph.layers if decomposition_of(layer.op) for name in layer.inputs}
    integers = (value for name, value in graph.constants.items() if name in read and value.dtype.kind in "iu")
    return 4 * sum(value.size for value in integers)
