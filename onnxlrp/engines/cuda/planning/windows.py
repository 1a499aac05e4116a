"""Convolutions as plain gathers, average pooling and max-pool routing: one thread an element, any window."""

from __future__ import annotations

import math

import numpy as np

from ....errors import UnsupportedError
from ....program.interpret import counts
from ....program.linear import Conv, Pool, Select, Shape, Window
from ..kernels.cublas import Product, product
from ..kernels.elementwise import MOST, block_of, blocks
from ..kernels.launch import Launch, Table
from .epilogue import Epilogue
from .linear import GRID, LinearPlanner, ints, within


def _spatial(window: Window) -> list[int]:
    """Source, target, kernel, stride, dilation and padding before, each as depth, height, width."""
    rows = ((window.source, 1), (window.target, 1), (window.kernel, 1), (window.strides, 1), (window.dilations, 1),
            (window.before, 0))  # fmt: skip
    if len(window.kernel) > 3:
        raise UnsupportedError("windows of more than 3 axes are not in the cuda engine", "try --engine ort")
    return [n for numbers, fill in rows for n in (*[fill] * (3 - len(numbers)), *numbers)]


def conv(work: LinearPlanner, c: Conv) -> None:
    """A convolution or its adjoint: by the better tier if it takes it, else as plain gathers.

    What is a product of matrices (a window of one place) goes to the library where there is a tier.
    """
    forward = work.step.kind == "linear"
    if not work.operand(1).constant:
        raise UnsupportedError(
            f"{work.step.origin}: a convolution whose weight is computed is not in the cuda engine", "try --engine ort"
        )
    if work.tier is not None and work.tier.conv(work, c):
        return
    g = ints(c.source[0], c.target[0], c.group, *_spatial(c.window))
    size = within(math.prod(c.target if forward else c.source))
    within(math.prod(c.source if forward else c.target))
    x, weight = work.x(), work.whole(1)
    if work.tier is not None and _is_pointwise(c):
        work.launches.append(product(weight, x, work.result, _pointwise(work, c), work.tier.precision))
        return
    bias = (work.bias(c.target[0]),) if forward else ()
    work.each(f"conv_{'forward' if forward else 'adjoint'}", size, work.lead, x, weight, *bias, work.result, g,
              np.int32(work.lead))  # fmt: skip


def _is_pointwise(c: Conv) -> bool:
    w = c.window
    return all(n == 1 for n in (*w.kernel, *w.strides)) and not any((*w.before, *w.after))


def _pointwise(work: LinearPlanner, c: Conv) -> Product:
    """y[n, group] = W[group] x[n, group], or x[n, group] = W[group]ᵀ y[n, group]."""
    forward, places = work.step.kind == "linear", math.prod(c.window.source)
    outer, inner = c.target[0] // c.group, c.source[0] // c.group
    rows, depth = (outer, inner) if forward else (inner, outer)
    group = (outer * inner, depth * places, rows * places)
    sample = (0, c.group * depth * places, c.group * rows * places)
    few, many = (
        ((c.group, group), (work.lead, sample)) if c.group < work.lead else ((work.lead, sample), (c.group, group))
    )
    return Product(rows, depth, places, (not forward, False), *many, *few)


def _planes(shape: Shape, window: Window) -> tuple[int, Table]:
    planes = math.prod(shape[: len(shape) - len(window.kernel)])
    return planes, ints(planes, *_spatial(window))


def pool(work: LinearPlanner, p: Pool) -> None:
    """Averages over windows, or their adjoint."""
    forward = work.step.kind == "linear"
    _, g = _planes(p.source, p.window)
    share = Table((1 / counts(p)).astype(np.float32))
    size = within(math.prod(p.target if forward else p.source))
    within(math.prod(p.source if forward else p.target))
    work.each("pool_average" if forward else "pool_average_adjoint", size, work.lead, work.x(), share, work.result, g,
              np.int32(work.lead))  # fmt: skip


def select(work: LinearPlanner, p: Select) -> None:
    """The element of each window where the selector is largest, or the adjoint."""
    forward = work.step.kind == "linear"
    _, g = _planes(p.source, p.window)
    if not forward and route(work, p):
        return
    samples, windows = work.samples(work.operand(1)), within(math.prod(p.target))
    size = windows if forward else within(math.prod(p.source))
    winners = work.scratch(samples * windows, "int32")
    work.each("pool_winners", windows, samples, work.whole(1), winners, g, np.int32(samples))
    work.each("pool_select" if forward else "pool_select_adjoint", size, work.lead, work.x(), winners, work.result, g,
              np.int32(work.lead), np.int32(samples))  # fmt: skip


ROUTES = {(2, 2): "pool_route_2x2", (3, 2): "pool_route_3x3"}  # kernels by the size of a window and its stride


def routed(p: Select) -> bool:
    """Whether one launch carries out the adjoint: windows of two axes that are alike."""
    w = p.window
    square = len(w.kernel) == 2 and len(p.source) == 3 and len({*zip(w.kernel, w.strides, strict=True)}) == 1
    return square and w.dilations == (1, 1) and (w.kernel[0], w.strides[0]) in ROUTES


def route(work: LinearPlanner, p: Select, end: Epilogue | None = None) -> bool:
    """The adjoint of a max-pool by a kernel that looks for the winners itself, and goes on; False if there is none."""
    if not routed(p) or math.prod(p.source) * work.lead > MOST:
        return False
    w, (planes, g) = p.window, _planes(p.source, p.window)
    kernel, stride = w.kernel[0], w.strides[0]
    # Patch k of an axis begins at k * stride + past.
    past = [kernel - stride - before for before in w.before]
    first = [-((n + stride - 1) // stride) for n in past]
    counts = [-(-(n - m) // stride) - k for n, m, k in zip(w.source, past, first, strict=True)]
    aligned = past[1] % stride == 0 and w.source[1] % stride == 0
    name, source = ROUTES[kernel, stride], ""
    if end is not None:
        name, source = end.route(name, kernel, stride)
    numbers = (work.lead, work.samples(work.operand(1)), *first, *counts, aligned)
    ending = (None, *(end.arguments if end is not None else (work.result,)))
    items = planes * math.prod(counts)
    block = block_of(items)
    grid = (blocks(items, block), min(work.lead, GRID), 1)
    arguments = (work.x(), work.whole(1), g, *map(np.int32, numbers), *ending)
    work.launches.append(Launch(name, grid, (block, 1, 1), arguments, source=source))
    return True
