"""Adjoint of max pooling without indices, as ONNX nodes: the winners are found by comparing maxima.

MaxPool with indices takes ten times as long as without, and adding at indices goes element by element. Let P(a, b) be
the maxima over the first a rows and b columns of each window, and y = P(k, l) the pooled values. The taps up to row r
and column c, in row-major order, are without the winner where P(r, l) < y and P(r + 1, c + 1) < y. So each tap has a
mask of the windows that it wins, the first of equal ones, and takes their relevance. A tap writes to every stride-th
element: relevance of all taps with the same offset is added up, then the offsets are interleaved. All windows are
`rows` x `columns`, a few more than the pooling has, such that a tap further by a stride is the next element of it.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from ...program.linear import Select, Window
from .nodes import Nodes

TAPS = 9  # beyond, there are as many comparisons as the search for indices has
LEAST = 20_000  # windows, below which this is more nodes than work
TARGETS = 3  # beyond, scattering each by indices that are found once takes less


def fits(window: Window, windows: int, targets: int = 1) -> bool:
    """Return whether the adjoint of a selection is emitted here.

    Args:
        window: The window.
        windows: How many there are, of all channels.
        targets: How many tensors are put back by the same winners.
    """
    plain = len(window.kernel) == 2 and all(d == 1 for d in window.dilations)
    reached = all(k >= s for k, s in zip(window.kernel, window.strides, strict=True))
    return plain and reached and 1 < math.prod(window.kernel) <= TAPS and windows >= LEAST and targets <= TARGETS


def select_adjoint(g: Nodes, p: Select, s: str, selector: str, lead: tuple[int, ...]) -> str:
    """Emit the adjoint of a selection over two axes.

    Args:
        g: The graph.
        p: The selection.
        s: The tensor [*lead, N, *p.target] to put back.
        selector: The tensor [N, *p.source] whose largest elements win.
        lead: (T,) where s has a target axis, else ().
    """
    w, inner = p.window, p.source[:-2]
    more = [(k - 1) // stride for k, stride in zip(w.kernel, w.strides, strict=True)]
    size = [n + m for n, m in zip(w.target, more, strict=True)]
    masks = _masks(g, w, _long_enough(g, p, selector, size), size)
    outer = [0] * (len(lead) + 1 + len(inner))
    s = g.pad(s, [*outer, 0, 0], [*outer, *more])
    # By offset: the taps that write there, by how many elements they are further.
    taps: dict[tuple[int, int], list[tuple[int, str]]] = {}
    for n, mask in enumerate(masks):
        row, column = divmod(n, w.kernel[1])
        moved = row // w.strides[0] * size[1] + column // w.strides[1]
        own = g.node("Reshape", g.node("Mul", s, mask), g.ints(-1))
        taps.setdefault((row % w.strides[0], column % w.strides[1]), []).append((moved, own))
    rows = []
    for row in range(w.strides[0]):
        columns = [g.node("Reshape", _added(g, taps[row, n]), g.ints(-1, 1)) for n in range(w.strides[1])]
        rows.append(_interleaved(g, columns, size[1] * w.strides[1]))
    whole = _interleaved(g, rows, size[1] * w.strides[1])
    have = [n * stride for n, stride in zip(size, w.strides, strict=True)]
    whole = g.node("Reshape", whole, g.ints(*lead, -1, *inner, *have))
    return _cropped(g, whole, len(lead) + 1 + len(inner), w, have)


def _long_enough(g: Nodes, p: Select, x: str, size: list[int]) -> str:
    """Emit x such that windows of a single tap, without padding, are as many as `size`; -inf where there is none."""
    before, after = list(p.window.before), []
    for n, b, count, stride in zip(p.window.source, before, size, p.window.strides, strict=True):
        least, most = (count - 1) * stride + 1, count * stride
        after.append(min(max(n + b, least), most) - n - b)
    if not any(before) and not any(after):
        return x
    none = [0] * (1 + len(p.source) - 2)
    return g.pad(x, [*none, *before], [*none, *after], g.store(np.float32(-np.inf)))


def _masks(g: Nodes, w: Window, x: str, size: list[int]) -> list[str]:
    """Emit for each tap, in row-major order, 1 where it wins and 0 elsewhere."""
    length = [
        min(max(n + b, (count - 1) * stride + 1), count * stride)
        for n, b, count, stride in zip(w.source, w.before, size, w.strides, strict=True)
    ]

    def largest(*taps: int) -> str:
        axes = zip(taps, size, w.strides, length, strict=True)
        after = [max(0, (count - 1) * stride + k - n) for k, count, stride, n in axes]
        return g.node("MaxPool", x, kernel_shape=list(taps), strides=list(w.strides), pads=[0, 0, *after])

    height, width = w.kernel
    best = largest(height, width)
    behind = ""  # where no tap up to the one before is the winner: everywhere at first
    above = ""  # the same for the rows above
    masks = []
    for row in range(height):
        for column in range(width):
            if (row, column) == (height - 1, width - 1):
                won = behind
            else:
                beyond = g.node("Less", largest(row + 1, column + 1), best)
                if above and column < width - 1:
                    beyond = g.node("And", above, beyond)
                won = g.node("Xor", behind, beyond) if behind else g.node("Not", beyond)
                behind = beyond
            masks.append(g.node("Cast", won, to=TensorProto.FLOAT))
        above = behind
    return masks


def _added(g: Nodes, taps: list[tuple[int, str]]) -> str:
    """Emit the sum of vectors, each moved towards the end; the elements that fall off are zero."""
    total, at = "", 0
    for moved, own in sorted(taps, reverse=True):
        total = g.node("Add", own, g.pad(total, [at - moved], [moved - at])) if total else own
        at = moved
    return g.pad(total, [at], [-at])


def _interleaved(g: Nodes, parts: list[str], width: int) -> str:
    """Emit the parts, each of rows, in turns: [-1, 1, width]."""
    together = g.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    return g.node("Reshape", together, g.ints(-1, 1, width))


def _cropped(g: Nodes, x: str, axis: int, w: Window, have: list[int]) -> str:
    """Emit the elements of the input, of all that windows read along the last two axes, which begin at `axis`."""
    missing = [max(0, b + n - m) for b, n, m in zip(w.before, w.source, have, strict=True)]
    x = g.pad(x, [0] * (axis + 2), [*[0] * axis, *missing])
    axes = [i for i in range(2) if w.before[i] or w.source[i] < have[i]]
    if not axes:
        return x
    starts, ends = [w.before[i] for i in axes], [w.before[i] + w.source[i] for i in axes]
    return g.node("Slice", x, g.ints(*starts), g.ints(*ends), g.ints(*(axis + i for i in axes)))
