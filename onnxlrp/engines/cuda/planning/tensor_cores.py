"""Convolutions on tensor cores, and those that need their own kernels: which instruction gets which, with what weights.

One kernel, in forward form (csrc/kernels/gemm.cuh): an adjoint is the same product over the phases of its stride. What
it does not do (groups, three axes) falls back to the plain gathers of conv.cuh.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ....program.linear import Conv, Window
from ....program.program import Array
from ..kernels.elementwise import MOST, block_of, blocks
from ..kernels.launch import Launch, Table
from ..kernels.tiles import STEP, Choice, Precision, Product, choose
from .epilogue import Epilogue
from .linear import GRID, LinearPlanner, ints, within
from .phases import adjoint_phases, flat, forward_phases, fragments, plain_window

IMAGE = 4  # channels of a picture, for which there are kernels of their own


@dataclass
class TensorCorePlanner:
    """How convolutions are planned: the precision, and the weights that were laid out already."""

    precision: Precision = "exact"
    choose: Callable[[Product], Choice] = choose
    _laid: dict[object, Table] = field(default_factory=dict)

    def conv(self, work: LinearPlanner, c: Conv, end: Epilogue | None = None) -> bool:
        """Plan a convolution or its adjoint, with what goes on with its sums; False if it is left to others."""
        forward = work.step.kind == "linear"
        window = flat(c)
        size = max(math.prod(c.source), math.prod(c.target))
        if window is None or not work.operand(1).constant or size * work.lead > MOST:
            return False
        if is_product(c):
            self._product(work, c, window, forward, end)
            return True
        if c.group > 1:
            return c.group == c.source[0] and self._depthwise(work, c, window, forward, end)
        if end is None:
            self._image(work, c, window, forward)
        return end is None

    def _weight(self, work: LinearPlanner, key: object, lay: Callable[[Array], Array]) -> Table:
        """The weight in another order, made once for all batch sizes."""
        key = (work.step.inputs[1], key)
        if key not in self._laid:
            whole = work.array(1)
            self._laid[key] = Table(np.ascontiguousarray(lay(whole), np.float32))
        return self._laid[key]

    # -- products

    def _product(self, work: LinearPlanner, c: Conv, window: Window, forward: bool, end: Epilogue | None) -> None:
        channels, rows = (c.source[0], c.target[0]) if forward else (c.target[0], c.source[0])
        target = window.target if forward else window.source
        phases = forward_phases(window) if forward else adjoint_phases(window)

        def oriented(w: Array) -> Array:
            square = w.reshape(*w.shape[:2], *window.kernel)
            return square if forward else square.swapaxes(0, 1)

        weight = self._weight(work, (forward, phases), lambda w: fragments(oriented(w), phases, self.precision)[0])
        deep, high = -(-channels // STEP), -(-rows // 16)
        starts = itertools.accumulate((high * deep * p.count for p in phases), initial=0)
        table = [(*p.numbers, start, deep * p.count) for p, start in zip(phases, starts, strict=False)]
        place, pixels = math.prod(target), work.lead * max(math.prod(p.size) for p in phases)
        taps = max(p.count for p in phases)
        steps = -(-deep * sum(p.count for p in phases) // len(phases))
        made = self.choose(Product(rows, pixels, steps, taps, len(phases), self.precision))
        tile, shares = made.tile, made.shares
        straight = len(phases) == 1 and phases[0].numbers[4:12] == (1, 1, 0, 0, 1, 1, 1, 1)
        pointwise = straight and phases[0].source == phases[0].size
        wide = pointwise * (place % 4 == 0) + 2 * (len(phases) == 1) * (place % 2 == 0)
        bias = work.bias(rows) if forward else None
        count = work.lead * rows * place
        # One phase is told by numbers, several by a table.
        numbers = (len(phases), channels, rows, *target, work.lead, wide, *phases[0].geometry)
        several = ints(*itertools.chain(*table)) if len(phases) > 1 else None
        product = (work.x(), weight, several, *map(np.int32, numbers))
        ending = (bias, *(end.arguments if end is not None else (work.result,)))
        grid = (-(-rows // tile.rows) * -(-pixels // tile.pixels) * len(phases), shares, 1)
        block = (tile.threads(self.precision), 1, 1)
        name, source = tile.name(self.precision), ""
        if shares == 1:
            if end is not None:
                name, source = end.tile(tile, self.precision)
            work.launches.append(Launch(name, grid, block, (*product, *ending), tile.shared, source))
            return
        parts = work.scratch(shares * count)
        work.launches.append(Launch(name, grid, block, (*product, None, parts), tile.shared))
        name, source = ("gemm_reduce", "") if end is None else end.reduction()
        items = count // 4 if place % 4 == 0 else count
        threads = block_of(items)
        sums = (parts, *map(np.int32, (shares, rows, place)), np.int64(count), *ending)
        work.launches.append(Launch(name, (blocks(items, threads), 1, 1), (threads, 1, 1), sums, source=source))

    # -- one channel a group

    def _depthwise(self, work: LinearPlanner, c: Conv, w: Window, forward: bool, end: Epilogue | None) -> bool:
        even = w.strides[0] == w.strides[1]
        if not forward and (c.source[0] != c.target[0] or (end is not None and w.strides != (1, 1))):
            return False
        if not forward and w.strides != (1, 1):
            name = "depthwise_back_by_2" if w.strides == (2, 2) else "depthwise_back_any"
            items = c.source[0] * w.source[0] * -(-w.source[1] // 4)
            work.each(name, items, work.lead, work.x(), work.whole(1), work.result, _geometry(c, w),
                      np.int32(work.lead))  # fmt: skip
            return True
        weight = work.whole(1)
        if not forward:
            # Of stride 1: the same with the filter turned round.
            weight = self._weight(work, "turned", lambda a: a.reshape(*a.shape[:2], *w.kernel)[:, :, ::-1, ::-1])
            before = tuple(d * (k - 1) - b for d, k, b in zip(w.dilations, w.kernel, w.before, strict=True))
            w = plain_window(w.kernel, w.strides, w.dilations, before, w.target, w.source)
        plain = even and w.dilations == (1, 1) and w.kernel[0] == w.kernel[1]
        known = {(3, 1): "depthwise_3x3", (3, 2): "depthwise_3x3_by_2", (5, 1): "depthwise_5x5"}
        key = (w.kernel[0], w.strides[0])
        name, source = known.get(key, "depthwise_any") if plain else "depthwise_any", ""
        if end is not None:
            name, source = end.depthwise(name, *(key if name in known.values() else (0, 1)))
        items = within(c.target[0] * w.target[0] * -(-w.target[1] // 4))
        bias = work.bias(c.target[0]) if forward else None
        ending = (bias, *(end.arguments if end is not None else (work.result,)))
        arguments = (work.x(), weight, _geometry(c, w), np.int32(work.lead), *ending)
        block = block_of(items)
        grid = (blocks(items, block), min(work.lead, GRID), 1)
        work.launches.append(Launch(name, grid, (block, 1, 1), arguments, source=source))
        return True

    # -- between an image and the first layer

    def _image(self, work: LinearPlanner, c: Conv, w: Window, forward: bool) -> None:
        g, taps = _geometry(c, w), math.prod(w.kernel)
        channels, rows = c.source[0], c.target[0]
        if forward:

            def eights(a: Array) -> Array:
                padded = np.zeros((-(-rows // 8) * 8, channels, taps), np.float32)
                padded[:rows] = a.reshape(rows, channels, taps)
                return padded.reshape(-1, 8, channels, taps).transpose(0, 3, 2, 1)

            grid = (blocks(math.prod(w.target), 512), -(-rows // 8), min(work.lead, GRID))
            work.launch("image_forward", grid, 128, work.x(), self._weight(work, "eights", eights), work.bias(rows),
                        work.result, g, np.int32(work.lead))  # fmt: skip
            return

        def fours(a: Array) -> Array:
            padded = np.zeros((taps, rows, 4), np.float32)
            padded[:, :, :channels] = a.reshape(rows, channels, taps).transpose(2, 0, 1)
            return padded

        span = w.strides[0] * 4
        items = -(-w.source[0] // span) * w.strides[0] * -(-w.source[1] // w.strides[1]) * w.strides[1]
        block = min(128, block_of(items))
        work.launch("image_adjoint", (blocks(items, block), min(work.lead, GRID), 1), block, work.x(),
                    self._weight(work, "fours", fours), work.result, g, np.int32(work.lead))  # fmt: skip


def has_epilogue(c: Conv) -> bool:
    """Whether there are kernels that go on with the convolution's sums."""
    return is_product(c) or (1 < c.group == c.source[0] and flat(c) is not None)


def is_product(c: Conv) -> bool:
    """Whether a convolution runs on tensor cores: one group of more than an image's channels."""
    return c.group == 1 and c.source[0] > IMAGE and flat(c) is not None


def _geometry(c: Conv, w: Window) -> Table:
    """That of conv.cuh, depth 1."""
    rows = ((w.source, 1), (w.target, 1), (w.kernel, 1), (w.strides, 1), (w.dilations, 1), (w.before, 0))
    return ints(c.source[0], c.target[0], c.group, *(n for pair, fill in rows for n in (fill, *pair)))
