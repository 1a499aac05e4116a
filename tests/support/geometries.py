"""Hypothesis strategies for linear maps: small geometries of every kind that the layers can ask for."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from onnxlrp.program.linear import Conv, LinearMap, Matmul, Permute, Pool, Reshape, Select, Slice, Sum, Take, Window


@st.composite
def _axis(draw: st.DrawFn, kind: str, ceil: bool, dilated: bool) -> tuple[int, int, int, int, int, int, int]:
    """One spatial axis: (kernel, stride, dilation, before, after, source, target)."""
    kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2)) if dilated else 1
    reach = dilation * (kernel - 1) + 1
    # Poolings refuse padding as wide as their kernel; convolutions do not.
    most = 2 if kind == "conv" else kernel - 1
    before, after = draw(st.integers(0, most)), draw(st.integers(0, most))
    source = draw(st.integers(max(1, reach - before - after), reach + 4))
    target = _count(source + before, after, reach, stride, ceil)
    if kind != "conv" and any(_outside(i, kernel, stride, dilation, before, source) for i in range(target)):
        before = after = 0
        source = max(source, reach)
        target = _count(source, 0, reach, stride, ceil)
    return kernel, stride, dilation, before, after, source, target


def _count(length: int, after: int, reach: int, stride: int, ceil: bool) -> int:
    """How many windows fit; with ceil_mode the last may hang over the end, if it starts before it."""
    room = length + after - reach
    if not ceil:
        return room // stride + 1
    count = math.ceil(room / stride) + 1
    return count - 1 if (count - 1) * stride >= length else count


def _outside(i: int, kernel: int, stride: int, dilation: int, before: int, source: int) -> bool:
    """Whether window i has padding alone under its taps."""
    return not any(before <= i * stride + tap * dilation < before + source for tap in range(kernel))


@st.composite
def windows(draw: st.DrawFn, kind: str, dimensions: int | None = None, dilated: bool = True) -> Window:
    d = dimensions or draw(st.sampled_from((1, 2, 2, 3)))
    ceil = kind != "conv" and draw(st.booleans())
    return Window(*zip(*(draw(_axis(kind, ceil, dilated)) for _ in range(d)), strict=True))


def conv(
    inner: int,
    outer: int,
    kernel: int,
    stride: int = 1,
    before: int = 0,
    source: tuple[int, ...] = (9, 8),
    dilation: int = 1,
    group: int = 1,
) -> Conv:
    """A convolution that is the same along every axis."""
    axes = len(source)
    target = tuple((n + 2 * before - dilation * (kernel - 1) - 1) // stride + 1 for n in source)
    numbers = ((kernel,) * axes, (stride,) * axes, (dilation,) * axes, (before,) * axes, (before,) * axes)
    return Conv((inner, *source), (outer, *target), Window(*numbers, source, target), group)


@st.composite
def convs(draw: st.DrawFn) -> Conv:
    window, group = draw(windows("conv")), draw(st.integers(1, 3))
    inner, outer = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    return Conv((group * inner, *window.source), (group * outer, *window.target), window, group)


@st.composite
def matmuls(draw: st.DrawFn) -> Matmul:
    lead = draw(st.lists(st.integers(1, 3), max_size=2).map(tuple))
    inner, outer = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return Matmul((*lead, inner), (*lead, outer), draw(st.booleans()))


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    window, channels = draw(windows("pool")), draw(st.integers(1, 3))
    return Pool((channels, *window.source), (channels, *window.target), window, draw(st.booleans()))


@st.composite
def selects(draw: st.DrawFn) -> Select:
    window, channels = draw(windows("pool")), draw(st.integers(1, 3))
    return Select((channels, *window.source), (channels, *window.target), window)


shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@st.composite
def sums(draw: st.DrawFn) -> Sum:
    source = draw(shapes)
    axes = tuple(sorted(draw(st.sets(st.integers(0, len(source) - 1), min_size=1))))
    if draw(st.booleans()):
        return Sum(source, tuple(1 if i in axes else n for i, n in enumerate(source)), axes)
    return Sum(source, tuple(n for i, n in enumerate(source) if i not in axes), axes)


@st.composite
def reshapes(draw: st.DrawFn) -> Reshape:
    source = draw(shapes)
    flat = (math.prod(source),)
    return Reshape(source, draw(st.sampled_from((flat, (1, *source), (*source[:-1], 1, source[-1]), source[::-1]))))


@st.composite
def permutes(draw: st.DrawFn) -> Permute:
    source = draw(shapes)
    order = tuple(draw(st.permutations(range(len(source)))))
    return Permute(source, tuple(source[i] for i in order), order)


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    boxes = []
    for n in (source := draw(st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple))):
        start, step = draw(st.integers(0, n - 1)), draw(st.sampled_from((-3, -2, -1, 1, 1, 2, 3)))
        room = (n - 1 - start if step > 0 else start) // abs(step) + 1
        boxes.append((start, step, draw(st.integers(1, room))))
    starts, steps, target = zip(*boxes, strict=True)
    return Slice(source, target, starts, steps)


@st.composite
def takes(draw: st.DrawFn) -> Take:
    return Take(draw(shapes), draw(shapes))


LINEAR_MAPS = {
    "Conv": convs(),
    "Matmul": matmuls(),
    "Pool": pools(),
    "Select": selects(),
    "Take": takes(),
    "Sum": sums(),
    "Reshape": reshapes(),
    "Permute": permutes(),
    "Slice": slices(),
}


def weight_shape(linear: LinearMap) -> tuple[int, ...] | None:
    """The shape of the weight that a map wants, or None."""
    if isinstance(linear, Conv):
        return (linear.target[0], linear.source[0] // linear.group, *linear.window.kernel)
    if isinstance(linear, Matmul):
        inner, outer = linear.source[-1], linear.target[-1]
        return (outer, inner) if linear.transposed else (inner, outer)
    return None
