"""Operators whose layers cannot be read: such a model is refused by name, and methods that hide parts explain it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .graph import Graph


def recurrent(g: Graph) -> None:
    """LSTM, GRU or RNN over [L, D], with the batch in the middle."""
    size = math.prod(g.shape)
    length = g.shape[0] if len(g.shape) == 2 else int(g.pick([n for n in range(1, 9) if size % n == 0]))
    if g.shape != (length, size // length):
        g.reshape(length, size // length)
    d, hidden = g.shape[1], g.number(2, 3)
    op, gates = g.pick([("LSTM", 4), ("GRU", 3), ("RNN", 1)])
    across = g.put("Transpose", g.last, perm=[1, 0, 2])
    weights = g.random(1, gates * hidden, d), g.random(1, gates * hidden, hidden), g.random(1, 2 * gates * hidden)
    states = g.put(op, across, *weights, hidden_size=hidden)
    first = g.put("Squeeze", states, *g.axes_input([1], 13), **g.axes_attribute([1], 13))
    g.op("Transpose", first, shape=(length, hidden), perm=[1, 0, 2])


def best_two(g: Graph) -> None:
    n = g.shape[-1]
    if n < 2 or g.opset < 10:
        return
    values, _ = g.put("TopK", g.last, g.whole(2), outputs=2, axis=len(g.shape))
    g.last, g.shape = values, (*g.shape[:-1], 2)


def scattered(g: Graph) -> None:
    if g.opset < 11 or len(g.shape) < 2:
        return
    rows = g.put("Expand", g.weight(np.zeros((1, *g.shape)), np.int64), g.put("Shape", g.last))
    g.op("ScatterElements", g.last, rows, g.put("Sigmoid", g.last), axis=len(g.shape))


def steps(g: Graph) -> None:
    op = g.pick(["Floor", "Ceil", "Sign"])
    g.op("Add", g.last, g.put(op, g.last))


def determinant(g: Graph) -> None:
    n: Any = g.shape[-1]
    if g.opset >= 11 and len(g.shape) == 3 and g.shape[-2] == n:
        g.op("Det", g.last, shape=(g.shape[0],))


LAYERS = (recurrent, best_two, scattered, steps, determinant)
