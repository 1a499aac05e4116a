"""Cost model: bytes and operations of each launch of a schedule, counted from its arguments before anything runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....program.passes import members
from ..kernels.cublas import MATMUL, BatchedMatmul
from ..kernels.launch import Argument, InputRef, InstructionRef, Launch, Scratch, Table
from ..kernels.tiles import PROCESSORS, STEP, TILES, GemmProblem, Precision, Tiling
from .schedule import Schedule, Scheduler

RECORD = 18  # numbers of a phase in the table of a product (csrc/kernels/gemm.cuh)


@dataclass(frozen=True)
class LaunchCost:
    """Bytes and operations of one launch.

    Args:
        family: Family of kernels, the first word of the name.
        read: Bytes read from device memory, each array once and completely.
        written: Bytes written to device memory.
        copied: Bytes that the blocks read, from any cache; tiles read the same bytes again.
        flop: Floating-point operations, a multiplication and an addition counting as two.
        divisions: Divisions of integers by numbers known at the launch only, about twenty instructions each.
        blocks: Blocks of the grid.
        product: The matrix product on tensor cores, if it is one.
        tiling: How that product is divided.
    """

    family: str
    read: int
    written: int
    copied: int
    flop: int = 0
    divisions: int = 0
    blocks: int = 1
    product: GemmProblem | None = None
    tiling: Tiling | None = None

    @property
    def bytes(self) -> int:
        """Bytes of device memory that are read and written."""
        return self.read + self.written


def launch_costs(scheduler: Scheduler, schedule: Schedule) -> Iterator[LaunchCost]:
    """Yield the cost of each launch of a schedule, in order."""
    made: set[tuple[int, object]] = set()  # arrays that a launch of the same item has written
    for k, launch in schedule.launches:
        read = written = 0
        for a in dict.fromkeys(launch.arguments):
            size = _size(scheduler, schedule, a)
            own = isinstance(a, Scratch) or (isinstance(a, InstructionRef) and a.index in members(scheduler.order[k]))
            again = (k, a) in made
            read += size * (again or not own)
            written += size * (own and (not again or isinstance(a, InstructionRef)))
            if own:
                made.add((k, a))
        if launch.kernel.startswith("move_"):  # a slice does not touch the rest of its operand
            read = min(read, written)
        yield _counted(launch, read, written)


def _size(scheduler: Scheduler, schedule: Schedule, a: Argument) -> int:
    if isinstance(a, InstructionRef):
        held = scheduler.constants.get(a.index)
        return 4 * math.prod(scheduler.shape(a.index, schedule.batch)) if held is None else held.nbytes
    if isinstance(a, InputRef):
        return scheduler.input_sizes(schedule.batch)[a.name] * (8 if a.name in scheduler.program.seeds else 4)
    if isinstance(a, Scratch):
        return a.count * np.dtype(a.dtype).itemsize
    return a.array.nbytes if isinstance(a, Table) else 0


def _counted(one: Launch, read: int, written: int) -> LaunchCost:
    family, blocks = re.split(r"_|\d", one.kernel)[0], math.prod(one.grid)
    if family == "gemm" and not one.kernel.startswith("gemm_reduce"):
        return _product(one, read, written, blocks)
    flop, divisions, copied = 0, 0, read
    numbers = [int(a) for a in one.arguments if isinstance(a, np.int32 | np.int64)]
    geometry = next((a.array for a in one.arguments if isinstance(a, Table) and a.array.dtype == np.int32), None)
    if one.kernel == MATMUL:
        # How cuBLAS divides a product is not known; it is assumed to fill the GPU.
        flop, blocks = BatchedMatmul.of(numbers[1:]).flops, PROCESSORS
    elif family == "map":
        flop, divisions = _maps(one, numbers[-1])
    elif family == "dense":
        flop, copied = _dense(one, numbers, read)
    elif family in ("depthwise", "image", "conv") and geometry is not None:
        channels, outer, groups, *window = map(int, geometry)
        flop = 2 * numbers[0] * outer * (channels // groups) * math.prod(window[3:9])
        divisions = numbers[0] * _convolved(one.kernel, channels, outer, window)
    elif family == "pool" and geometry is not None:
        planes, *window = map(int, geometry)
        divisions = _pooled(one.kernel, numbers[0] * planes, window)
    elif family == "move" and geometry is not None:
        divisions = written // 4 * 2 * int(geometry[0])
    elif family == "reduce":
        flop = read // 4
    if one.kernel.startswith("gemm_reduce"):
        flop, divisions = read // 4, 2 * (numbers[3] // 4)
    return LaunchCost(family, read, written, copied, flop, divisions, blocks)


def _product(one: Launch, read: int, written: int, blocks: int) -> LaunchCost:
    numbers = [int(a) for a in one.arguments if isinstance(a, np.int32)]
    phases, channels, rows, height, width, batch, wide = numbers[:7]
    sizes, taps = np.array([height * width]), np.array([math.prod(numbers[15:17])])
    if phases > 1:
        table = one.arguments[2]
        assert isinstance(table, Table)
        records = table.array.reshape(phases, RECORD)
        sizes, taps = records[:, 2] * records[:, 3], records[:, 10] * records[:, 11]
    precision: Precision = "exact" if "_exact_" in one.kernel else "fast"
    (tile,) = (t for t in TILES if one.kernel.startswith(t.name(precision)))
    deep = -(-channels // STEP)
    steps, most = -(-deep * int(taps.sum()) // phases), int(taps.max())
    made = GemmProblem(rows, batch * int(sizes.max()), steps, most, phases, precision)
    high = -(-rows // tile.rows)
    copied = 0
    for size, count in zip(sizes, taps, strict=True):
        wave = high * -(-batch * int(size) // tile.pixels) * deep * STEP * 4
        # The taps of one channel follow one another, so that the L1 cache has the pixels they share, except where four
        # neighbours are copied at once, which bypasses it.
        copied += wave * (tile.rows * int(count) + tile.pixels * (1 if count and not wide & 1 else int(count)))
    flop = 2 * batch * rows * channels * int((sizes * taps).sum())
    return LaunchCost("gemm", read, written, copied, flop, 0, blocks, made, Tiling(tile, one.grid[1]))


def _maps(one: Launch, count: int) -> tuple[int, int]:
    body = one.source.partition("for (")[2]
    at_once = 4 if "float4" in body else 1
    return body.count("map_") * count, len(re.findall(r"[/%] d\d", body)) * count // at_once


def _dense(one: Launch, numbers: list[int], read: int) -> tuple[int, int]:
    rows, inner, outer, matrices = numbers[:4]
    flop = 2 * rows * inner * outer * matrices
    if one.kernel == "dense_tiled":
        return flop, math.prod(one.grid) * 4 * inner * 128
    return flop, read + 4 * inner * outer * matrices * (-(-rows // 4) - 1)


# Divisions by which kernels find their element, and the windows that contain an element.


def _convolved(kernel: str, channels: int, outer: int, window: list[int]) -> int:
    """Return the divisions for one sample of a direct or depthwise convolution."""
    source, target = math.prod(window[:3]), math.prod(window[3:6])
    if kernel.startswith("image_forward"):  # 8 channels
        return -(-outer // 8) * target * 2
    if kernel.startswith("image_adjoint"):  # all channels of 4 pixels
        return -(-source // 4) * (3 + _windows(window))
    if kernel.startswith("depthwise_back_any"):
        return channels * -(-source // 4) * (3 + 4 * _windows(window))
    if kernel.startswith("depthwise_back"):
        return channels * -(-source // 4) * 3
    if kernel.startswith("depthwise"):
        return outer * -(-target // 4) * 4
    return channels * source * (5 + _windows(window)) if kernel.endswith("_adjoint") else outer * target * 10


def _pooled(kernel: str, planes: int, window: list[int]) -> int:
    """Return the divisions for one sample of a pooling kernel."""
    if kernel.startswith("pool_route"):  # a patch of places
        return 3 * planes * -(-math.prod(window[:3]) // math.prod(window[9:12]))
    source, target = math.prod(window[:3]), math.prod(window[3:6])
    return planes * (source * (5 + _windows(window)) if kernel.endswith("_adjoint") else target * 10)


def _windows(window: list[int]) -> int:
    """Return the divisions of each_window (window.cuh): one for each tap of an axis within windows of those before."""
    found, met = 0, 1
    for taps, stride in zip(window[6:9], window[9:12], strict=True):
        found += met * taps
        met *= -(-taps // stride)
    return found
