"""Tensors that are quadratic functions of one activation, found by computing with the functions themselves.

Exporters write squared distances in many forms: ‖x‖² − 2 x·μ + ‖μ‖² of a clustering, ‖x P − μ P‖² of a mixture with
full covariances, sums of products for diagonal ones. As functions of x they are one form, xᵀ Q x + A x + c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...graph import Array, Layer
from ...operators import ADDITIONS, COPIES, QUADRATIC, SQUARES
from ...rewriting.mutable_graph import MutableGraph

_WIDEST = 1 << 24  # numbers of Q
_DEFINITE = 1e-10  # the least eigenvalue of Q, as a share of the largest
_CLOSE = 1e-5


@dataclass(frozen=True, eq=False)
class Form:
    """Functions xᵀ Q x + A x + c of a row x [D], F of them.

    Attributes:
        root: The tensor x.
        q: Q [F, D, D], symmetric, or its diagonal [F, D]; None of affine functions.
        a: A [F, D].
        c: c [F].
    """

    root: str
    q: Array | None
    a: Array
    c: Array


@dataclass(frozen=True, eq=False)
class Distances:
    """Squared distances sign · ‖U (x − μ)‖² + c, F of them.

    Attributes:
        root: The tensor x.
        sign: 1 or −1.
        scales: U [F, D, D], or its diagonal [F, D].
        centres: μ [F, D].
        constants: c [F].
        plain: Whether c is rounding beside the squares of which it is what is left.
    """

    root: str
    sign: int
    scales: Array
    centres: Array
    constants: Array
    plain: bool


def distances(graph: MutableGraph, tensor: str) -> Distances | None:
    """Return a tensor [N, F] as squared distances; None where it is none.

    Args:
        graph: Has the shapes of all activations, the batch on axis 0.
        tensor: The tensor.
    """
    found = forms(graph, tensor)
    return None if found is None or found.q is None else _completed(found)


def _completed(form: Form) -> Distances | None:
    """Complete the squares; None of a Q that is not definite, or has both signs."""
    q = form.q
    assert q is not None
    full = q.ndim == 3
    eigenvalues = np.linalg.eigvalsh(q) if full else q
    sign = 1 if eigenvalues.sum() > 0 else -1
    values = sign * eigenvalues
    if (values < _DEFINITE * values.max(axis=1, keepdims=True)).any() or not values.max() > 0:
        return None
    if full:
        centres = np.linalg.solve(q, -0.5 * form.a[..., None])[..., 0]
        # ‖U y‖² = yᵀ Uᵀ U y, of Q = L Lᵀ with U = Lᵀ.
        scales = np.linalg.cholesky(sign * q).transpose(0, 2, 1)
        squares = np.einsum("fi,fij,fj->f", centres, q, centres)
    else:
        centres = -0.5 * form.a / q
        scales = np.sqrt(sign * q)
        squares = (q * centres**2).sum(axis=1)
    constants = form.c - squares
    plain = bool((np.abs(constants) <= _CLOSE * np.abs(squares).max()).all())
    return Distances(form.root, sign, scales, centres, constants, plain)


def forms(graph: MutableGraph, tensor: str) -> Form | None:
    """Return a tensor [N, F] as quadratic functions of the last tensor that all of it is made of by such; else None.

    Args:
        graph: Has the shapes of all activations, the batch on axis 0.
        tensor: The tensor.
    """
    producers = graph.producers()
    if not _has_squares(graph, producers, tensor):
        return None
    known: dict[str, Form | None] = {}

    def form(name: str) -> Form | None:
        if name not in known:
            layer = producers.get(name)
            made = _of_layer(graph, layer, form) if layer is not None and layer.op in QUADRATIC else None
            known[name] = made if made is not None else _itself(graph, name)
        return known[name]

    return form(tensor)


def _has_squares(graph: MutableGraph, producers: dict[str, Layer], tensor: str) -> bool:
    """Whether squares may stand before a tensor, behind functions that keep it quadratic."""
    open_names, seen = [tensor], {tensor}
    while open_names:
        layer = producers.get(open_names.pop())
        if layer is None or layer.op not in QUADRATIC:
            continue
        if layer.op in SQUARES or (layer.op == "Mul" and layer.inputs[0] == layer.inputs[1]):
            return True
        new = [name for name in layer.inputs if name and name not in graph.constants and name not in seen]
        seen.update(new)
        open_names += new
    return False


def _itself(graph: MutableGraph, name: str) -> Form | None:
    shape = graph.shapes.get(name, ())
    if len(shape) != 2 or shape[0] != graph.batch or shape[1] ** 2 > _WIDEST:
        return None
    return Form(name, None, np.eye(shape[1]), np.zeros(shape[1]))


def _of_layer(graph: MutableGraph, layer: Layer, form: Callable[[str], Form | None]) -> Form | None:
    """The form of a layer's result, of those of its operands; None where it has none."""
    shape = graph.shapes.get(layer.outputs[0], ())
    if len(shape) != 2 or shape[0] != graph.batch:
        return None
    live = [name for name in layer.inputs if name and name not in graph.constants]
    operands = [f for name in live if (f := form(name)) is not None]
    if not live or len(operands) < len(live) or len({f.root for f in operands}) != 1:
        return None
    first, numbers = operands[0], [graph.constants.get(name) for name in layer.inputs if name]
    width = shape[1]
    if layer.op in COPIES:
        return first
    if layer.op in ("Gemm", "MatMul"):
        return _product(layer, first, numbers) if len(live) == 1 and numbers[0] is None else None
    if layer.op == "Concat":
        whole = len(live) == len(layer.inputs) and layer.attributes["axis"] in (1, -1)
        return _stacked(operands) if whole else None
    if layer.op == "Neg":
        return _scaled(first, np.full(width, -1.0))
    if layer.op in ADDITIONS:
        return _sum(layer, operands, numbers, width)
    if layer.op == "Mul" and len(live) == 2:
        return _square(first) if live[0] == live[1] else None
    if layer.op in ("Mul", "Div"):
        factor = next(n for n in numbers if n is not None)
        if layer.op == "Div" and numbers[0] is not None:
            return None
        vector = _vector(factor, width)
        return None if vector is None else _scaled(_widened(first, width), 1 / vector if layer.op == "Div" else vector)
    if layer.op == "Pow":
        power = numbers[1] if len(numbers) == 2 else None
        return _square(first) if power is not None and power.size == 1 and float(power.reshape(())) == 2 else None
    return _reduced(layer, _square(first) if layer.op == "ReduceSumSquare" else first, numbers, width)


def _reduced(layer: Layer, form: Form | None, numbers: list[Array | None], width: int) -> Form | None:
    axes = numbers[1] if len(numbers) == 2 else layer.attributes.get("axes")
    if form is None or axes is None or [int(n) % 2 for n in np.asarray(axes).reshape(-1)] != [1] or width != 1:
        return None
    q = None if form.q is None else form.q.sum(axis=0, keepdims=True)
    return Form(form.root, q, form.a.sum(axis=0, keepdims=True), form.c.sum(keepdims=True))


def _product(layer: Layer, form: Form, numbers: list[Array | None]) -> Form | None:
    weight, bias = numbers[1], numbers[2] if len(numbers) > 2 else None
    if weight is None or weight.ndim != 2 or (len(numbers) > 2 and bias is None):
        return None
    how = layer.attributes
    if how.get("transA", 0):
        return None
    matrix = np.asarray(weight, np.float64) * float(how.get("alpha", 1.0))
    matrix = matrix if how.get("transB", 0) else matrix.T
    q = None if form.q is None else np.tensordot(matrix, form.q, axes=1)
    c = matrix @ form.c
    if bias is not None:
        shift = _vector(bias, len(c))
        if shift is None:
            return None
        c = c + shift * float(how.get("beta", 1.0))
    return Form(form.root, q, matrix @ form.a, c)


def _sum(layer: Layer, operands: list[Form], numbers: list[Array | None], width: int) -> Form | None:
    signs = [1.0] * len(numbers) if layer.op != "Sub" else [1.0, -1.0]
    total, rest = None, iter(operands)
    constant = np.zeros(width)
    for sign, number in zip(signs, numbers, strict=True):
        if number is not None:
            vector = _vector(number, width)
            if vector is None:
                return None
            constant = constant + sign * vector
            continue
        own = _scaled(_widened(next(rest), width), np.full(width, sign))
        total = own if total is None else _added(total, own)
    return None if total is None else Form(total.root, total.q, total.a, total.c + constant)


def _added(one: Form, other: Form) -> Form:
    q = one.q if other.q is None else other.q
    if one.q is not None and other.q is not None:
        q = _full(one.q) + _full(other.q) if one.q.ndim != other.q.ndim else one.q + other.q
    return Form(one.root, q, one.a + other.a, one.c + other.c)


def _full(q: Array) -> Array:
    return q if q.ndim == 3 else q[..., None] * np.eye(q.shape[1])


def _stacked(operands: list[Form]) -> Form | None:
    parts = [f.q for f in operands]
    known = [q for q in parts if q is not None]
    if known and len(known) < len(parts):
        return None
    same = len({q.ndim for q in known}) == 1
    q = np.concatenate([q if same else _full(q) for q in known]) if known else None
    return Form(operands[0].root, q, np.concatenate([f.a for f in operands]), np.concatenate([f.c for f in operands]))


def _scaled(form: Form, factor: Array) -> Form:
    q = None if form.q is None else form.q * factor.reshape(-1, *[1] * (form.q.ndim - 1))
    return Form(form.root, q, form.a * factor[:, None], form.c * factor)


def _widened(form: Form, width: int) -> Form:
    if len(form.c) == width:
        return form
    q = None if form.q is None else np.repeat(form.q, width, axis=0)
    return Form(form.root, q, np.repeat(form.a, width, axis=0), np.repeat(form.c, width))


def _square(form: Form) -> Form | None:
    """The squares of affine functions."""
    if form.q is not None:
        return None
    a, c = form.a, form.c
    if ((a != 0).sum(axis=1) <= 1).all():  # of one feature each
        return Form(form.root, a**2, 2 * c[:, None] * a, c**2)
    if len(a) * a.shape[1] ** 2 > _WIDEST:
        return None
    return Form(form.root, a[:, :, None] * a[:, None, :], 2 * c[:, None] * a, c**2)


def _vector(value: Array, width: int) -> Array | None:
    """A constant as a vector that all samples share; None where they do not."""
    array = np.asarray(value, np.float64)
    if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != 1) or array.shape[-1:] not in ((), (1,), (width,)):
        return None
    return np.broadcast_to(array.reshape(-1), (width,)).copy()
