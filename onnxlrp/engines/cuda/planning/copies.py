"""Planning of sums over axes and of copies: Sum, Reshape, Permute and Slice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ....program.linear import LinearMap, Permute, Reshape, Shape, Slice, Sum
from ..kernels.launch import MOST, block_size, grid_size
from .linear import LinearPlanner, check_size, contiguous_strides, int_table, merge_axes, pad_geometry

SHARE = 4096  # terms of a sum beyond which several blocks share it


def sum_axes(planner: LinearPlanner, p: Sum) -> None:
    """Plan sums over axes: by a thread or a block each; several blocks share a long sum, and add up in order."""
    strides = contiguous_strides(p.source)
    axes = [[a for a in range(len(p.source)) if (a in p.axes) == summed] for summed in (False, True)]
    (kept, kept_strides), (summed, summed_strides) = (
        merge_axes(tuple(p.source[a] for a in some), [strides[a] for a in some]) for some in axes
    )
    g = int_table(
        len(kept),
        len(summed),
        *pad_geometry(kept, 1),
        *pad_geometry(kept_strides, 0),
        *pad_geometry(summed, 1),
        *pad_geometry(summed_strides, 0),
    )
    terms, results, stride = math.prod(summed), math.prod(kept), check_size(math.prod(p.source))
    sums = planner.result_samples * results
    numbers = (np.int64(sums), np.int32(results), np.int32(terms), np.int64(stride))
    x, beside = planner.input(), bool(kept_strides) and kept_strides[-1] == 1
    if terms <= 32 or (beside and sums >= 8192):
        block = block_size(sums)
        planner.launch("reduce_threads", (grid_size(sums, block), 1, 1), block, x, planner.result, g, *numbers)
        return
    shares = max(1, min(-(-terms // SHARE), 1024 // min(sums, 1024)))
    length = -(-terms // shares)
    shares = -(-terms // length)
    partial = planner.scratch(sums * shares, "float64") if shares > 1 else None
    grid = (min(sums, MOST), shares, 1)
    planner.launch("reduce_blocks", grid, 256, x, planner.result, partial, g, *numbers, np.int32(length))
    if partial is not None:
        block = block_size(sums)
        planner.launch(
            "reduce_finish",
            (grid_size(sums, block), 1, 1),
            block,
            partial,
            planner.result,
            np.int64(sums),
            np.int32(shares),
        )


def broadcast(planner: LinearPlanner, p: Sum) -> None:
    """Plan the adjoint of a sum: broadcast copies."""
    strides = [0 if axis in p.axes else stride for axis, stride in enumerate(contiguous_strides(p.kept))]
    _strided_copy(planner, p.source, strides)


def _strided_copy(planner: LinearPlanner, shape: Shape, strides: Sequence[int], offset: int = 0) -> None:
    linear = planner.step.what
    assert isinstance(linear, LinearMap)
    stride = math.prod(linear.source if planner.step.kind == "linear" else linear.target)
    planner.copy(
        planner.input(), planner.result, shape, strides, offset, planner.result_samples, planner.result_samples, stride
    )


def reshape(planner: LinearPlanner, p: Reshape) -> None:
    """Plan a reshape as a copy; most reshapes need none (see `instructions.alias`)."""
    count = planner.result_samples * math.prod(p.source)
    block = block_size(count)
    planner.launch(
        "move_copy", (grid_size(count, block), 1, 1), block, planner.input(), planner.result, np.int64(count)
    )


def permute(planner: LinearPlanner, p: Permute) -> None:
    """Plan a transposition."""
    strides = contiguous_strides(p.source)
    _strided_copy(planner, p.target, [strides[axis] for axis in p.order])


def permute_adjoint(planner: LinearPlanner, p: Permute) -> None:
    """Plan the adjoint of a transposition."""
    strides = contiguous_strides(p.target)
    _strided_copy(planner, p.source, [strides[p.order.index(axis)] for axis in range(len(p.order))])


def slice_box(planner: LinearPlanner, p: Slice) -> None:
    """Plan a strided slice."""
    strides = contiguous_strides(p.source)
    offset = sum(start * stride for start, stride in zip(p.starts, strides, strict=True))
    _strided_copy(planner, p.target, [step * stride for step, stride in zip(p.steps, strides, strict=True)], offset)


def slice_adjoint(planner: LinearPlanner, p: Slice) -> None:
    """Plan the adjoint of a strided slice: its elements among zeros."""
    # Axes that the slice keeps whole are merged with the axis before them.
    boxes: list[list[int]] = []
    for size, start, step, taken in zip(p.source, p.starts, p.steps, p.target, strict=True):
        if boxes and size == taken and (start, step) == (0, 1) and boxes[-1][2] == 1:
            boxes[-1] = [boxes[-1][0] * size, boxes[-1][1] * size, 1, boxes[-1][3] * size]
        else:
            boxes.append([size, start, step, taken])
    columns = [pad_geometry([slice_box[k] for slice_box in boxes], 1) for k in range(4)]
    g = int_table(len(boxes), *(n for column in columns for n in column))
    size = check_size(math.prod(p.source))
    planner.launch_per_element(
        "move_unslice",
        size,
        planner.result_samples,
        planner.input(),
        planner.result,
        g,
        np.int32(planner.result_samples),
        np.int32(size),
        np.int64(math.prod(p.target)),
    )
