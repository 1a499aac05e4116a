"""Products with a constant over any axes: Einsum, MatMul with a constant on the left or a batch of them, CumSum."""

from __future__ import annotations

import string

import numpy as np

from ..graph.graph import Array
from ..program.affine import Affine, LinearStep, composed
from ..program.linear import Matmul, Sum
from ..program.op import Op, linear_op
from ..program.value import Value
from . import Node, layer, unsupported
from .selection import MAX_SELECTION, map_sequence


def contraction(node: Node, x: Value, letters: str, constant: Array, others: str, out: str) -> Op:
    """Return the op of y[out] = Σ x[letters] c[others] as one product of matrices [B, M, K] by [B, K, N].

    B are the axes of all three, K those that y lacks, M those of x alone, N those of the constant alone.

    Args:
        node: The layer.
        x: The activation.
        letters: A letter for each per-sample axis of x.
        constant: The other factor.
        others: A letter for each axis of the constant.
        out: A letter for each per-sample axis of the result.
    """
    size = dict(zip(letters, x.shape, strict=True))
    own = "".join(a for a in others if a in letters or a in out)
    weight = np.einsum(constant, [others.index(a) for a in others], [others.index(a) for a in own])
    both, summed = ("".join(a for a in letters if (a in own) and (a in out) == kept) for kept in (True, False))
    alone = "".join(a for a in letters if a not in own and a in out)
    dropped = "".join(a for a in letters if a not in own and a not in out)
    added = "".join(a for a in own if a not in letters)
    wide = {**size, **dict(zip(own, weight.shape, strict=True))}
    maps = map_sequence(node, x)
    if dropped:
        axes = tuple(letters.index(a) for a in dropped)
        kept = "".join(a for a in letters if a not in dropped)
        maps.add(Sum(x.shape, tuple(size[a] for a in kept), axes))
        letters = kept
    maps.permute([letters.index(a) for a in both + alone + summed])
    # One matrix for all places has no axes B: they are rows like the others.
    lead = tuple(wide[a] for a in both)
    rows, inner, outer = (int(np.prod([wide[a] for a in some])) for some in (alone, summed, added))
    maps.reshape((*lead, rows, inner))
    linear = Matmul(maps.shape, (*lead, rows, outer))
    order = [own.index(a) for a in both + summed + added]
    matrix = node.trace.constant(np.ascontiguousarray(weight.transpose(order)).reshape(*lead, inner, outer))
    steps = [*maps.steps, LinearStep(linear, layer_weight=True)]
    maps.steps, maps.shape = [], linear.target
    maps.reshape(tuple(wide[a] for a in both + alone + added))
    maps.permute([(both + alone + added).index(a) for a in out])
    maps.reshape(node.result.shape)
    return _dense(node, x, (*steps, *maps.steps), matrix)


def _dense(node: Node, x: Value, steps: tuple[LinearStep, ...], weight: Value) -> Op:
    linear = composed(*steps)
    node.trace.declare_linear(linear, x, weight, None, node.result)
    return linear_op("dense", ((Affine(linear, weight), x),), node.result, node.layer.label)


def product(node: Node, own: int) -> Op:
    """Return the op of a MatMul with a constant of any rank, which broadcast as in numpy's matmul.

    Args:
        node: The layer.
        own: Index of the input that is an activation.
    """
    x, constant = node.operand(own), node.array(1 - own)
    rank = len(x.shape)
    if constant.ndim == rank + 1 and rank > 1 and constant.shape[0] == 1:
        constant = constant[0]  # the batch
    if rank <= own or not constant.ndim or constant.ndim > max(2, rank):
        raise unsupported(node.layer)
    places, free = list(string.ascii_lowercase[: max(0, rank - 2)]), iter(string.ascii_uppercase)
    row, inner, column = "y", "x", "z"
    letters = [*places, *((row, inner)[-rank:] if own == 0 else (inner, column))]
    others = [inner] if constant.ndim == 1 else [inner, column] if own == 0 else [row, inner]
    out = [*places, *(a for a in (row, column) if a in (*letters, *others))]
    first = len(places) - (constant.ndim - 2)
    for i in reversed(range(constant.ndim - 2)):
        n, place = constant.shape[i], places[first + i]
        if n == 1:
            constant = constant.take(0, axis=i)
            continue
        if x.shape[first + i] == 1 != n:  # x is broadcast
            out[first + i] = place = next(free)
        others.insert(0, place)
    return contraction(node, x, "".join(letters), constant, "".join(others), "".join(out))


@layer("Einsum", kind="dense")
def einsum(node: Node) -> Op:
    """Einsum: y = Σ x c, a product with constants by an equation of axes: linear, so that every LRP rule applies."""
    live, constants = node.activations, [i for i in range(len(node.layer.inputs)) if node.is_constant(i)]
    if len(live) != 1 or not constants:
        raise unsupported(node.layer)
    terms, out = _terms(node)
    x, batch, letters = node.operand(live[0]), terms[live[0]][:1], terms[live[0]][1:]
    others = "".join(dict.fromkeys("".join(terms[i] for i in constants)))
    if out[:1] != batch or batch in letters + out[1:] + others or len(set(letters)) < len(letters):
        raise unsupported(node.layer)
    operands = [part for i in constants for part in (node.array(i), [others.index(a) for a in terms[i]])]
    constant = np.einsum(*operands, list(range(len(others))))
    return contraction(node, x, letters, constant, others, out[1:])


def _terms(node: Node) -> tuple[list[str], str]:
    """Return the letters of each input and of the result; an ellipsis becomes capital letters."""
    left, arrow, out = str(node.attribute("equation")).replace(" ", "").partition("->")
    terms = left.split(",")
    ranks = [node.array(i).ndim if node.is_constant(i) else len(node.operand(i).shape) + 1 for i in range(len(terms))]
    many = [rank - len(term) + 3 if "..." in term else 0 for rank, term in zip(ranks, terms, strict=True)]
    capitals = string.ascii_uppercase[: max(many)]
    if any(a in capitals for a in left):
        raise unsupported(node.layer)
    if not arrow:
        once = sorted(a for a in set(left) - set(".,") if left.count(a) == 1)
        out = "..." * ("..." in left) + "".join(once)
    terms = [term.replace("...", capitals[len(capitals) - n :]) for term, n in zip(terms, many, strict=True)]
    return terms, out.replace("...", capitals)


@layer("CumSum", kind="avgpool")
def cumsum(node: Node) -> Op:
    """CumSum: y = A x, running sums, whose terms share relevance in proportion to their values: x ⊙ Aᵀ(R / Ax)."""
    x, y, trace = node.operand(0), node.result, node.trace
    axis = int(node.array(1).reshape(())) % (len(x.shape) + 1) - 1
    if axis < 0 or x.shape[axis] ** 2 > MAX_SELECTION:
        raise unsupported(node.layer)
    maps, n = map_sequence(node, x), x.shape[axis]
    matrix = np.triu(np.ones((n, n)), 1 if node.attribute("exclusive", 0) else 0)
    maps.multiply(axis, matrix.T if node.attribute("reverse", 0) else matrix)
    linear = composed(*maps.steps)
    trace.declare_linear(linear, x, None, None, y)
    return linear_op("avgpool", ((Affine(linear, gain=trace.constant(1.0)), x),), y, node.layer.label)
