"""Cells that an exporter wrote step by step: sums of products with matrices become one layer, with one denominator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..facts import applies_again
from ..graph import Array, Layer
from ..operators import GATED, JOINT, RESHAPES
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph


def join_sums(graph: MutableGraph) -> None:
    """Write the cells of a recurrent network as the unfolded operators have them.

    W x + R h + b, in whatever pieces it is added up, becomes one layer; (h − n) ⊙ z + n becomes z ⊙ h + (1 − z) ⊙ n. A
    network that multiplies by no matrix again stays as it is.

    Args:
        graph: Its batch is on axis 0; products with matrices are Gemms or MatMuls with their bias.
    """
    if not applies_again(graph.layers, graph.constants):
        return
    producers, uses = graph.producers(), graph.uses()
    graph.layers = [made for layer in graph.layers for made in _mixed(graph, layer, producers, uses) or [layer]]
    sums = _Sums(graph)
    layers: list[Layer] = []
    for layer in graph.layers:
        layers += sums.joined(layer) or [layer]
    graph.layers = [sums.gated.get(layer.name, layer) for layer in layers]
    graph.prune()


def split(graph: MutableGraph) -> bool:
    """Return whether there is a sum that `join_sums` writes as one layer."""
    made = graph.copy()
    join_sums(made)
    return [layer.name for layer in made.layers] != [layer.name for layer in graph.layers]


# The name of a matrix, whether it is stored for units × inputs, and the first and the last unit but one.
_Part = tuple[str, bool, int, int]


@dataclass
class _Sum:
    """Σ W x + Σ y + b.

    Attributes:
        products: (x, the units of a dense layer).
        others: Each y, products of gates.
        bias: b [width]; None without one.
        before: Layers that x needs besides those of the graph.
    """

    products: list[tuple[str, _Part]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    bias: Array | None = None
    before: list[Layer] = field(default_factory=list)

    def __add__(self, other: _Sum) -> _Sum:
        biases = [bias.astype(np.float64) for bias in (self.bias, other.bias) if bias is not None]
        return _Sum(
            self.products + other.products, self.others + other.others,
            sum(biases[1:], biases[0]) if biases else None, self.before + other.before,
        )  # fmt: skip


class _Sums:
    """Finds the sums of a graph, and writes them as `JOINT` layers."""

    def __init__(self, graph: MutableGraph) -> None:
        self.graph, self.uses, self.producers = graph, graph.uses(), graph.producers()
        self.matrices: dict[_Part, str] = {}
        self.rows: dict[tuple[str, str], str] = {}
        self.made: dict[str, _Sum] = {}
        self.gated: dict[str, Layer] = {}

    def joined(self, layer: Layer) -> list[Layer]:
        """Return what stands for a layer that adds products with matrices; [] for another."""
        if layer.op != "Add" or layer.outputs[0] not in self.graph.shapes:
            return []
        shape = self.graph.shapes[layer.outputs[0]]
        terms = [self._term(name, shape) for name in layer.inputs]
        if any(term is None for term in terms):
            return []
        whole = sum((term for term in terms if term is not None), _Sum())
        if not whole.products:
            return []
        self.made[layer.outputs[0]] = whole
        build = Builder(self.graph, layer)
        bias = "" if whole.bias is None else build.constant(whole.bias, f"{build.out}/bias")
        for y in whole.others:
            self._gated(self.producers[y])
        pairs = [(x, self._matrix(part)) for x, part in whole.products] + [(y, "") for y in whole.others]
        operands = [name for pair in pairs for name in pair]
        return [*whole.before, Layer(JOINT, layer.name, layer.path, (*operands, bias), layer.outputs)]

    def _term(self, name: str, shape: tuple[int, ...]) -> _Sum | None:
        """Return what an operand of a sum adds; None where it is no part of a dense layer."""
        value = self.graph.constant(name)
        if value is not None:
            row = value.reshape(-1)
            whole = value.size in (1, shape[-1]) and value.shape[-1:] in ((), (1,), shape[-1:])
            return _Sum(bias=np.broadcast_to(row, shape[-1:])) if whole else None
        if self.graph.shapes.get(name) != shape or self.uses[name] != 1:
            return None
        if name in self.made:
            return replace(self.made[name], before=[])
        layer = self.producers.get(name)
        if layer is None:
            return None
        if layer.op == "Mul":
            return _Sum(others=[name])
        return self._product(name)

    def _gated(self, layer: Layer) -> None:
        """Note a gate times what a zero state leaves of its signal, a constant: the gate takes nothing."""
        for gate, signal in (layer.inputs, layer.inputs[::-1]):
            producer = self.producers.get(gate)
            if signal in self.graph.constants and producer is not None and producer.op == "Sigmoid":
                row = self.graph.constants[signal]
                width = self.graph.shapes[gate][-1:]
                if row.size in (1, *width):
                    row = np.array(np.broadcast_to(row.reshape(-1), width))
                    stored = self.graph.add_constant(row, f"{layer.outputs[0]}/signal")
                    self.gated[layer.name] = replace(layer, op=GATED, inputs=(gate, stored), attributes={})

    def _product(self, name: str) -> _Sum | None:
        """Return W x + b of a tensor that a dense layer writes, or that is cut out of its result; None for another."""
        layer = self.producers.get(name)
        if layer is None or layer.inputs[0] in self.graph.constants:
            return None
        if layer.op in ("Gemm", "MatMul"):
            return self._dense(layer)
        source, shape = self.graph.shapes.get(layer.inputs[0], ()), self.graph.shapes.get(name, ())
        if layer.op in RESHAPES and source[-1:] == shape[-1:]:
            found = self._product(layer.inputs[0])
            return None if found is None else self._reshaped(found, layer, shape)
        if layer.op == "Gather" and self.graph.constant(layer.inputs[1]) is not None:
            axis = int(layer.attributes.get("axis", 0)) % len(source)
            found = self._product(layer.inputs[0]) if 0 < axis < len(source) - 1 else None
            return None if found is None else self._at_step(found, layer)
        bounds = [self.graph.constant(name) for name in layer.inputs[1:]] if layer.op == "Slice" else []
        if len(bounds) < 3 or any(bound is None or bound.size != 1 for bound in bounds):
            return None
        start, end, axis, *step = (int(bound.reshape(())) for bound in bounds if bound is not None)
        found = self._product(layer.inputs[0]) if axis % len(source) else None
        if found is None:
            return None
        if axis % len(source) < len(source) - 1:
            return self._at_step(found, layer)
        return self._columns(found, start, end, source[-1]) if step in ([], [1]) else None

    def _dense(self, layer: Layer) -> _Sum | None:
        weight = self.graph.constant(layer.inputs[1])
        factors = {layer.attributes.get(key, 1.0) for key in ("alpha", "beta")} - {1.0}
        if weight is None or weight.ndim != 2 or layer.attributes.get("transA", 0) or factors:
            return None
        bias = self.graph.constant(layer.inputs[2]) if len(layer.inputs) > 2 else None
        if len(layer.inputs) > 2 and bias is None:
            return None
        turned = bool(layer.attributes.get("transB", 0))
        width = weight.shape[0 if turned else 1]
        bias = None if bias is None else np.broadcast_to(bias.reshape(-1), (width,))
        return _Sum([(layer.inputs[0], (layer.inputs[1], turned, 0, width))], bias=bias)

    def _columns(self, found: _Sum, start: int, end: int, width: int) -> _Sum:
        """Return some units of a dense layer."""
        begin, end, _ = slice(start, end).indices(width)
        ((x, (name, turned, first, _)),) = found.products
        bias = None if found.bias is None else found.bias[begin:end]
        return replace(found, products=[(x, (name, turned, first + begin, first + end))], bias=bias)

    def _matrix(self, part: _Part) -> str:
        """Return the name of the matrix of some units, in the layout in which a MatMul reads it."""
        name, turned, begin, end = part
        weight = self.graph.constants[name]
        if not turned and (begin, end) == (0, weight.shape[1]):
            return name
        if part not in self.matrices:
            matrix = np.ascontiguousarray((weight.T if turned else weight)[:, begin:end])
            self.matrices[part] = self.graph.add_constant(matrix, f"{name}/matrix")
        return self.matrices[part]

    def _reshaped(self, found: _Sum, layer: Layer, shape: tuple[int, ...]) -> _Sum:
        """Return a sum of operands whose axes but for the last are others."""
        ((x, part),) = found.products
        build, key, width = Builder(self.graph, layer), (x, layer.name), self.graph.shapes[x][-1]
        if key not in self.rows:
            out = self.rows[key] = f"{build.out}/of_input"
            build.reshape(x, (-1, *shape[1:-1], width), out, f"{layer.name}/of_input", declare=False)
            self.graph.shapes[out], self.graph.dtypes[out] = (*shape[:-1], width), self.graph.dtypes[x]
            found.before.extend(build.layers)
        return replace(found, products=[(self.rows[key], part)])

    def _at_step(self, found: _Sum, layer: Layer) -> _Sum:
        """Return a sum at some steps: the layer picks them of what the matrix is applied to."""
        ((x, part),) = found.products
        key, width = (x, layer.name), self.graph.shapes[x][-1]
        if key not in self.rows:
            out = self.rows[key] = f"{layer.outputs[0]}/of_input"
            self.graph.shapes[out] = (*self.graph.shapes[layer.outputs[0]][:-1], width)
            self.graph.dtypes[out] = self.graph.dtypes[x]
            moved = replace(layer, name=f"{layer.name}/of_input", inputs=(x, *layer.inputs[1:]), outputs=(out,))
            found.before.append(moved)
        return replace(found, products=[(self.rows[key], part)])


def _mixed(graph: MutableGraph, layer: Layer, producers: Mapping[str, Layer], uses: Mapping[str, int]) -> list[Layer]:
    """Write (h − n) ⊙ z + n, z a sigmoid, as z ⊙ h + (1 − z) ⊙ n; [] for another layer."""
    if layer.op != "Add":
        return []
    for n, scaled in (layer.inputs, layer.inputs[::-1]):
        product = producers.get(scaled)
        if product is None or product.op != "Mul" or uses[scaled] != 1:
            continue
        for z, difference in (product.inputs, product.inputs[::-1]):
            gate, sub = producers.get(z), producers.get(difference)
            if gate is None or gate.op != "Sigmoid" or sub is None or sub.op != "Sub" or sub.inputs[1] != n:
                continue
            if graph.shapes.get(z) != graph.shapes[layer.outputs[0]]:
                continue
            build, shape = Builder(graph, layer), graph.shapes[layer.outputs[0]]
            one = build.constant(np.array(1, np.float32), f"{build.out}/one")
            rest = build.add("Sub", one, z, out=f"{build.out}/rest", shape=shape)
            new = build.add("Mul", rest, n, out=f"{build.out}/new", shape=shape)
            h = sub.inputs[0]
            kept = build.add("Mul", z, h, out=f"{build.out}/kept", shape=shape)
            build.add("Add", kept, new, name=layer.name)
            return build.layers
    return []
