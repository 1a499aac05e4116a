"""Slices, splits, gathers, tiles, reductions and sums over indices, in the spellings of each opset."""

from __future__ import annotations

import numpy as np

from .graph import Graph

FAR = np.iinfo(np.int64).max


def sliced(g: Graph) -> None:
    """One axis or two, from either end, backwards too."""
    chosen = sorted(int(a) for a in g.rng.permutation(len(g.shape))[: g.number(1, 2)])
    shape, starts, ends, steps = list(g.shape), [], [], []
    for axis in chosen:
        n = shape[axis]
        step = g.pick([1, 1, 2, -1]) if g.opset >= 10 else 1
        start = g.number(0, n - 1)
        stop = -FAR if step < 0 else g.pick([n, FAR, n - 1 if start < n - 1 else n])
        shape[axis] = len(range(n)[slice(start, None if step < 0 else min(stop, n), step)])
        starts.append(start - n if g.chance(0.3) else start)
        ends.append(stop)
        steps.append(step)
    axes = [axis + 1 for axis in chosen]
    if g.opset < 10:
        g.op("Slice", g.last, shape=tuple(shape), axes=axes, starts=starts, ends=ends)
        return
    axes = [axis - len(g.shape) - 1 for axis in axes] if g.chance(0.3) else axes
    bounds = [g.whole(*values) for values in (starts, ends, axes, steps)]
    g.op("Slice", g.last, *(bounds if set(steps) != {1} else bounds[:3]), shape=tuple(shape))


def split(g: Graph) -> None:
    """Into two or three parts, which are joined anew or multiplied."""
    axis = g.number(0, len(g.shape) - 1)
    n = g.shape[axis]
    if n < 2:
        return
    equal = n % 2 == 0 and g.chance(0.5)
    sizes = [n // 2, n // 2] if equal else [g.number(1, n - 1)]
    sizes = sizes if equal else [*sizes, n - sizes[0]]
    if equal and g.opset >= 18 and g.chance(0.6):
        parts = g.put("Split", g.last, outputs=2, axis=axis + 1, num_outputs=2)
    elif g.opset >= 13:
        parts = g.put("Split", g.last, g.whole(*sizes), outputs=2, axis=axis + 1)
    else:
        parts = g.put("Split", g.last, outputs=2, axis=axis + 1, split=sizes)
    if equal and g.chance(0.6):  # a gated linear unit
        shape = tuple(n // 2 if i == axis else s for i, s in enumerate(g.shape))
        g.op("Mul", parts[0], g.put("Sigmoid", parts[1]), shape=shape)
    else:
        g.op("Concat", parts[1], parts[0], axis=axis + 1)


def gather(g: Graph) -> None:
    axis = g.number(0, len(g.shape) - 1)
    n = g.shape[axis]
    how = g.number(0, 3)
    before, after = g.shape[:axis], g.shape[axis + 1 :]
    if how == 0 and len(g.shape) > 1:  # x[:, 0]
        at = g.weight(g.number(-n if g.opset >= 11 else 0, n - 1), np.int64)
        g.op("Gather", g.last, at, shape=(*before, *after), axis=axis + 1)
    elif how == 1 and g.opset >= 11:
        ids = g.rng.integers(0, n, (1, *g.shape))
        wide = g.put("Expand", g.weight(ids, np.int64), g.put("Shape", g.last))
        g.op("GatherElements", g.last, wide, axis=axis + 1)
    elif how == 2 and len(g.shape) < 3:
        ids = g.rng.integers(0, n, (2, 2))
        g.op("Gather", g.last, g.weight(ids, np.int64), shape=(*before, 2, 2, *after), axis=axis + 1)
    else:
        ids = g.rng.integers(-n if g.opset >= 11 else 0, n, g.number(1, 4))
        g.op("Gather", g.last, g.weight(ids, np.int64), shape=(*before, len(ids), *after), axis=axis + 1)


def tile(g: Graph) -> None:
    counts = [1] * len(g.shape)
    counts[g.number(0, len(counts) - 1)] = 2
    if np.prod(g.shape) <= 128:
        g.op("Tile", g.last, g.whole(1, *counts), shape=tuple(a * b for a, b in zip(g.shape, counts, strict=True)))


def expand(g: Graph) -> None:
    """A new axis of length two or three, with the batch as 1, or read off the tensor."""
    if len(g.shape) > 2 or np.prod(g.shape) > 96:
        return
    at = g.number(0, len(g.shape))
    g.axes("Unsqueeze", [at + 1], (*g.shape[:at], 1, *g.shape[at:]))
    shape = tuple(g.number(2, 3) if i == at else n for i, n in enumerate(g.shape))
    if g.chance(0.5):
        target = g.whole(1, *shape)
    else:
        row = g.put("Slice", g.put("Shape", g.last), g.whole(0), g.whole(1)) if g.opset >= 10 else g.whole(1)
        target = g.put("Concat", row, g.whole(*shape), axis=0)
    g.op("Expand", g.last, target, shape=shape)


def unsqueeze(g: Graph) -> None:
    if len(g.shape) < 4:
        at = g.number(0, len(g.shape))
        g.axes("Unsqueeze", [at + 1], (*g.shape[:at], 1, *g.shape[at:]))


def squeeze(g: Graph) -> None:
    ones = [i for i, n in enumerate(g.shape) if n == 1]
    if ones and len(g.shape) > 1:
        at = g.pick(ones)
        g.axes("Squeeze", [at + 1], (*g.shape[:at], *g.shape[at + 1 :]))


REDUCTIONS = ("Sum", "Mean", "Max", "Min", "L1", "L2", "LogSumExp", "SumSquare", "LogSum")


def reduction(g: Graph) -> None:
    """Over one axis or two; ReduceSum has its axes as an input since opset 13, the others since 18."""
    if len(g.shape) < 2:
        return
    kind = g.pick(REDUCTIONS)
    if kind == "LogSum":
        g.op("Add", g.put("Abs", g.last), g.weight(0.1))
    count = g.number(1, 2) if len(g.shape) > 2 else 1
    chosen = sorted(int(a) for a in g.rng.permutation(len(g.shape))[:count])
    kept = g.number(0, 1)
    shape = tuple(1 if i in chosen else n for i, n in enumerate(g.shape) if kept or i not in chosen)
    axes = [axis + 1 for axis in chosen]
    if g.opset >= 11 and g.chance(0.4):
        axes = [axis - len(g.shape) - 1 for axis in axes]
    g.axes(f"Reduce{kind}", axes, shape, since=13 if kind == "Sum" else 18, keepdims=kept)


def einsum(g: Graph) -> None:
    if g.opset < 12 or len(g.shape) > 3:
        return
    out = g.number(2, 4)
    last = g.shape[-1]
    how = g.number(0, 2)
    letters = "abc"[: len(g.shape)]
    if how == 0:
        g.op("Einsum", g.last, g.random(last, out), shape=(*g.shape[:-1], out), equation="...k,kd->...d")
    elif how == 1:
        rest = letters[:-1]
        g.op("Einsum", g.last, g.random(last, out), shape=(out, *g.shape[:-1]),
             equation=f"n{letters},{letters[-1]}d->nd{rest}")  # fmt: skip
    elif len(g.shape) == 2:
        g.op("Einsum", g.last, g.last, shape=(g.shape[0], g.shape[0]), equation="nij, nkj -> nik")


def cumulative(g: Graph) -> None:
    if g.opset >= 11:
        axis = g.number(1, len(g.shape))
        g.op("CumSum", g.last, g.weight(axis, np.int64), exclusive=g.number(0, 1), reverse=g.number(0, 1))


def triangle(g: Graph) -> None:
    if g.opset >= 14 and len(g.shape) >= 2:
        g.op("Trilu", g.last, upper=g.number(0, 1))


LAYERS = (sliced, split, gather, tile, expand, unsqueeze, squeeze, reduction, reduction, einsum, cumulative, triangle)
