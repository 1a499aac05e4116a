"""What relevance sees of a quantised model: formulas whose parts are rounded in between, as the layers they stand for.

Quantisation puts QuantizeLinear and DequantizeLinear between a convolution and its BatchNormalization, or inside of a
softmax that is written out. The forward pass keeps each of them. A rule that met the parts one by one would explain
another function than that of the float model, whose parts are one layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from .canonical.fuse_activations import fuse_activations
from .canonical.layer_norm import fuse_layer_norm
from .canonical.merge_affine import merge_affine
from .canonical.moves import cancel_moves
from .canonical.pointwise import write_in_layout
from .canonical.softmax import fuse_softmax
from .facts import nonnegative
from .frontend.placeholder import PRIME
from .graph import Array, Graph, Layer
from .names import unique_name
from .recurrence import with_states
from .rewriting.mutable_graph import MutableGraph

_FORMULAS = (fuse_layer_norm, fuse_softmax, fuse_activations)
_FORMS = (cancel_moves, write_in_layout, fuse_layer_norm, merge_affine, fuse_softmax, fuse_activations)


@dataclass(frozen=True)
class Seen:
    """A graph as relevance sees it.

    Attributes:
        graph: The graph; its tensors are those of the forward pass, which computes them as the file says.
        rounded: The layers, by name, whose result the forward pass rounds on the way: they give it but for that.
    """

    graph: Graph
    rounded: frozenset[str] = frozenset()


def through_roundings(graph: Graph, *kept: str, affine: bool = True) -> Seen:
    """Return a graph in which layers with roundings in between are the one layer that they are without these.

    A pair of QuantizeLinear and DequantizeLinear is a rounding if both have the same scale and zero point, nothing else
    reads what it rounds, and it does not rectify: its lowest value is negative, or what it rounds is not.

    Args:
        graph: The graph, not changed.
        kept: Tensors that the result must have too, besides the outputs.
        affine: Whether a linear layer and the normalisation behind its rounding are one, too, which rules ask for. What
            clips between them, such as a Hardtanh that a quantiser took into the rounding, is not seen then.
    """
    known: dict[tuple[bool, tuple[str, ...]], Seen] = graph.__dict__.setdefault("_seen", {})
    if (affine, kept) not in known:
        known[affine, kept] = _seen(graph, {t.name for t in graph.outputs} | {*kept}, affine)
    return known[affine, kept]


def _seen(graph: Graph, ends: Set[str], affine: bool) -> Seen:
    pairs = _pairs(graph, ends)
    if not pairs:
        return Seen(graph)
    bare, plain = _without(graph, pairs, ends)
    for form in _FORMS if affine else _FORMULAS:
        form(bare)
        bare.prune()  # a layer that is left unread would count as a reader
    made = {layer.outputs[0]: layer for layer in bare.layers if plain.get(layer.outputs[0]) != (layer.op, layer.inputs)}
    if not made:
        return Seen(graph)
    constants = dict(graph.constants)
    read_as = {root: pair for pair, root in pairs.items()}  # the last of several is what layers read
    changed = {out: _on_tensors(graph, bare, layer, read_as, constants) for out, layer in made.items()}
    layers = _needed((changed.get(layer.outputs[0], layer) for layer in graph.layers), ends)
    seen = replace(graph, layers=layers, constants=MappingProxyType(constants))
    return Seen(seen, frozenset(layer.name for layer in changed.values()))


def _pairs(graph: Graph, ends: Set[str]) -> dict[str, str]:
    """The result of each rounding → the tensor that it rounds, before the first of several in a row."""
    positive = nonnegative(graph)
    roots: dict[str, str] = {}
    for layer in graph.layers:
        if layer.op != "QuantizeLinear" or layer.inputs[0] in graph.constants:
            continue
        x, integers = layer.inputs[0], layer.outputs[0]
        readers = graph.consumers(integers)
        alone = len(graph.consumers(x)) == 1 and not {x, integers} & ends
        inverse = all(r.op == "DequantizeLinear" and _same(graph, layer, r) and r.outputs[0] not in ends
                      for r in readers)  # fmt: skip
        if alone and inverse and (x in positive or not _rectifies(graph, layer)):
            roots |= {reader.outputs[0]: roots.get(x, x) for reader in readers}
    return roots


def _same(graph: Graph, quantize: Layer, dequantize: Layer) -> bool:
    """Whether two layers have the same scale and zero point."""
    for i in (1, 2):
        name, other = (layer.inputs[i] if len(layer.inputs) > i else "" for layer in (quantize, dequantize))
        value, inverse = graph.constants.get(name), graph.constants.get(other)
        if name != other and (value is None or inverse is None or not np.array_equal(value, inverse)):
            return False
    return bool(quantize.attributes.get("axis", 1) == dequantize.attributes.get("axis", 1))


def _rectifies(graph: Graph, layer: Layer) -> bool:
    """Whether the lowest value of a QuantizeLinear is not negative, as where a quantiser took a Relu into it."""
    dtype = graph.dtypes.get(layer.outputs[0], "")
    zero = graph.constants.get(layer.inputs[2]) if len(layer.inputs) > 2 else np.zeros(1, dtype or "uint8")
    if zero is None or dtype not in ("uint8", "int8", "uint16", "int16"):
        return True
    return bool((zero <= np.iinfo(dtype).min).any())


def _without(
    graph: Graph, pairs: Mapping[str, str], ends: Set[str]
) -> tuple[MutableGraph, dict[str, tuple[str, tuple[str, ...]]]]:
    """The graph without roundings, for the passes of `load`, and operator and operands by result before any pass."""
    integers = {layer.inputs[0] for layer in graph.layers if layer.outputs[0] in pairs}
    layers = [
        replace(layer, inputs=tuple(pairs.get(name, name) for name in layer.inputs))
        for layer in graph.layers
        if layer.outputs[0] not in pairs and layer.outputs[0] not in integers
    ]
    batch = graph.batch or PRIME
    bare = MutableGraph(
        layers,
        dict(graph.constants),
        [t.name for t in graph.inputs],
        sorted(ends),
        {name: (batch, *shape) for name, shape in graph.shapes.items()},
        dict(graph.dtypes),
        dict(graph.opsets),
        batch,
    )
    return bare, {layer.outputs[0]: (layer.op, layer.inputs) for layer in layers}


def _on_tensors(
    graph: Graph, bare: MutableGraph, layer: Layer, read_as: Mapping[str, str], constants: dict[str, Array]
) -> Layer:
    """A layer that a pass made, on the tensors of the graph; `constants` gets its weights under names of their own."""
    names = []
    for name in layer.inputs:
        value = bare.constants.get(name)
        if value is None or value is graph.constants.get(name):
            names.append(read_as.get(name, name) if value is None else name)
            continue
        own = unique_name(f"{layer.name}/{name}", lambda n: n in constants or n in graph.shapes)
        constants[own] = value
        names.append(own)
    return replace(layer, inputs=tuple(names))


def _needed(layers: Iterable[Layer], outputs: Iterable[str]) -> tuple[Layer, ...]:
    every = list(layers)
    needed = with_states(every, outputs)
    kept: list[Layer] = []
    for layer in reversed(every):
        if needed.intersection(layer.outputs):
            kept.append(layer)
            needed.update(layer.inputs)
    return tuple(kept[::-1])
