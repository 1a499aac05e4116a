"""Which kernels carry out each instruction, with which grids and geometry: plain Python, no GPU, no array touched.

LINEAR and ADJOINT have a planner for each linear map; maps are generated (elementwise.py). Results are new arrays,
[targets · samples, ...] where the instruction has targets, else [samples, ...].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...errors import UnsupportedError
from ...program.interpret import counts, run_linear, run_map
from ...program.linear import Conv, LinearMap, Matmul, Permute, Pool, Reshape, Select, Shape, Slice, Sum, Window
from ...program.program import Activation, Array, Constant, Program, Seed
from ...program.value import distinct
from .elementwise import MOST, block_of, blocks, chain
from .launch import Fed, Held, Launch, Table
from .work import GRID, Work, contiguous, ints, joined, padded, within

SKINNY = 16  # rows up to which a dense map is bound by reading its weight
SHARE = 4096  # terms of a sum that a block adds up before the sum is divided among blocks


def folded(program: Program) -> dict[int, Array]:
    """The constants that a run needs, computed once: float32, contiguous, without the copies of broadcasting."""
    instructions = program.instructions
    exact: dict[int, Array] = {}

    def array(n: int) -> Array:
        step = instructions[n]
        if isinstance(step.what, Constant):
            return step.what.array
        if n not in exact:
            operands = [array(i) for i in step.inputs]
            cut = run_map(step, [*map(distinct, operands)]) if step.kind == "map" else run_linear(step, operands)
            exact[n] = np.broadcast_to(cut, step.shape)
        return exact[n]

    wanted = {i for step in instructions if not step.constant for i in step.inputs} | set(program.outputs.values())
    return {n: _packed(array(n)) for n in sorted(wanted) if instructions[n].constant}


def _packed(array: Array) -> Array:
    cut = distinct(array)
    return np.ascontiguousarray(cut, np.float32).reshape(cut.shape)


def plan(
    program: Program,
    n: int,
    batch: int,
    constants: Mapping[int, Array],
    tier: Callable[[Work, Conv], bool] | None = None,
) -> tuple[Launch, ...]:
    """The launches of instruction n for `batch` samples, in order; none for what needs no kernel.

    `tier` plans convolutions and says whether it did (see tensor.py); without it they are plain gathers.
    `constants` are those of `folded`. Reads of activations, constants and a given relevance need no kernel.
    """
    step = program.instructions[n]
    if step.constant or isinstance(step.what, Activation):
        return ()
    if isinstance(step.what, Seed):
        return _seed(program, n, batch, step.what)
    if step.kind == "map":
        return (chain(program, (n,), (n,), batch, constants),)
    work = Work(program, n, batch, constants, tier)
    assert isinstance(step.what, LinearMap)
    (LINEAR if step.kind == "linear" else ADJOINT)[step.what.name](work, step.what)
    if step.biased and not work.bias_added:
        work.add_bias()
    return tuple(work.launches)


def alias(program: Program, n: int) -> int | None:
    """The instruction whose array serves as that of n too, so that nothing has to run; None if n has its own."""
    step = program.instructions[n]
    if not isinstance(step.what, Reshape) or step.biased or step.constant:
        return None
    x = program.instructions[step.inputs[0]]
    return None if x.constant or x.targets != step.targets else step.inputs[0]


# -- windows


def _spatial(window: Window) -> list[int]:
    """Source, target, kernel, stride, dilation and padding before, each as depth, height, width."""
    rows = ((window.source, 1), (window.target, 1), (window.kernel, 1), (window.strides, 1), (window.dilations, 1),
            (window.before, 0))  # fmt: skip
    if len(window.kernel) > 3:
        raise UnsupportedError("windows of more than 3 axes are not in the cuda engine", "try --engine ort")
    return [n for numbers, fill in rows for n in (*[fill] * (3 - len(numbers)), *numbers)]


def _conv(work: Work, c: Conv) -> None:
    forward = work.step.kind == "linear"
    if not work.operand(1).constant:
        raise UnsupportedError(
            f"{work.step.origin}: a convolution whose weight is computed is not in the cuda engine", "try --engine ort"
        )
    if work.tier is not None and work.tier(work, c):
        return
    g = ints(c.source[0], c.target[0], c.group, *_spatial(c.window))
    size = within(math.prod(c.target if forward else c.source))
    within(math.prod(c.source if forward else c.target))
    bias = (work.bias(c.target[0]),) if forward else ()
    x, weight = work.x(), work.whole(1)
    work.each(f"conv_{'forward' if forward else 'adjoint'}", size, work.lead, x, weight, *bias, work.result, g,
              np.int32(work.lead))  # fmt: skip


def _planes(shape: Shape, window: Window) -> tuple[int, Table]:
    planes = math.prod(shape[: len(shape) - len(window.kernel)])
    return planes, ints(planes, *_spatial(window))


def _pool(work: Work, p: Pool) -> None:
    forward = work.step.kind == "linear"
    _, g = _planes(p.source, p.window)
    share = Table((1 / counts(p)).astype(np.float32))
    size = within(math.prod(p.target if forward else p.source))
    within(math.prod(p.source if forward else p.target))
    work.each("pool_average" if forward else "pool_average_adjoint", size, work.lead, work.x(), share, work.result, g,
              np.int32(work.lead))  # fmt: skip


def _select(work: Work, p: Select) -> None:
    forward = work.step.kind == "linear"
    _, g = _planes(p.source, p.window)
    samples, windows = work.samples(work.operand(1)), within(math.prod(p.target))
    size = windows if forward else within(math.prod(p.source))
    winners = work.scratch(samples * windows, "int32")
    work.each("pool_winners", windows, samples, work.whole(1), winners, g, np.int32(samples))
    work.each("pool_select" if forward else "pool_select_adjoint", size, work.lead, work.x(), winners, work.result, g,
              np.int32(work.lead), np.int32(samples))  # fmt: skip


# -- dense


def _matmul(work: Work, m: Matmul) -> None:
    forward = work.step.kind == "linear"
    transposed = m.transposed == forward
    source, target = (m.source, m.target) if forward else (m.target, m.source)
    inner, outer, above = source[-1], target[-1], source[:-1]
    w, x = work.operand(1), work.x()
    matrices, rows, repeat, weights = 1, work.lead * math.prod(above), 1, 1
    weight = work.whole(1)
    if not w.constant or math.prod(w.shape[:-2]) > 1:
        # Several matrices: one for each sample, or for each place of the leading axes, or both.
        above, rows = above[:-1], math.prod(above[-1:])
        own = math.prod(w.shape[:-2])
        if own > 1 and own != math.prod(above):
            full = (*above, *w.shape[-2:])
            weight = work.scratch(work.samples(w) * math.prod(full))
            work.gather(work.step.inputs[1], weight, full, work.samples(w))
            own = math.prod(above)
        matrices, weights = work.lead * math.prod(above), work.samples(w) * own
        repeat = 1 if own > 1 else math.prod(above)
    numbers = map(np.int32, (rows, inner, outer, matrices, repeat, weights))
    arguments = (x, weight, work.bias(outer) if forward else None, work.result, *numbers)
    deep = min(matrices, GRID)
    if rows > SKINNY:
        tiles = (-(-outer // 64), min(-(-rows // 64), GRID), deep)
        work.launch("dense_tiled", tiles, 256, *arguments, np.int32(transposed))
    elif transposed:
        block = min(256, 32 * outer)
        work.launch("dense_rows", (blocks(outer, block // 32), -(-rows // 4), deep), block, *arguments)
    else:
        work.launch("dense_columns", (blocks(outer, 32), -(-rows // 4), deep), 512, *arguments)


# -- sums and copies


def _sum(work: Work, p: Sum) -> None:
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


def _spread(work: Work, p: Sum) -> None:
    strides = [0 if axis in p.axes else stride for axis, stride in enumerate(contiguous(p.kept))]
    _moved(work, p.source, strides)


def _moved(work: Work, shape: Shape, strides: Sequence[int], offset: int = 0) -> None:
    linear = work.step.what
    assert isinstance(linear, LinearMap)
    stride = math.prod(linear.source if work.step.kind == "linear" else linear.target)
    work.move(work.x(), work.result, shape, strides, offset, work.lead, work.lead, stride)


def _reshape(work: Work, p: Reshape) -> None:
    count = work.lead * math.prod(p.source)
    block = block_of(count)
    work.launch("move_copy", (blocks(count, block), 1, 1), block, work.x(), work.result, np.int64(count))


def _permute(work: Work, p: Permute) -> None:
    strides = contiguous(p.source)
    _moved(work, p.target, [strides[axis] for axis in p.order])


def _permute_back(work: Work, p: Permute) -> None:
    strides = contiguous(p.target)
    _moved(work, p.source, [strides[p.order.index(axis)] for axis in range(len(p.order))])


def _slice(work: Work, p: Slice) -> None:
    strides = contiguous(p.source)
    offset = sum(start * stride for start, stride in zip(p.starts, strides, strict=True))
    _moved(work, p.target, [step * stride for step, stride in zip(p.steps, strides, strict=True)], offset)


def _slice_back(work: Work, p: Slice) -> None:
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


# -- the seed


def _seed(program: Program, n: int, batch: int, seed: Seed) -> tuple[Launch, ...]:
    classes, targets = math.prod(program.instructions[n].shape), seed.targets or 1
    if seed.mode == "relevance":
        return ()
    if seed.mode == "top":
        numbers = map(np.int32, (batch, classes, targets))
        return (Launch("seed_top", (batch, 1, 1), (256, 1, 1), (Fed("scores"), Held(n), *numbers)),)
    block, rows = block_of(classes), targets * batch
    grid = (blocks(classes, block), min(rows, GRID), 1)
    return (Launch("seed_index", grid, (block, 1, 1), (Fed("target"), Held(n), np.int32(rows), np.int32(classes))),)


LINEAR: dict[str, Callable[..., None]] = {
    "Conv": _conv,
    "Matmul": _matmul,
    "Pool": _pool,
    "Select": _select,
    "Sum": _sum,
    "Reshape": _reshape,
    "Permute": _permute,
    "Slice": _slice,
}

ADJOINT: dict[str, Callable[..., None]] = {
    "Conv": _conv,
    "Matmul": _matmul,
    "Pool": _pool,
    "Select": _select,
    "Sum": _spread,
    "Reshape": _reshape,
    "Permute": _permute_back,
    "Slice": _slice_back,
}
