"""Sums over axes, and copies: what moves elements and multiplies none."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ....program.linear import LinearMap, Permute, Reshape, Shape, Slice, Sum
from ..kernels.elementwise import MOST, block_of, blocks
from .linear import LinearPlanner, contiguous, ints, joined, padded, within

SHARE = 4096  # terms of a sum that a block adds up before the sum is divided among blocks


def total(work: LinearPlanner, p: Sum) -> None:
    """Sums over axes: a thread each, or a block each, which share long sums and add the shares up in order."""
    strides = contiguous(p.source)
    axes = [[a for a in range(len(p.source)) if (a in p.axes) == summed] for summed in (False, True)]
    (kept, kept_strides), (summed, summed_strides) = (
        joined(tuple(p.source[a] for a in some), [strides[a] for a in some]) for some in axes
    )
    g = ints(len(kept), len(summed), *padded(kept, 1), *padded(kept_strides, 0), *padded(summed, 1),
             *padded(summed_strides, 0))  # fmt: skip
    terms, results, stride = math.prod(summed), math.prod(kept), within(math.prod(p.source))
    sums = work.lead * results
    numbers = (np.int64(sums), np.int32(results), np.int32(terms), np.int64(stride))
    x, beside = work.x(), bool(kept_strides) and kept_strides[-1] == 1
    if terms <= 32 or (beside and sums >= 8192):
        block = block_of(sums)
        work.launch("reduce_threads", (blocks(sums, block), 1, 1), block, x, work.result, g, *numbers)
        return
    shares = max(1, min(-(-terms // SHARE), 1024 // min(sums, 1024)))
    length = -(-terms // shares)
    shares = -(-terms // length)
    partial = work.scratch(sums * shares, "float64") if shares > 1 else None
    grid = (min(sums, MOST), shares, 1)
    work.launch("reduce_blocks", grid, 256, x, work.result, partial, g, *numbers, np.int32(length))
    if partial is not None:
        block = block_of(sums)
        work.launch("reduce_finish", (blocks(sums, block), 1, 1), block, partial, work.result, np.int64(sums),
                    np.int32(shares))  # fmt: skip


def spread(work: LinearPlanner, p: Sum) -> None:
    """The adjoint of a sum: copies."""
    strides = [0 if axis in p.axes else stride for axis, stride in enumerate(contiguous(p.kept))]
    _moved(work, p.source, strides)


def _moved(work: LinearPlanner, shape: Shape, strides: Sequence[int], offset: int = 0) -> None:
    linear = work.step.what
    assert isinstance(linear, LinearMap)
    stride = math.prod(linear.source if work.step.kind == "linear" else linear.target)
    work.move(work.x(), work.result, shape, strides, offset, work.lead, work.lead, stride)


def reshape(work: LinearPlanner, p: Reshape) -> None:
    """A copy; most need none (see `alias` in kernels.py)."""
    count = work.lead * math.prod(p.source)
    block = block_of(count)
    work.launch("move_copy", (blocks(count, block), 1, 1), block, work.x(), work.result, np.int64(count))


def permute(work: LinearPlanner, p: Permute) -> None:
    """Axes in another order."""
    strides = contiguous(p.source)
    _moved(work, p.target, [strides[axis] for axis in p.order])


def permute_back(work: LinearPlanner, p: Permute) -> None:
    """Axes in their old order."""
    strides = contiguous(p.target)
    _moved(work, p.source, [strides[p.order.index(axis)] for axis in range(len(p.order))])


def box(work: LinearPlanner, p: Slice) -> None:
    """A strided box."""
    strides = contiguous(p.source)
    offset = sum(start * stride for start, stride in zip(p.starts, strides, strict=True))
    _moved(work, p.target, [step * stride for step, stride in zip(p.steps, strides, strict=True)], offset)


def box_back(work: LinearPlanner, p: Slice) -> None:
    """A strided box put back into zeros."""
    # Axes that are taken whole join the axis before them.
    boxes: list[list[int]] = []
    for size, start, step, taken in zip(p.source, p.starts, p.steps, p.target, strict=True):
        if boxes and size == taken and (start, step) == (0, 1) and boxes[-1][2] == 1:
            boxes[-1] = [boxes[-1][0] * size, boxes[-1][1] * size, 1, boxes[-1][3] * size]
        else:
            boxes.append([size, start, step, taken])
    columns = [padded([box[k] for box in boxes], 1) for k in range(4)]
    g = ints(len(boxes), *(n for column in columns for n in column))
    size = within(math.prod(p.source))
    work.each("move_unslice", size, work.lead, work.x(), work.result, g, np.int32(work.lead), np.int32(size),
              np.int64(math.prod(p.target)))  # fmt: skip
