"""Adjoints of linear maps as ONNX nodes, on [N, …]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...program.interpret import counts
from ...program.linear import Conv, Matmul, Pool, Slice, Sum
from .linear import flip, permute, reshape, summing_conv
from .nodes import Nodes
from .taking import take


def _transposed_weight(g: Nodes, c: Conv, weight: str) -> str:
    """Return [O, I/g, *k] as [I, O/g, *k], flipped: the weight of the adjoint of a stride-1 convolution."""
    out, inner, k = c.target[0], c.source[0] // c.group, c.window.kernel
    d = len(k)
    if c.group == 1:
        weight = g.node("Transpose", weight, perm=[1, 0, *range(2, 2 + d)])
    elif (out, inner) != (c.group, 1):
        weight = g.node("Reshape", weight, g.ints(c.group, out // c.group, inner, *k))
        weight = g.node("Transpose", weight, perm=[0, 2, 1, *range(3, 3 + d)])
        weight = g.node("Reshape", weight, g.ints(c.source[0], out // c.group, *k))
    axes = [2 + i for i in range(d) if k[i] > 1]
    return flip(g, weight, axes) if axes else weight


def _conv_adjoint(g: Nodes, c: Conv, s: str, weight: str) -> str:
    w = c.window
    reach = [d * (k - 1) for d, k in zip(w.dilations, w.kernel, strict=True)]
    if all(stride == 1 for stride in w.strides):
        before = [r - b for r, b in zip(reach, w.before, strict=True)]
        after = [n - t - b + r for n, t, b, r in zip(w.source, w.target, before, reach, strict=True)]
        if min(*before, *after) >= 0:
            return g.node(
                "Conv", s, _transposed_weight(g, c, weight), group=c.group, kernel_shape=list(w.kernel),
                strides=list(w.strides), dilations=list(w.dilations), pads=[*before, *after],
            )  # fmt: skip
    after_all = list(w.after)
    return g.node(
        "ConvTranspose", s, weight, group=c.group, kernel_shape=list(w.kernel), strides=list(w.strides),
        dilations=list(w.dilations), pads=[*w.before, *(max(0, a) for a in after_all)],
        output_padding=[max(0, -a) for a in after_all],
    )  # fmt: skip


def _matmul_adjoint(g: Nodes, m: Matmul, s: str, weight: str) -> str:
    if len(m.source) == 1:
        return g.node("Gemm", s, weight, transB=int(not m.transposed))
    return g.node("MatMul", s, weight if m.transposed else g.node("Transpose", weight, perm=[1, 0]))


def _pool_adjoint(g: Nodes, p: Pool, s: str) -> str:
    divisor = counts(p)
    uniform = np.all(divisor == divisor.flat[0])
    s = g.node("Mul", s, g.store(1.0 / (divisor.flat[0] if uniform else divisor)))
    conv, ones = summing_conv(g, p)
    return _conv_adjoint(g, conv, s, ones)


def _sum_adjoint(g: Nodes, p: Sum, s: str) -> str:
    if p.target != p.kept:
        s = g.node("Reshape", s, g.ints(-1, *p.kept))
    return g.node("Expand", s, g.ints(1, *p.source))


def _slice_adjoint(g: Nodes, p: Slice, s: str) -> str:
    flipped = [i for i, step in enumerate(p.steps) if step < 0]
    if flipped:
        s = flip(g, s, [1 + i for i in flipped])
    starts, steps = list(p.starts), [abs(step) for step in p.steps]
    for i in flipped:
        starts[i] = p.starts[i] + p.steps[i] * (p.target[i] - 1)
    if any(step > 1 for step in steps):
        # Zeros between elements: each strided axis gets a trailing axis, which is padded and then merged.
        wide = [x for n, step in zip(p.target, steps, strict=True) for x in ((n, 1) if step > 1 else (n,))]
        after = [x for step in steps for x in ((0, step - 1) if step > 1 else (0,))]
        s = g.node("Reshape", s, g.ints(-1, *wide))
        s = g.pad(s, [0] * (1 + len(wide)), [0, *after])
        s = g.node("Reshape", s, g.ints(-1, *(n * step for n, step in zip(p.target, steps, strict=True))))
    have = [n * step for n, step in zip(p.target, steps, strict=True)]
    after = [n - start - h for n, start, h in zip(p.source, starts, have, strict=True)]
    # A negative amount crops the zeros after the last element.
    return g.pad(s, [0, *starts], [0, *after])


ADJOINT: dict[str, Callable[..., str]] = {
    "Conv": _conv_adjoint,
    "Matmul": _matmul_adjoint,
    "Pool": _pool_adjoint,
    "Take": lambda g, p, s, places: take(g, p, s, places, (), back=True),
    "Sum": _sum_adjoint,
    "Reshape": lambda g, p, s: reshape(g, p.source, s),
    "Permute": lambda g, p, s: permute(g, np.argsort(p.order).tolist(), s),
    "Slice": _slice_adjoint,
}
