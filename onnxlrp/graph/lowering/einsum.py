"""An Einsum as a MatMul, and what arranges its operands and its result."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..graph import Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph


def einsum(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write y[out] = Σ a[left] b[right] as a product of matrices [B, M, K] by [B, K, N].

    B are the axes that a, b and y share, K those that y lacks. Diagonals, broadcasting and sums over one operand alone
    have no such form.

    Returns:
        The layers, or none where there is no such form.
    """
    if len(layer.inputs) > 2:
        return _pairwise(graph, layer)
    left, right, out = _terms(str(layer.attributes["equation"]), layer)
    stored = [name in graph.constants for name in layer.inputs]
    if left and stored in ([False, True], [True, False]):
        terms = (left, right) if stored[1] else (right, left)
        return _by_matrix(graph, layer, layer.inputs[stored.index(False)], layer.inputs[stored.index(True)], terms, out)
    if not left or any(stored):
        return []
    shapes = [graph.shapes[name] for name in layer.inputs]
    size = {a: n for term, shape in zip((left, right), shapes, strict=True) for a, n in zip(term, shape, strict=True)}
    both = [a for a in out if a in left and a in right]
    inner = [a for a in left if a in right and a not in out]
    rows, columns = [a for a in left if a not in right], [a for a in right if a not in left]
    diagonal = any(len(set(term)) < len(term) for term in (left, right, out))
    broadcast = any(shape != tuple(size[a] for a in term) for term, shape in zip((left, right), shapes, strict=True))
    if diagonal or broadcast or set(rows + columns) - set(out):
        return []
    build = Builder(graph, layer)

    def arranged(name: str, term: str, groups: list[list[str]], what: str) -> str:
        """The axes in the order of the groups, those behind `both` multiplied out."""
        order = tuple(term.index(a) for group in groups for a in group)
        shape = tuple(size[term[i]] for i in order)
        after = f"{build.out}/{what}"
        if order != tuple(range(len(order))):
            name = build.add("Transpose", name, out=after, name=f"{layer.name}/{what}", shape=shape, perm=order)
        flat = (*shape[: len(both)], *(math.prod(size[a] for a in group) for group in groups[1:]))
        return name if flat == shape else build.reshape(name, flat, f"{after}/flat")

    a = arranged(layer.inputs[0], left, [both, rows, inner], "left")
    b = arranged(layer.inputs[1], right, [both, inner, columns], "right")
    lead = tuple(size[x] for x in both)
    whole = (*lead, math.prod(size[x] for x in rows), math.prod(size[x] for x in columns))
    product = build.declare(f"{build.out}/product", whole)
    build.keep(op="MatMul", inputs=(a, b), outputs=(product,), attributes={})
    letters = [*both, *rows, *columns]
    split = build.reshape(product, tuple(size[x] for x in letters), f"{build.out}/split")
    build.add("Transpose", split, name=f"{layer.name}/out", perm=tuple(letters.index(x) for x in out))
    return build.layers


def _by_matrix(
    graph: MutableGraph, layer: Layer, source: str, weight: str, terms: tuple[str, str], out: str
) -> list[Layer]:
    """x[…, s, m, i] w[s, i, o] → y[…, s, m, o]: a product with constant matrices between transposes.

    There is one matrix, or one for each place along axes s, such as the relative positions of rows and of columns.
    """
    term, of_weight = terms
    inner, outer = [a for a in of_weight if a not in out], [a for a in of_weight if a not in term]
    own = [a for a in of_weight if a in term and a in out]
    rows = [a for a in term if a not in inner and a not in own]
    if len(inner) != 1 or len(outer) != 1 or inner[0] not in term or len(of_weight) != 2 + len(own):
        return []
    # Matrices of their own stand in front of the rows: of the batch, which comes first, and another axis.
    kept = [*rows[:-1], *own, *rows[-1:]] if own else rows
    if own and (len(rows) < 2 or term[0] in own):
        return []
    if sorted(out) != sorted([*kept, *outer]) or len(set(term)) < len(term) or out[0] != term[0]:
        return []
    shape, matrix = graph.shapes[source], graph.constants[weight]
    places = (*own, *inner, *outer)
    matrix = np.ascontiguousarray(matrix.transpose([of_weight.index(a) for a in places]))
    if any(shape[term.index(a)] != n for a, n in zip(places[:-1], matrix.shape, strict=False)):  # broadcasts
        return []
    build = Builder(graph, layer)
    first = [*kept, *inner]
    if first != list(term):
        order = tuple(term.index(a) for a in first)
        moved = tuple(shape[n] for n in order)
        source = build.add("Transpose", source, out=f"{build.out}/in", name=f"{layer.name}/in", shape=moved, perm=order)
    last = [*kept, *outer]
    inputs = (source, graph.add_constant(matrix, weight))
    if last == list(out):
        build.keep(op="MatMul", inputs=inputs, attributes={})
        return build.layers
    size = dict(zip(term, shape, strict=True)) | {outer[0]: matrix.shape[-1]}
    product = build.declare(f"{build.out}/product", tuple(size[a] for a in last))
    build.keep(op="MatMul", inputs=inputs, outputs=(product,), attributes={})
    build.add("Transpose", product, name=f"{layer.name}/out", perm=tuple(last.index(a) for a in out))
    return build.layers


def _pairwise(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Of three operands and more: the first two, then that with the next."""
    terms, arrow, out = str(layer.attributes["equation"]).replace(" ", "").partition("->")
    first, second, *rest = terms.split(",")
    if not arrow or "." in terms or len(layer.inputs) != 2 + len(rest):
        return []
    shapes = [graph.shape(name) for name in layer.inputs[:2]]
    size = {a: n for term, shape in zip((first, second), shapes, strict=True) for a, n in zip(term, shape, strict=True)}
    kept = "".join(dict.fromkeys(a for a in first + second if a in out + "".join(rest)))
    build = Builder(graph, layer)
    both = build.declare(f"{build.out}/of{len(rest)}", tuple(size[a] for a in kept))
    parts = (
        (layer.inputs[:2], both, f"{first},{second}->{kept}", f"{layer.name}/of{len(rest)}"),
        ((both, *layer.inputs[2:]), build.out, f"{','.join([kept, *rest])}->{out}", layer.name),
    )
    made: list[Layer] = []
    for inputs, output, equation, name in parts:
        part = replace(layer, name=name, inputs=inputs, outputs=(output,), attributes={"equation": equation})
        made += einsum(graph, part) or [part]
    return made


def _terms(equation: str, layer: Layer) -> tuple[str, str, str]:
    """The letters of two operands and of the result; nothing where there are others, or an ellipsis."""
    operands, arrow, out = equation.replace(" ", "").partition("->")
    terms = operands.split(",")
    if len(terms) != 2 or "." in equation or len(layer.inputs) != 2:
        return "", "", ""
    if not arrow:
        out = "".join(sorted(a for a in set(operands) - {","} if operands.count(a) == 1))
    return terms[0], terms[1], out
