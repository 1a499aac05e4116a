"""Phases: convolutions and their adjoints as products in forward form, and filters in the kernel's order."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from ....program.linear import Conv, Window
from ....program.program import Array
from ..kernels.tiles import STEP, Precision


@dataclass(frozen=True)
class Phase:
    """A set of outputs, one in `step` along each axis, that use the same taps of the filter.

    Output i of the phase is element offset + i * step of the result, and tap k reads element
    i * stride + start + k * dilation of the source. Each field is a pair (height, width).

    Args:
        source: Size of the source.
        size: Number of outputs.
        stride: Elements of the source from one output to the next.
        start: Element of the source that the first tap of the first output reads.
        dilation: Elements of the source from one tap to the next.
        step: Elements of the result from one output to the next.
        offset: Element of the result that is the first output.
        taps: Taps of the filter that take part, in the order of the source.
    """

    source: tuple[int, int]
    size: tuple[int, int]
    stride: tuple[int, int]
    start: tuple[int, int]
    dilation: tuple[int, int]
    step: tuple[int, int]
    offset: tuple[int, int]
    taps: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its record in the kernel's table, without the position of its weights."""
        counts = tuple(len(taps) for taps in self.taps)
        pairs = (self.source, self.size, self.stride, self.start, self.dilation, counts, self.step, self.offset)
        return tuple(n for pair in pairs for n in pair)

    @property
    def geometry(self) -> tuple[int, ...]:
        """Source, stride, start, dilation and taps, the arguments that describe the only phase of a product."""
        pairs = (self.source, self.stride, self.start, self.dilation, tuple(map(len, self.taps)))
        return tuple(n for pair in pairs for n in pair)

    @property
    def count(self) -> int:
        """Number of taps."""
        return len(self.taps[0]) * len(self.taps[1])


def forward_phases(w: Window) -> tuple[Phase, ...]:
    """Return the phases of a convolution, which is one."""
    taps = tuple(tuple(range(k)) for k in w.kernel)
    start = tuple(-b for b in w.before)
    return (_phase(w.source, w.target, w.strides, start, w.dilations, (1, 1), (0, 0), taps),)


def adjoint_phases(w: Window) -> tuple[Phase, ...]:
    """Return the phases of an adjoint convolution: one for each residue of the result's coordinates by the stride."""
    axes = [
        [_residue(*numbers, r) for r in range(min(numbers[1], numbers[4]))]
        for numbers in zip(w.kernel, w.strides, w.dilations, w.before, w.source, strict=True)
    ]
    found = []
    for pair in itertools.product(*axes):
        size, start, dilation, offset, taps = zip(*pair, strict=True)
        found.append(_phase(w.target, size, (1, 1), start, dilation, w.strides, offset, taps))
    return tuple(found)


def _residue(
    kernel: int, stride: int, dilation: int, before: int, source: int, r: int
) -> tuple[int, int, int, int, tuple[int, ...]]:
    """Return size, start, dilation, offset and taps of the results r, r + stride, ... along one axis."""
    taps = [k for k in range(kernel) if (r + before - k * dilation) % stride == 0][::-1]
    start = (r + before - taps[0] * dilation) // stride if taps else 0
    return -(-(source - r) // stride), start, dilation // math.gcd(dilation, stride), r, tuple(taps)


def _phase(*fields: tuple[int, ...] | tuple[tuple[int, ...], ...]) -> Phase:
    return Phase(*fields)  # type: ignore[arg-type]


def as_2d_window(c: Conv) -> Window | None:
    """Return the window as one over two axes, a pointwise one with all positions as one axis; None for three axes."""
    w = c.window
    if w.is_pointwise and w.source == w.target:
        w = plain_window((1,), (1,), (1,), (0,), (math.prod(w.source),), (math.prod(w.target),))
    if len(w.kernel) > 2:
        return None
    if len(w.kernel) == 2:
        return w
    fields = (w.kernel, w.strides, w.dilations, w.before, w.source, w.target)
    return plain_window(*((0 if n == 3 else 1, *numbers) for n, numbers in enumerate(fields)))


def plain_window(
    kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], before: tuple[int, ...],
    source: tuple[int, ...], target: tuple[int, ...],
) -> Window:  # fmt: skip
    """Return a window without padding declared after the input."""
    return Window(kernel, strides, dilations, before, before, source, target)


def pack_fragments(weight: Array, phases: tuple[Phase, ...], precision: Precision) -> tuple[Array, tuple[int, ...]]:
    """Return a filter in the order in which the kernel's warps read fragments.

    Args:
        weight: [rows, channels, height, width].
        phases: The phases that use it.
        precision: With "fast" the numbers are rounded to TF32.

    Returns:
        The packed filter, and the position where each phase begins, in steps.
    """
    rows, channels = weight.shape[:2]
    high, deep = -(-rows // 16), -(-channels // STEP)
    padded = np.zeros((high * 16, deep * STEP, *weight.shape[2:]), np.float32)
    padded[:rows, :channels] = weight
    if precision == "fast":
        padded = nearest_tf32(padded)
    parts, starts, start = [], [], 0
    for phase in phases:
        own = padded[:, :, np.array(phase.taps[0], int)[:, None], np.array(phase.taps[1], int)]
        # Rows split into block, half r, group; channels into chunk, half of the step, half c, t.
        split = own.reshape(high, 2, 8, deep, 2, 2, 4, phase.count)
        parts.append(split.transpose(0, 3, 7, 4, 2, 6, 1, 5).reshape(-1))
        starts.append(start)
        start += high * deep * phase.count
    return np.concatenate([*parts, np.zeros(0 if start else 4, np.float32)]), tuple(starts)


def nearest_tf32(array: Array) -> Array:
    """Return numbers rounded to TF32, ties away from zero, as PTX's `cvt.rna` does."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    finite = (bits & np.uint32(0x7F800000)) != np.uint32(0x7F800000)
    return np.where(finite, (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000), bits).view(np.float32)
