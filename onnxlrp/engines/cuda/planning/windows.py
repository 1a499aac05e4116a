"""Planning of convolutions by plain gathers, average pooling and max-pooling: one thread an element, any window."""

from __future__ import annotations

import math

import numpy as np

from ....errors import UnsupportedError
from ....program.interpret import counts
from ....program.linear import Conv, Pool, Select, Shape, Window
from ..kernels.cublas import BatchedMatmul, matmul_launch
from ..kernels.launch import MOST, Launch, Table, block_size, grid_size
from .epilogue import Epilogue
from .linear import GRID, LinearPlanner, check_size, int_table


def _spatial(window: Window) -> list[int]:
    """Return source, target, kernel, stride, dilation and padding before, each as depth, height, width."""
    rows = (
        (window.source, 1),
        (window.target, 1),
        (window.kernel, 1),
        (window.strides, 1),
        (window.dilations, 1),
        (window.before, 0),
    )
    if len(window.kernel) > 3:
        raise UnsupportedError("the cuda engine has no windows of more than 3 axes", "try --engine ort")
    return [n for numbers, fill in rows for n in (*[fill] * (3 - len(numbers)), *numbers)]


def conv(planner: LinearPlanner, c: Conv) -> None:
    """Plan a convolution or its adjoint: by the planner of tensor cores if it takes it, else by plain gathers.

    With such a planner, grouped pointwise convolutions go to cuBLAS, as batched products of matrices.
    """
    forward = planner.step.kind == "linear"
    if not planner.operand(1).constant:
        raise UnsupportedError(
            f"{planner.step.origin}: the cuda engine has no convolution with a computed weight",
            "try --engine ort",
        )
    if planner.conv_planner is not None and planner.conv_planner.conv(planner, c):
        return
    g = int_table(c.source[0], c.target[0], c.group, *_spatial(c.window))
    size = check_size(math.prod(c.target if forward else c.source))
    check_size(math.prod(c.source if forward else c.target))
    x, weight = planner.input(), planner.stored_operand(1)
    if planner.conv_planner is not None and _is_pointwise(c):
        planner.launches.append(
            matmul_launch(weight, x, planner.result, _pointwise(planner, c), planner.conv_planner.precision)
        )
        return
    bias = (planner.fused_bias(c.target[0]),) if forward else ()
    planner.launch_per_element(
        f"conv_{'forward' if forward else 'adjoint'}",
        size,
        planner.result_samples,
        x,
        weight,
        *bias,
        planner.result,
        g,
        np.int32(planner.result_samples),
    )


def _is_pointwise(c: Conv) -> bool:
    w = c.window
    return all(n == 1 for n in (*w.kernel, *w.strides)) and not any((*w.before, *w.after))


def _pointwise(planner: LinearPlanner, c: Conv) -> BatchedMatmul:
    """Return the products y[n, group] = W[group] x[n, group], or x[n, group] = W[group]ᵀ y[n, group]."""
    forward, places = planner.step.kind == "linear", math.prod(c.window.source)
    outer, inner = c.target[0] // c.group, c.source[0] // c.group
    rows, depth = (outer, inner) if forward else (inner, outer)
    group = (outer * inner, depth * places, rows * places)
    sample = (0, c.group * depth * places, c.group * rows * places)
    few, many = (
        ((c.group, group), (planner.result_samples, sample))
        if c.group < planner.result_samples
        else ((planner.result_samples, sample), (c.group, group))
    )
    return BatchedMatmul(rows, depth, places, (not forward, False), *many, *few)


def _planes(shape: Shape, window: Window) -> tuple[int, Table]:
    planes = math.prod(shape[: len(shape) - len(window.kernel)])
    return planes, int_table(planes, *_spatial(window))


def pool(planner: LinearPlanner, p: Pool) -> None:
    """Plan averages over windows, or their adjoint."""
    forward = planner.step.kind == "linear"
    _, g = _planes(p.source, p.window)
    share = Table((1 / counts(p)).astype(np.float32))
    size = check_size(math.prod(p.target if forward else p.source))
    check_size(math.prod(p.source if forward else p.target))
    planner.launch_per_element(
        "pool_average" if forward else "pool_average_adjoint",
        size,
        planner.result_samples,
        planner.input(),
        share,
        planner.result,
        g,
        np.int32(planner.result_samples),
    )


def select(planner: LinearPlanner, p: Select) -> None:
    """Plan the selection of each window's element where the selector is largest, or its adjoint."""
    forward = planner.step.kind == "linear"
    _, g = _planes(p.source, p.window)
    if not forward and plan_route(planner, p):
        return
    samples, windows = planner.samples(planner.operand(1)), check_size(math.prod(p.target))
    size = windows if forward else check_size(math.prod(p.source))
    winners = planner.scratch(samples * windows, "int32")
    planner.launch_per_element(
        "pool_winners", windows, samples, planner.stored_operand(1), winners, g, np.int32(samples)
    )
    planner.launch_per_element(
        "pool_select" if forward else "pool_select_adjoint",
        size,
        planner.result_samples,
        planner.input(),
        winners,
        planner.result,
        g,
        np.int32(planner.result_samples),
        np.int32(samples),
    )


ROUTES = {(2, 2): "pool_route_2x2", (3, 2): "pool_route_3x3"}  # kernels by the size of a window and its stride


def has_route_kernel(p: Select) -> bool:
    """Return whether one kernel carries out the adjoint: two axes of equal windows of a size that it has."""
    w = p.window
    square = len(w.kernel) == 2 and len(p.source) == 3 and len({*zip(w.kernel, w.strides, strict=True)}) == 1
    return square and w.dilations == (1, 1) and (w.kernel[0], w.strides[0]) in ROUTES


def plan_route(planner: LinearPlanner, p: Select, epilogue: Epilogue | None = None) -> bool:
    """Plan the adjoint of max-pooling by one kernel that finds the winners itself.

    Args:
        planner: The plan of the instruction.
        p: The selection.
        epilogue: What the kernel does with its sums.

    Returns:
        False if there is no such kernel.
    """
    if not has_route_kernel(p) or math.prod(p.source) * planner.result_samples > MOST:
        return False
    w, (planes, g) = p.window, _planes(p.source, p.window)
    kernel, stride = w.kernel[0], w.strides[0]
    # Patch k of an axis begins at k * stride + past.
    past = [kernel - stride - before for before in w.before]
    first = [-((n + stride - 1) // stride) for n in past]
    counts = [-(-(n - m) // stride) - k for n, m, k in zip(w.source, past, first, strict=True)]
    aligned = past[1] % stride == 0 and w.source[1] % stride == 0
    name, source = ROUTES[kernel, stride], ""
    if epilogue is not None:
        name, source = epilogue.route(name, kernel, stride)
    numbers = (planner.result_samples, planner.samples(planner.operand(1)), *first, *counts, aligned)
    ending = (None, *(epilogue.arguments if epilogue is not None else (planner.result,)))
    items = planes * math.prod(counts)
    block = block_size(items)
    grid = (grid_size(items, block), min(planner.result_samples, GRID), 1)
    arguments = (planner.input(), planner.stored_operand(1), g, *map(np.int32, numbers), *ending)
    planner.launches.append(Launch(name, grid, (block, 1, 1), arguments, source=source))
    return True
