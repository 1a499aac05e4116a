"""What each launch of a draft moves and computes, counted from its arguments before anything runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....program.passes import members
from ..kernels.cublas import MATMUL
from ..kernels.cublas import Product as OfLibrary
from ..kernels.launch import Argument, InputRef, InstructionRef, Launch, Scratch, Table
from ..kernels.tiles import PROCESSORS, STEP, TILES, Choice, Precision, Product
from .schedule import Schedule, Schedules

RECORD = 18  # numbers of a phase in the table of a product (csrc/kernels/gemm.cuh)


@dataclass(frozen=True)
class Traffic:
    """One launch. Bytes of device memory count each array once; arrays are read and written whole.

    `copied` are the bytes that its blocks read, from whichever cache has them: tiles read the same again.
    `product` is what runs on tensor cores, `choice` how. `flop` counts all operations, a multiplication and an addition
    as two; `divisions` those of integers by numbers that only the launch knows, some twenty instructions each.
    """

    family: str
    read: int
    written: int
    copied: int
    flop: int = 0
    divisions: int = 0
    blocks: int = 1
    product: Product | None = None
    choice: Choice | None = None

    @property
    def bytes(self) -> int:
        return self.read + self.written


def traffic(drafts: Schedules, draft: Schedule) -> Iterator[Traffic]:
    """Of each launch of the draft, in order."""
    made: set[tuple[int, object]] = set()  # what a launch of the same item has written
    for k, launch in draft.launches:
        read = written = 0
        for a in dict.fromkeys(launch.arguments):
            size = _size(drafts, draft, a)
            own = isinstance(a, Scratch) or (isinstance(a, InstructionRef) and a.index in members(drafts.order[k]))
            again = (k, a) in made
            read += size * (again or not own)
            written += size * (own and (not again or isinstance(a, InstructionRef)))
            if own:
                made.add((k, a))
        if launch.kernel.startswith("move_"):  # of what a slice reads, the rest is not touched
            read = min(read, written)
        yield _counted(launch, read, written)


def _size(drafts: Schedules, draft: Schedule, a: Argument) -> int:
    if isinstance(a, InstructionRef):
        held = drafts.constants.get(a.index)
        return 4 * math.prod(drafts.shape(a.index, draft.batch)) if held is None else held.nbytes
    if isinstance(a, InputRef):
        return drafts.given(draft.batch)["target"] * 8 if a.name == "target" else _scores(drafts, draft)
    if isinstance(a, Scratch):
        return a.count * np.dtype(a.dtype).itemsize
    return a.array.nbytes if isinstance(a, Table) else 0


def _scores(drafts: Schedules, draft: Schedule) -> int:
    seed = drafts.program.seed
    return 4 * drafts.given(draft.batch)[seed.tensor] if seed is not None else 0


def _counted(one: Launch, read: int, written: int) -> Traffic:
    family, blocks = re.split(r"_|\d", one.kernel)[0], math.prod(one.grid)
    if family == "gemm" and not one.kernel.startswith("gemm_reduce"):
        return _product(one, read, written, blocks)
    flop, divisions, copied = 0, 0, read
    numbers = [int(a) for a in one.arguments if isinstance(a, np.int32 | np.int64)]
    geometry = next((a.array for a in one.arguments if isinstance(a, Table) and a.array.dtype == np.int32), None)
    if one.kernel == MATMUL:
        # How the library divides it is not known: it is taken to fill the GPU.
        flop, blocks = OfLibrary.of(numbers[1:]).flops, PROCESSORS
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
    return Traffic(family, read, written, copied, flop, divisions, blocks)


def _product(one: Launch, read: int, written: int, blocks: int) -> Traffic:
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
    made = Product(rows, batch * int(sizes.max()), steps, most, phases, precision)
    high = -(-rows // tile.rows)
    copied = 0
    for size, count in zip(sizes, taps, strict=True):
        wave = high * -(-batch * int(size) // tile.pixels) * deep * STEP * 4
        # The taps of one channel follow one another, and the L1 cache has what they share; it is passed by where four
        # neighbours are copied at once.
        copied += wave * (tile.rows * int(count) + tile.pixels * (1 if count and not wide & 1 else int(count)))
    flop = 2 * batch * rows * channels * int((sizes * taps).sum())
    return Traffic("gemm", read, written, copied, flop, 0, blocks, made, Choice(tile, one.grid[1]))


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


# Where a kernel finds its place, and the windows that hold a place, by division.


def _convolved(kernel: str, channels: int, outer: int, window: list[int]) -> int:
    """Of a sample."""
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
    if kernel.startswith("pool_route"):  # a patch of places
        return 3 * planes * -(-math.prod(window[:3]) // math.prod(window[9:12]))
    source, target = math.prod(window[:3]), math.prod(window[3:6])
    return planes * (source * (5 + _windows(window)) if kernel.endswith("_adjoint") else target * 10)


def _windows(window: list[int]) -> int:
    """Divisions of each_window (window.cuh): one a tap of an axis, for each that has a window along the axes before."""
    found, met = 0, 1
    for taps, stride in zip(window[6:9], window[9:12], strict=True):
        found += met * taps
        met *= -(-taps // stride)
    return found
