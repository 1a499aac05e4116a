"""Copies of elements by places that the forward pass computes, and their adjoint, as ONNX nodes."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto, numpy_helper

from ...program.linear import Take
from .nodes import Nodes


def take(g: Nodes, p: Take, x: str, places: str, lead: tuple[int, ...], back: bool, alone: bool = False) -> str:
    """Emit copies of the elements of x at places, or the adjoint: sums of what each element receives.

    Args:
        g: The graph.
        p: The map.
        x: The tensor [*lead, N, …].
        places: The places of each sample, [N, *p.target].
        lead: (T,) where x has a target axis, else ().
        back: Emit the adjoint.
        alone: Whether x is a constant, the same for every sample.
    """
    inner, outer = (p.target, p.source) if back else (p.source, p.target)
    where = g.node("Reshape", g.node("Cast", places, to=TensorProto.INT64), g.ints(-1, math.prod(p.target)))
    samples = g.node("Slice", g.node("Shape", where), g.ints(0), g.ints(1))
    if lead:
        where = g.node("Expand", where, g.ints(*lead, 1, 1))
    rows = g.node("Reshape", x, g.ints(*lead, -1, math.prod(inner)))
    before = [g.ints(*lead)] if lead else []
    if alone:
        rows = g.node("Expand", rows, g.node("Concat", samples, g.ints(1), axis=0))
    axis = len(lead) + 1
    if back:
        size = g.node("Concat", *before, samples, g.ints(math.prod(p.source)), axis=0)
        zeros = g.node("ConstantOfShape", size, value=numpy_helper.from_array(np.zeros(1, np.float32)))
        y = g.node("ScatterElements", zeros, where, rows, axis=axis, reduction="add")
    else:
        y = g.node("GatherElements", rows, where, axis=axis)
    return g.node("Reshape", y, g.ints(*lead, -1, *outer))
