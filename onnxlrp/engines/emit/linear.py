"""Linear maps as ONNX nodes, on [N, …]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...program.interpret import counts
from ...program.linear import Conv, Matmul, Pool, Slice, Sum, Take
from . import windows
from .nodes import Nodes
from .taking import take

_BEGINNING = np.iinfo(np.int64).min  # the end of a slice that goes backwards to the first element


def _conv(g: Nodes, c: Conv, x: str, weight: str, bias: str = "") -> str:
    inputs = (x, weight, bias) if bias else (x, weight)
    return g.node("Conv", *inputs, group=c.group, **windows.attributes(c.window))


def _matmul(g: Nodes, m: Matmul, x: str, weight: str, bias: str = "") -> str:
    if len(m.source) == 1:
        return g.node("Gemm", *((x, weight, bias) if bias else (x, weight)), transB=int(m.transposed))
    y = g.node("MatMul", x, g.node("Transpose", weight, perm=[1, 0]) if m.transposed else weight)
    return g.node("Add", y, bias) if bias else y


def matrices(g: Nodes, transposed: bool, x: str, rank: int, weight: str, bias: str = "") -> str:
    """Emit the product of x with one matrix for each sample or index; several targets share them by broadcasting."""
    if transposed:
        weight = g.node("Transpose", weight, perm=[*range(rank - 2), rank - 1, rank - 2])
    y = g.node("MatMul", x, weight)
    return g.node("Add", y, bias) if bias else y


def _pool(g: Nodes, p: Pool, x: str) -> str:
    if p.window.is_global:
        return g.node("GlobalAveragePool", x)
    if windows.overhangs(p.window):
        conv, ones = summing_conv(g, p)
        y = _conv(g, conv, x, ones)
        return g.node("Mul", y, g.store(1 / counts(p)))
    y = g.node("AveragePool", x, count_include_pad=1, **windows.attributes(p.window))
    taps, divisor = float(np.prod(p.window.kernel)), counts(p)
    return y if np.all(divisor == taps) else g.node("Mul", y, g.store(taps / divisor))


def summing_conv(g: Nodes, p: Pool) -> tuple[Conv, str]:
    """Return the depthwise convolution that sums the windows of a pooling, and its weight of ones."""
    channels, w = p.source[0], p.window
    conv = Conv((channels, *w.source), (channels, *w.target), w, channels)
    return conv, g.store(np.ones((channels, 1, *w.kernel)))


def _sum(g: Nodes, p: Sum, x: str) -> str:
    axes = [1 + a for a in p.axes]
    if p.target == p.kept:
        return g.node("ReduceSum", x, g.ints(*axes), keepdims=1)
    return g.node("ReduceSum", x, g.ints(*axes), keepdims=0)


def reshape(g: Nodes, shape: tuple[int, ...], x: str) -> str:
    """Emit x [N, …] in another shape of each sample."""
    return g.node("Reshape", x, g.ints(-1, *shape))


def permute(g: Nodes, order: Sequence[int], x: str) -> str:
    """Emit x [N, …] with the axes of each sample in another order."""
    return g.node("Transpose", x, perm=[0, *(1 + a for a in order)])


def flip(g: Nodes, x: str, axes: Sequence[int]) -> str:
    """Emit x with the elements along these axes in reverse order."""
    ends = g.ints(*[_BEGINNING] * len(axes))
    backwards = g.ints(*[-1] * len(axes))
    return g.node("Slice", x, backwards, ends, g.ints(*axes), backwards)


def _slice(g: Nodes, p: Slice, x: str) -> str:
    picked = [i for i, box in enumerate(p.slices()) if p.source[i] != p.target[i] or box.step != 1]
    if not picked:
        return g.node("Identity", x)
    boxes = [p.slices()[i] for i in picked]
    starts, steps = [b.start for b in boxes], [b.step for b in boxes]
    ends = [_BEGINNING if b.stop is None else b.stop for b in boxes]
    return g.node("Slice", x, g.ints(*starts), g.ints(*ends), g.ints(*(1 + i for i in picked)), g.ints(*steps))


def _take(g: Nodes, p: Take, x: str, places: str) -> str:
    return take(g, p, x, places, (), back=False)


LINEAR: dict[str, Callable[..., str]] = {
    "Conv": _conv,
    "Matmul": _matmul,
    "Pool": _pool,
    "Take": _take,
    "Sum": _sum,
    "Reshape": lambda g, p, x: reshape(g, p.target, x),
    "Permute": lambda g, p, x: permute(g, p.order, x),
    "Slice": _slice,
}
