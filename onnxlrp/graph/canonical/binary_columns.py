"""Two columns made of one logit become the columns of a layer of two logits.

Classifiers of two classes write [1 - p, p] with p = σ(z), which is σ of the logits [-z, z]. With a logit for each
class, the relevance of the first class is that of -z. The same where a model ends in 1 - p alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Layer
from ..names import unique_name
from ..operators import COPIES, RESHAPES, TURNS
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph

_Line = tuple[str, float, float]  # (x, a, b) of a·x + b


def write_binary_columns(graph: MutableGraph) -> None:
    """Write [1 - σ(z), σ(z)] as σ([-z, z]); where z is that of a Gemm, the logits are those of one of two columns.

    Args:
        graph: Has the shapes of all activations; products with matrices are Gemms.
    """
    producers = graph.producers()
    layers: list[Layer] = []
    for layer in graph.layers:
        layers += _rewritten(graph, producers, layer) or [layer]
    graph.layers = layers


def _rewritten(graph: MutableGraph, producers: dict[str, Layer], layer: Layer) -> list[Layer] | None:
    """The layers in the place of a Concat of two such columns, or of 1 - p at an end; None for any other."""
    if layer.op in ("Sub", "Add") and (z := _complement(graph, producers, layer)) is not None:
        return _of_negative(graph, layer, z)
    if layer.op != "Concat" or graph.shapes.get(layer.outputs[0]) != (graph.batch, 2) or len(layer.inputs) != 2:
        return None
    lines = [_line(graph, producers, name) for name in layer.inputs]
    (x, first, offset), (other, second, rest) = lines
    scored = producers.get(x)
    if x != other or first != -second or scored is None or scored.op != "Sigmoid":
        return None
    if (first, offset, rest) not in ((-1, 1, 0), (1, 0, 1)):
        return None
    z = _source(graph, producers, scored.inputs[0])
    build, column = Builder(graph, layer), (graph.batch, 1)

    def new(word: str) -> str:
        return unique_name(f"{build.out}/{word}", lambda name: name in graph.shapes or name in graph.constants)

    logits = build.declare(new("logits"), (graph.batch, 2))
    linear = producers.get(z)
    operands = _both(graph, linear, first) if linear is not None and linear.op == "Gemm" else None
    if linear is not None and operands is not None:
        build.layers.append(replace(linear, name=f"{layer.name}/logits", inputs=operands, outputs=(logits,)))
    else:
        own = z if graph.shapes[z] == column else build.reshape(z, column, new("logit"))
        against = build.add("Neg", own, out=new("against"), shape=column)
        build.concat((against, own) if first < 0 else (own, against), 1, logits)
    build.add("Sigmoid", logits, name=layer.name)
    return build.layers


def _complement(graph: MutableGraph, producers: dict[str, Layer], layer: Layer) -> str | None:
    """The logit z where a layer gives 1 - σ(z), and this is an output but for reshapes."""
    if layer.op == "Sub":
        one, p = layer.inputs
    else:
        turned = [(n, b) for n, name in enumerate(layer.inputs) if (b := producers.get(name)) is not None]
        minus = next(((n, before) for n, before in turned if before.op == "Neg"), None)
        if minus is None:
            return None
        one, p = layer.inputs[1 - minus[0]], minus[1].inputs[0]
    value, scored = graph.constant(one), producers.get(p)
    if value is None or (value != 1).any() or scored is None or scored.op != "Sigmoid":
        return None
    if graph.shape(p) != graph.shape(layer.outputs[0]):
        return None
    name = layer.outputs[0]
    while name not in graph.outputs:
        readers = [reader for reader in graph.layers if name in reader.inputs]
        if len(readers) != 1 or readers[0].op not in COPIES | RESHAPES:
            return None
        name = readers[0].outputs[0]
    return scored.inputs[0]


def _of_negative(graph: MutableGraph, layer: Layer, z: str) -> list[Layer]:
    """σ(-z)."""
    build = Builder(graph, layer)
    out = unique_name(f"{build.out}/against", lambda name: name in graph.shapes or name in graph.constants)
    build.add("Neg", z, out=out, shape=graph.shape(z))
    build.add("Sigmoid", out, name=layer.name)
    return build.layers


def _both(graph: MutableGraph, linear: Layer, sign: float) -> tuple[str, ...] | None:
    """The operands of a Gemm that gives sign·z and -sign·z, for one that gives z; None where they are computed."""
    weight = graph.constant(linear.inputs[1])
    if weight is None or linear.attributes["transA"]:
        return None
    operands = [(weight, 0 if linear.attributes["transB"] else 1, linear.inputs[1])]
    if len(linear.inputs) > 2 and linear.inputs[2]:
        bias = graph.constant(linear.inputs[2])
        if bias is None or bias.size != 1:
            return None
        operands.append((bias.reshape(1), 0, linear.inputs[2]))
    twice = [
        graph.add_constant(np.concatenate([v * v.dtype.type(sign), v * v.dtype.type(-sign)], axis), f"{name}/two")
        for v, axis, name in operands
    ]
    return linear.inputs[0], *twice


def _source(graph: MutableGraph, producers: dict[str, Layer], name: str) -> str:
    """The tensor before copies and reshapes of one number for each sample."""
    while (layer := producers.get(name)) is not None and layer.op in COPIES | RESHAPES:
        if graph.shapes.get(layer.inputs[0], ())[:1] != (graph.batch,):
            break
        if int(np.prod(graph.shapes[layer.inputs[0]])) != graph.batch:
            break
        name = layer.inputs[0]
    return name


def _line(graph: MutableGraph, producers: dict[str, Layer], name: str) -> _Line:
    """A tensor as a·x + b of one number x for each sample."""
    factor, offset = 1.0, 0.0
    while True:
        name = _source(graph, producers, name)
        layer = producers.get(name)
        if layer is None or layer.op not in TURNS:
            return name, factor, offset
        numbers = [_number(graph, n) for n in layer.inputs]
        if layer.op == "Neg":
            name, factor = layer.inputs[0], -factor
        elif len(numbers) != 2 or (numbers[0] is None) == (numbers[1] is None):
            return name, factor, offset
        else:
            value = next(number for number in numbers if number is not None)
            live = layer.inputs[numbers.index(None)]
            if graph.shapes.get(live, (0,))[0] != graph.batch or int(np.prod(graph.shapes[live])) != graph.batch:
                return name, factor, offset
            if layer.op == "Mul":
                factor *= value
            elif layer.op == "Add":
                offset += factor * value
            elif numbers[0] is None:
                offset -= factor * value
            else:
                offset, factor = offset + factor * value, -factor
            name = live


def _number(graph: MutableGraph, name: str) -> float | None:
    value = graph.constant(name)
    return float(value.reshape(())) if value is not None and value.size == 1 else None
