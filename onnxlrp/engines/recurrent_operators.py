"""LSTM, GRU and RNN for onnx's evaluator (1.23), whose own leave out lengths, clip, activations and input_forget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..program.maps import MAPS
from ..program.program import Array

Function = Callable[[Array], Array]

# Name → (what α and β are by default, the function of x, α and β).
_FUNCTIONS: dict[str, tuple[tuple[float, ...], Callable[..., Array]]] = {
    "relu": ((), lambda x: np.maximum(x, 0)),
    "tanh": ((), np.tanh),
    "sigmoid": ((), MAPS["sigmoid"].run),
    "softsign": ((), lambda x: x / (1 + np.abs(x))),
    "softplus": ((), lambda x: np.logaddexp(x, 0)),
    "leakyrelu": ((0.01,), lambda x, a: np.where(x >= 0, x, a * x)),
    "thresholdedrelu": ((1.0,), lambda x, a: np.where(x > a, x, 0)),
    "elu": ((1.0,), lambda x, a: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0)))),
    "affine": ((1.0, 0.0), lambda x, a, b: a * x + b),
    "scaledtanh": ((1.0, 1.0), lambda x, a, b: a * np.tanh(b * x)),
    "hardsigmoid": ((0.2, 0.5), lambda x, a, b: np.clip(a * x + b, 0, 1)),
}
_USUAL = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}


class _Weights(NamedTuple):
    """The weights and activation functions of one direction.

    Attributes:
        w: [gates · width, inputs].
        r: [gates · width, width].
        b: [2 · gates · width].
        p: [3 · width].
        functions: The activation functions.
        clip: Bounds what they read.
    """

    w: Array
    r: Array
    b: Array
    p: Array
    functions: Sequence[Function]
    clip: Function


def functions(op: str, names: Sequence[str], alphas: Sequence[float], betas: Sequence[float]) -> Iterator[Function]:
    """Yield the activation functions that a layer names, for all of its directions."""
    numbers = list(alphas), list(betas)
    for name in names or _USUAL[op]:
        defaults, function = _FUNCTIONS[str(name).lower()]
        given = [own.pop(0) if own else usual for own, usual in zip(numbers, defaults, strict=False)]
        yield partial(_with_numbers, function, given)


def _with_numbers(function: Callable[..., Array], numbers: Sequence[float], x: Array) -> Array:
    return np.asarray(function(x, *numbers))


def _lstm_step(u: _Weights, x: Array, h: Array, c: Array, attributes: dict[str, Any]) -> tuple[Array, Array]:
    f, g, out = u.functions
    i, o, forget, new = np.split(x @ u.w.T + h @ u.r.T + sum(np.split(u.b, 2)), 4, axis=-1)
    pi, po, pf = np.split(u.p, 3)
    i = f(u.clip(i + pi * c))
    forget = 1 - i if attributes.get("input_forget") else f(u.clip(forget + pf * c))
    c = forget * c + i * g(u.clip(new))
    return f(u.clip(o + po * c)) * out(c), c


def _gru_step(u: _Weights, x: Array, h: Array, c: Array, attributes: dict[str, Any]) -> tuple[Array, Array]:
    f, g = u.functions
    (wz, wr, wn), (rz, rr, rn) = np.split(u.w, 3), np.split(u.r, 3)
    bz, br, bn, cz, cr, cn = np.split(u.b, 6)
    z = f(u.clip(x @ wz.T + h @ rz.T + bz + cz))
    r = f(u.clip(x @ wr.T + h @ rr.T + br + cr))
    inner = r * (h @ rn.T + cn) if attributes.get("linear_before_reset") else (r * h) @ rn.T + cn
    return (1 - z) * g(u.clip(x @ wn.T + bn + inner)) + z * h, c


def _rnn_step(u: _Weights, x: Array, h: Array, c: Array, attributes: dict[str, Any]) -> tuple[Array, Array]:
    return u.functions[0](u.clip(x @ u.w.T + h @ u.r.T + sum(np.split(u.b, 2)))), c


_STEPS = {"LSTM": (_lstm_step, 4), "GRU": (_gru_step, 3), "RNN": (_rnn_step, 1)}


def run(
    op: str,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    h: Array | None = None,
    c: Array | None = None,
    p: Array | None = None,
    **attributes: Any,
) -> tuple[Array, Array, Array]:
    """Compute a recurrent layer by the definition of ONNX.

    Args:
        op: "LSTM", "GRU" or "RNN".
        x: [steps, N, inputs].
        w: [directions, gates · width, inputs].
        r: [directions, gates · width, width].
        b: [directions, 2 · gates · width].
        lengths: The number of steps of each sample [N].
        h: The initial state [directions, N, width].
        c: That of the cell.
        p: Peepholes [directions, 3 · width].
        attributes: The layer's attributes.

    Returns:
        All states [steps, directions, N, width], the last ones [directions, N, width], and those of the cell. Of a
        sample without steps the last ones are zero, as onnxruntime has them.
    """
    step, gates = _STEPS[op]
    (length, count), directions, width = x.shape[:2], len(w), r.shape[2]
    stated = attributes.get("activations") or _USUAL[op]
    names = list(stated) * (directions if len(stated) == len(_USUAL[op]) else 1)
    each = list(functions(op, names, *(attributes.get(f"activation_{key}") or () for key in ("alpha", "beta"))))
    bound = attributes.get("clip") or 0.0
    lengths = np.full(count, length) if lengths is None else lengths
    whole = np.zeros((length, directions, count, width), x.dtype)
    last, cell = (np.zeros((directions, count, width), x.dtype) for _ in range(2))
    for d in range(directions):
        own = each[d * len(_USUAL[op]) :][: len(_USUAL[op])]
        clip: Function = (lambda v: np.clip(v, -bound, bound)) if bound else (lambda v: v)
        u = _Weights(
            w[d], r[d], np.zeros(2 * gates * width) if b is None else b[d],
            np.zeros(3 * width) if p is None else p[d], own, clip,
        )  # fmt: skip
        backward = d == 1 or attributes.get("direction") == "reverse"
        state, inner = (np.zeros((count, width), x.dtype) if v is None else v[d] for v in (h, c))
        for t in range(length)[::-1] if backward else range(length):
            new, new_inner = step(u, x[t], state, inner, attributes)
            valid = (t < lengths)[:, None]
            state, inner = np.where(valid, new, state), np.where(valid, new_inner, inner)
            whole[t, d] = np.where(valid, new, 0)
        some = (lengths > 0)[:, None]
        last[d], cell[d] = np.where(some, state, 0), np.where(some, inner, 0)
    return whole, last, cell


def recurrent_operators() -> list[Any]:
    """Return the operators as classes for onnx's evaluator."""
    from onnx.reference.op_run import OpRun

    def made(op: str, results: int) -> type[Any]:
        def _run(self: Any, *inputs: Array | None, **attributes: Any) -> tuple[Array, ...]:
            optional = [None if v is None or not np.size(v) else v for v in inputs]
            if op != "LSTM":  # it alone has a cell and peepholes
                optional = optional[:6]
            return run(op, *optional, **attributes)[:results]  # type: ignore[arg-type]

        return type(op, (OpRun,), {"op_domain": "", "_run": _run})

    return [made("LSTM", 3), made("GRU", 2), made("RNN", 2)]
