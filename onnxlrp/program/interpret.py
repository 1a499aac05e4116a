"""Interpreter: the meaning of every instruction in numpy, for constant folding and the reference engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .linear import Conv, LinearMap, Matmul, Pool, Select, Slice, Take, Window
from .maps import MAPS, PARAMETRIC
from .program import Array, Constant, Instruction, Loop, LoopInput


def run_map(instruction: Instruction, operands: Sequence[Array]) -> Array:
    """Return the result of an elementwise instruction on its operands."""
    if instruction.op in PARAMETRIC:
        return MAPS[instruction.op].run(*operands, instruction.parameter)
    return MAPS[instruction.op].run(*operands)


def run_linear(instruction: Instruction, operands: Sequence[Array]) -> Array:
    """Return the result of a linear map or its adjoint.

    Args:
        instruction: Of kind "linear" or "adjoint".
        operands: (x[, weight][, bias]) or (s[, weight]); x and s as [..., *per-sample shape] with any leading axes
            (targets, batch, or none).

    Returns:
        The result with the same leading axes.
    """
    linear = instruction.what
    assert isinstance(linear, LinearMap)
    x, *rest = operands
    forward = instruction.kind == "linear"
    inner = linear.source if forward else linear.target
    if x.shape[max(0, x.ndim - len(inner)) :] != inner:
        x = np.broadcast_to(x, (*_lead(x, inner), *inner))
    bias = rest.pop() if instruction.biased else None
    table = LINEAR if forward else ADJOINT
    y = table[linear.name](linear, x, *rest)
    return y if bias is None else y + _bias_to_add(linear, bias)


def run_loop(instruction: Instruction, operands: Sequence[Array]) -> Array:
    """Return the states that each step of a loop receives.

    Args:
        instruction: Of kind "loop".
        operands: [..., *per-sample shape] with any leading axes.

    Returns:
        [..., steps, Σ width].
    """
    loop = instruction.what
    assert isinstance(loop, Loop)
    dtype = np.result_type(*operands) if operands else np.float64
    values: list[Any] = [None] * len(loop.body)
    for n, step in enumerate(loop.body):
        if step.constant:
            values[n] = _run_in_body(step, values, operands, (), 0)
    states: list[Array] = [np.zeros(width, dtype) for width in loop.widths]
    received: list[list[Array]] = [[] for _ in states]
    steps = range(loop.length)[::-1] if loop.backward else range(loop.length)
    for t in steps:
        for state, so_far in zip(states, received, strict=True):
            so_far.append(state)
        for n, step in enumerate(loop.body):
            if not step.constant:
                values[n] = _run_in_body(step, values, operands, states, t)
        states = [values[n] for n in loop.results]
    rows = [np.stack(np.broadcast_arrays(*one), axis=-2) for one in received]
    lead = np.broadcast_shapes(*(row.shape[:-1] for row in rows))
    whole = np.concatenate([np.broadcast_to(row, (*lead, row.shape[-1])) for row in rows], axis=-1)
    return whole[..., ::-1, :] if loop.backward else whole


def _run_in_body(
    step: Instruction, values: Sequence[Array], operands: Sequence[Array], states: Sequence[Array], t: int
) -> Array:
    """Return the result of an instruction of a loop's body at step t."""
    if isinstance(step.what, Constant):
        return step.what.array
    if isinstance(step.what, LoopInput):
        if step.what.sort == "state":
            return states[step.what.index]
        whole = operands[step.what.index]
        return whole if step.what.sort == "whole" else whole[_at((t, *[slice(None)] * len(step.shape)))]
    run = run_map if step.kind == "map" else run_linear
    return run(step, [values[i] for i in step.inputs])


def _bias_to_add(linear: LinearMap, bias: Array) -> Array:
    """Return a bias shaped for addition to the result: along the channels of a convolution, else the last axes."""
    if isinstance(linear, Conv) and bias.ndim == 1:
        return bias.reshape(-1, *([1] * len(linear.window.kernel)))
    return bias


def _at(index: Sequence[Any]) -> Any:
    """Return a numpy index of the trailing axes."""
    return (..., *index)


def _padded(x: Array, window: Window, fill: float = 0.0) -> Array:
    d = len(window.kernel)
    pads = [(0, 0)] * (x.ndim - d) + [(b, max(0, a)) for b, a in zip(window.before, window.after, strict=True)]
    return np.pad(x, pads, constant_values=fill)


def _unpadded(padded: Array, window: Window) -> Array:
    index = tuple(slice(b, b + n) for b, n in zip(window.before, window.source, strict=True))
    inner: Array = padded[_at(index)]
    return inner


def _empty_padded(lead: tuple[int, ...], window: Window, dtype: Any) -> Array:
    spatial = [b + n + max(0, a) for b, n, a in zip(window.before, window.source, window.after, strict=True)]
    return np.zeros((*lead, *spatial), dtype)


def _conv(c: Conv, x: Array, weight: Array) -> Array:
    lead, d = x.shape[: -len(c.source)], len(c.window.kernel)
    padded = _padded(x, c.window)
    padded = padded.reshape(math.prod(lead), c.group, -1, *padded.shape[-d:])
    w = weight.reshape(c.group, c.target[0] // c.group, -1, *c.window.kernel)
    out: Any = 0.0
    for tap, where in c.window.taps():
        piece = padded[_at(where)].reshape(padded.shape[0], c.group, padded.shape[2], -1)
        out = out + w[_at(tap)] @ piece
    return np.asarray(out).reshape(*lead, *c.target)


def _conv_adjoint(c: Conv, s: Array, weight: Array) -> Array:
    lead = s.shape[: -len(c.target)]
    flat = s.reshape(math.prod(lead), c.group, c.target[0] // c.group, -1)
    w = weight.reshape(c.group, c.target[0] // c.group, -1, *c.window.kernel)
    out = _empty_padded((flat.shape[0], c.group, w.shape[2]), c.window, np.result_type(s, weight))
    for tap, where in c.window.taps():
        piece = np.swapaxes(w[_at(tap)], -1, -2) @ flat
        out[_at(where)] += piece.reshape(*piece.shape[:3], *c.window.target)
    return _unpadded(out, c.window).reshape(*lead, *c.source)


def _matmul(m: Matmul, x: Array, weight: Array) -> Array:
    return x @ (np.swapaxes(weight, -1, -2) if m.transposed else weight)


def _matmul_adjoint(m: Matmul, s: Array, weight: Array) -> Array:
    return s @ (weight if m.transposed else np.swapaxes(weight, -1, -2))


def counts(p: Pool) -> Array:
    """Return the divisor of each average, [*target of the window].

    It is the number of taps inside the input, or with `count_padding` inside input and declared padding.
    """
    w = p.window
    reach = np.zeros([b + n + max(0, a) for b, n, a in zip(w.before, w.source, w.after, strict=True)])
    if p.count_padding:
        inside = [slice(0, b + n + e) for b, n, e in zip(w.before, w.source, w.explicit, strict=True)]
    else:
        inside = [slice(b, b + n) for b, n in zip(w.before, w.source, strict=True)]
    reach[tuple(inside)] = 1
    return np.asarray(sum(reach[where] for _, where in w.taps()), dtype=np.float64)


def _pool(p: Pool, x: Array) -> Array:
    padded = _padded(x, p.window)
    total = sum(padded[_at(where)] for _, where in p.window.taps())
    return np.asarray(total / counts(p).astype(x.dtype))


def _pool_adjoint(p: Pool, s: Array) -> Array:
    s = s / counts(p).astype(s.dtype)
    out = _empty_padded(s.shape[: s.ndim - len(p.window.target)], p.window, s.dtype)
    for _, where in p.window.taps():
        out[_at(where)] += s
    return _unpadded(out, p.window)


def winners(window: Window, selector: Array) -> Array:
    """Return the index of each window's largest element, as a tap in row-major order; the first one on ties.

    Args:
        window: The window, over the last axes of the selector.
        selector: [..., *window.source].

    Returns:
        int64 [..., *window.target].
    """
    if window.is_global:
        lead = selector.shape[: selector.ndim - len(window.kernel)]
        rows = selector.reshape(*lead, -1)
        best = np.argmax(np.where(np.isnan(rows), -np.inf, rows), axis=-1)
        return np.asarray(best.reshape(*lead, *window.target))
    padded = _padded(selector, window, -np.inf)
    best = winner = None
    for n, (_, where) in enumerate(window.taps()):
        piece = padded[_at(where)]
        if best is None or winner is None:
            best, winner = piece.copy(), np.zeros(piece.shape, np.int64)
        else:
            better = piece > best
            best[better] = piece[better]
            winner[better] = n
    assert winner is not None
    return winner


def _select(p: Select, x: Array, selector: Array) -> Array:
    winner = winners(p.window, selector)
    if p.window.is_global:
        d = len(p.window.kernel)
        rows = x.reshape(*x.shape[:-d], -1)
        place = winner.reshape(*winner.shape[:-d], 1)
        lead = np.broadcast_shapes(rows.shape[:-1], place.shape[:-1])
        picked = np.take_along_axis(
            np.broadcast_to(rows, (*lead, rows.shape[-1])), np.broadcast_to(place, (*lead, 1)), -1
        )
        return np.asarray(picked.reshape(*lead, *p.window.target))
    padded = _padded(x, p.window)
    terms: list[Array] = [(winner == n) * padded[_at(where)] for n, (_, where) in enumerate(p.window.taps())]
    return np.asarray(sum(terms))


def _select_adjoint(p: Select, s: Array, selector: Array) -> Array:
    winner, d = winners(p.window, selector), len(p.window.target)
    out = _empty_padded(np.broadcast_shapes(s.shape[: s.ndim - d], winner.shape[: winner.ndim - d]), p.window, s.dtype)
    for n, (_, where) in enumerate(p.window.taps()):
        out[_at(where)] += (winner == n) * s
    return _unpadded(out, p.window)


def _rows(linear: Take, x: Array, inner: tuple[int, ...], places: Array) -> tuple[Array, Array, tuple[int, ...]]:
    """Return an operand and the places as rows for each sample and target, and their leading axes."""
    leads = (_lead(x, inner), _lead(places, linear.target))
    lead = np.broadcast_shapes(*leads)
    values = np.broadcast_to(x.reshape(*leads[0], -1), (*lead, math.prod(inner)))
    where = np.broadcast_to(places.reshape(*leads[1], -1), (*lead, math.prod(linear.target)))
    return values, where.astype(np.int64), lead


def _take(p: Take, x: Array, places: Array) -> Array:
    values, where, lead = _rows(p, x, p.source, places)
    return np.take_along_axis(values, where, -1).reshape(*lead, *p.target)


def _take_adjoint(p: Take, s: Array, places: Array) -> Array:
    values, where, lead = _rows(p, s, p.target, places)
    out = np.zeros((math.prod(lead), math.prod(p.source)), s.dtype)
    rows = np.arange(len(out))[:, None]
    np.add.at(out, (rows, where.reshape(len(out), -1)), values.reshape(len(out), -1))
    return out.reshape(*lead, *p.source)


def _axes(x: Array, linear: LinearMap, axes: Sequence[int]) -> tuple[int, ...]:
    lead = x.ndim - len(linear.source)
    return tuple(lead + a for a in axes)


def _lead(x: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    return x.shape[: max(0, x.ndim - len(shape))]


def _permute(x: Array, order: Sequence[int]) -> Array:
    lead = x.ndim - len(order)
    return np.transpose(x, [*range(lead), *(lead + a for a in order)])


def _slice_adjoint(p: Slice, s: Array) -> Array:
    out = np.zeros((*_lead(s, p.target), *p.source), s.dtype)
    out[_at(p.slices())] = s
    return out


LINEAR: dict[str, Callable[..., Array]] = {
    "Conv": _conv,
    "Matmul": _matmul,
    "Pool": _pool,
    "Select": _select,
    "Take": _take,
    "Sum": lambda p, x: x.sum(axis=_axes(x, p, p.axes)).reshape((*_lead(x, p.source), *p.target)),
    "Reshape": lambda p, x: x.reshape((*_lead(x, p.source), *p.target)),
    "Permute": lambda p, x: _permute(x, p.order),
    "Slice": lambda p, x: x[_at(p.slices())],
}

ADJOINT: dict[str, Callable[..., Array]] = {
    "Conv": _conv_adjoint,
    "Matmul": _matmul_adjoint,
    "Pool": _pool_adjoint,
    "Select": _select_adjoint,
    "Take": _take_adjoint,
    "Sum": lambda p, s: np.broadcast_to(s.reshape((*_lead(s, p.target), *p.kept)), (*_lead(s, p.target), *p.source)),
    "Reshape": lambda p, s: s.reshape((*_lead(s, p.target), *p.source)),
    "Permute": lambda p, s: _permute(s, np.argsort(p.order).tolist()),
    "Slice": _slice_adjoint,
}
