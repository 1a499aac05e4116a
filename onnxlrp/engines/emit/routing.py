"""Selection by the largest element of windows (max pooling) and its adjoint, as ONNX nodes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from ...program.linear import Select
from ...program.program import Array
from . import windows, winners
from .nodes import Nodes


def select_constant(g: Nodes, p: Select, x: Array, selector: str) -> str:
    """Emit the elements of a constant where a selector is largest.

    Args:
        g: The graph.
        p: The selection.
        x: The constant [*source].
        selector: The tensor [N, …] whose largest elements win.
    """
    width = int(np.prod(p.window.source))
    if p.window.is_global and (x.reshape(-1, width) == np.arange(width)).all():
        return g.node("Reshape", g.node("Cast", _place(g, p, selector), to=TensorProto.FLOAT), g.ints(-1, *p.target))
    places = g.node("Mod", _pooled(g, p, selector)[1], g.store(np.int64(x.size)))
    return g.node("Gather", g.store(x.reshape(-1).astype(np.float32)), places, axis=0)


def _place(g: Nodes, p: Select, x: str) -> str:
    """Emit the place of the first of the largest elements of each map, int64.

    Of rows and columns first the row, by the maxima of rows, then the column in it: an ArgMax over all of a map takes
    five times as long.
    """
    maps = len(p.source) - len(p.window.kernel)
    if len(p.window.kernel) != 2:
        flat = g.node("Reshape", x, g.ints(-1, *p.source[:maps], int(np.prod(p.window.source))))
        return g.node("ArgMax", flat, axis=-1, keepdims=1)
    width = p.window.source[1]
    tops = g.node("ReduceMax", x, g.ints(2 + maps), keepdims=1)
    row = g.node("ArgMax", tops, axis=1 + maps, keepdims=1)
    own = g.node("GatherElements", x, g.node("Expand", row, g.ints(*[1] * (2 + maps), width)), axis=1 + maps)
    column = g.node("ArgMax", own, axis=2 + maps, keepdims=1)
    return g.node("Add", g.node("Mul", row, g.ints(width)), column)


def _pooled(g: Nodes, p: Select, selector: str) -> list[str]:
    """Emit the largest element of each window and its place among all elements."""
    window: dict[str, Any] = windows.attributes(p.window)
    if windows.overhangs(p.window):
        window |= {"pads": [*p.window.before, *p.window.explicit], "ceil_mode": 1}
    return g.nodes("MaxPool", (selector,), 2, **window)


def select(g: Nodes, p: Select, x: str, selector: str, lead: tuple[int, ...], back: bool) -> str:
    """Emit a selection or its adjoint; MaxPool finds the winners, the first index on ties.

    Args:
        g: The graph.
        p: The selection.
        x: The tensor [*lead, N, …] to take values from, or to put back.
        selector: The tensor [N, …] whose largest elements win.
        lead: (T,) where x has a target axis, else ().
        back: Emit the adjoint.
    """
    if not back and x == selector and not lead and p.window.is_global:
        rank = len(p.window.kernel)
        for axis in range(rank, 0, -1):  # from the last: the maxima of rows serve their places too
            x = g.node("ReduceMax", x, g.ints(len(p.source) - rank + axis), keepdims=1)
        return g.node("Reshape", x, g.ints(-1, *p.target))
    if back and winners.fits(p.window, math.prod(p.target), math.prod(lead)):
        return winners.select_adjoint(g, p, x, selector, lead)
    pooled = _pooled(g, p, selector)
    if not back:
        flat = g.node("Reshape", x, g.ints(*lead, -1))
        places = g.node("Reshape", pooled[1], g.ints(-1))
        y = g.node("Gather", flat, places, axis=len(lead))
        return g.node("Reshape", y, g.ints(*lead, -1, *p.target))
    plain = not (lead or p.window.overlaps or any(p.window.before) or windows.overhangs(p.window))
    # Up to 4 % of a run faster, but OpenVINO and tract refuse it.
    if plain and not g.portable:
        shape = g.node("Shape", selector)
        return g.node("MaxUnpool", x, pooled[1], shape, kernel_shape=list(p.window.kernel),
                      strides=list(p.window.strides), pads=windows.pads(p.window))  # fmt: skip
    size = g.node("Size", selector)
    flat = g.node("Reshape", x, g.ints(*lead, -1))
    places = g.node("Reshape", pooled[1], g.ints(*[1] * len(lead), -1))
    shape = g.node("Reshape", size, g.ints(1))
    if lead:
        shape = g.node("Concat", g.ints(*lead), shape, axis=0)
        places = g.node("Expand", places, g.ints(*lead, 1))
    zeros = g.node("ConstantOfShape", shape, value=numpy_helper.from_array(np.zeros(1, np.float32)))
    y = g.node("ScatterElements", zeros, places, flat, axis=len(lead), reduction="add")
    return g.node("Reshape", y, g.ints(*lead, -1, *p.source))
