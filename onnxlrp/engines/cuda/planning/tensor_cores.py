"""Planning of convolutions on tensor cores, depthwise convolutions and the first layer, each with its own kernels.

One kernel runs convolutions on tensor cores, in forward form (csrc/kernels/gemm.cuh); an adjoint is the same product
over the phases of its stride. Other groups and three axes fall back to the plain gathers of conv.cuh.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ....program.linear import Conv, Window
from ....program.program import Array
from ..kernels.launch import MOST, Launch, Table, block_size, grid_size
from ..kernels.tiles import STEP, GemmProblem, Precision, Tiling, choose_tiling
from .epilogue import Epilogue
from .linear import GRID, LinearPlanner, check_size, int_table
from .phases import adjoint_phases, as_2d_window, forward_phases, pack_fragments, plain_window

IMAGE = 4  # channels up to which a convolution's input is an image, with kernels of its own


@dataclass
class TensorCorePlanner:
    """Plans convolutions, and keeps the weights that it has packed.

    Args:
        precision: "exact" (3xTF32) or "fast" (TF32).
        choose: Chooses how a product is divided.
    """

    precision: Precision = "exact"
    choose: Callable[[GemmProblem], Tiling] = choose_tiling
    _packed: dict[object, Table] = field(default_factory=dict)

    def conv(self, planner: LinearPlanner, c: Conv, epilogue: Epilogue | None = None) -> bool:
        """Plan a convolution or its adjoint.

        Args:
            planner: The plan of the instruction.
            c: The convolution.
            epilogue: What the kernel does with its sums.

        Returns:
            False if plain gathers have to, or no kernel takes the epilogue.
        """
        forward = planner.step.kind == "linear"
        window = as_2d_window(c)
        size = max(math.prod(c.source), math.prod(c.target))
        if window is None or not planner.operand(1).constant or size * planner.result_samples > MOST:
            return False
        if is_product(c):
            self._product(planner, c, window, forward, epilogue)
            return True
        if c.group > 1:
            return c.group == c.source[0] and self._depthwise(planner, c, window, forward, epilogue)
        if epilogue is None:
            self._image(planner, c, window, forward)
        return epilogue is None

    def _weight(self, planner: LinearPlanner, key: object, pack: Callable[[Array], Array]) -> Table:
        """Return the weight in the order of `pack`, which `key` names; packed once for all batch sizes."""
        key = (planner.step.inputs[1], key)
        if key not in self._packed:
            self._packed[key] = Table(np.ascontiguousarray(pack(planner.array(1)), np.float32))
        return self._packed[key]

    # -- products

    def _product(
        self, planner: LinearPlanner, c: Conv, window: Window, forward: bool, epilogue: Epilogue | None
    ) -> None:
        channels, rows = (c.source[0], c.target[0]) if forward else (c.target[0], c.source[0])
        target = window.target if forward else window.source
        phases = forward_phases(window) if forward else adjoint_phases(window)

        def oriented(w: Array) -> Array:
            square = w.reshape(*w.shape[:2], *window.kernel)
            return square if forward else square.swapaxes(0, 1)

        weight = self._weight(
            planner, (forward, phases), lambda w: pack_fragments(oriented(w), phases, self.precision)[0]
        )
        deep, high = -(-channels // STEP), -(-rows // 16)
        starts = itertools.accumulate((high * deep * p.count for p in phases), initial=0)
        table = [(*p.numbers, start, deep * p.count) for p, start in zip(phases, starts, strict=False)]
        place, pixels = math.prod(target), planner.result_samples * max(math.prod(p.size) for p in phases)
        taps = max(p.count for p in phases)
        steps = -(-deep * sum(p.count for p in phases) // len(phases))
        made = self.choose(GemmProblem(rows, pixels, steps, taps, len(phases), self.precision))
        tile, splits = made.tile, made.splits
        straight = len(phases) == 1 and phases[0].numbers[4:12] == (1, 1, 0, 0, 1, 1, 1, 1)
        pointwise = straight and phases[0].source == phases[0].size
        wide = pointwise * (place % 4 == 0) + 2 * (len(phases) == 1) * (place % 2 == 0)
        bias = planner.fused_bias(rows) if forward else None
        count = planner.result_samples * rows * place
        # One phase is told by numbers, several by a table.
        numbers = (len(phases), channels, rows, *target, planner.result_samples, wide, *phases[0].geometry)
        several = int_table(*itertools.chain(*table)) if len(phases) > 1 else None
        product = (planner.input(), weight, several, *map(np.int32, numbers))
        ending = (bias, *(epilogue.arguments if epilogue is not None else (planner.result,)))
        grid = (-(-rows // tile.rows) * -(-pixels // tile.pixels) * len(phases), splits, 1)
        block = (tile.threads(self.precision), 1, 1)
        name, source = tile.name(self.precision), ""
        if splits == 1:
            if epilogue is not None:
                name, source = epilogue.tile(tile, self.precision)
            planner.launches.append(Launch(name, grid, block, (*product, *ending), tile.shared, source))
            return
        parts = planner.scratch(splits * count)
        planner.launches.append(Launch(name, grid, block, (*product, None, parts), tile.shared))
        name, source = ("gemm_reduce", "") if epilogue is None else epilogue.reduction()
        items = count // 4 if place % 4 == 0 else count
        threads = block_size(items)
        sums = (parts, *map(np.int32, (splits, rows, place)), np.int64(count), *ending)
        planner.launches.append(Launch(name, (grid_size(items, threads), 1, 1), (threads, 1, 1), sums, source=source))

    # -- depthwise convolutions

    def _depthwise(self, planner: LinearPlanner, c: Conv, w: Window, forward: bool, epilogue: Epilogue | None) -> bool:
        even = w.strides[0] == w.strides[1]
        if not forward and (c.source[0] != c.target[0] or (epilogue is not None and w.strides != (1, 1))):
            return False
        if not forward and w.strides != (1, 1):
            name = "depthwise_back_by_2" if w.strides == (2, 2) else "depthwise_back_any"
            items = c.source[0] * w.source[0] * -(-w.source[1] // 4)
            planner.launch_per_element(
                name,
                items,
                planner.result_samples,
                planner.input(),
                planner.stored_operand(1),
                planner.result,
                _geometry(c, w),
                np.int32(planner.result_samples),
            )
            return True
        weight = planner.stored_operand(1)
        if not forward:
            # The adjoint of stride 1 is a convolution with the flipped filter.
            weight = self._weight(planner, "flipped", lambda a: a.reshape(*a.shape[:2], *w.kernel)[:, :, ::-1, ::-1])
            before = tuple(d * (k - 1) - b for d, k, b in zip(w.dilations, w.kernel, w.before, strict=True))
            w = plain_window(w.kernel, w.strides, w.dilations, before, w.target, w.source)
        plain = even and w.dilations == (1, 1) and w.kernel[0] == w.kernel[1]
        known = {(3, 1): "depthwise_3x3", (3, 2): "depthwise_3x3_by_2", (5, 1): "depthwise_5x5"}
        key = (w.kernel[0], w.strides[0])
        name, source = known.get(key, "depthwise_any") if plain else "depthwise_any", ""
        if epilogue is not None:
            name, source = epilogue.depthwise(name, *(key if name in known.values() else (0, 1)))
        items = check_size(c.target[0] * w.target[0] * -(-w.target[1] // 4))
        bias = planner.fused_bias(c.target[0]) if forward else None
        ending = (bias, *(epilogue.arguments if epilogue is not None else (planner.result,)))
        arguments = (planner.input(), weight, _geometry(c, w), np.int32(planner.result_samples), *ending)
        block = block_size(items)
        grid = (grid_size(items, block), min(planner.result_samples, GRID), 1)
        planner.launches.append(Launch(name, grid, (block, 1, 1), arguments, source=source))
        return True

    # -- between an image and the first layer

    def _image(self, planner: LinearPlanner, c: Conv, w: Window, forward: bool) -> None:
        g, taps = _geometry(c, w), math.prod(w.kernel)
        channels, rows = c.source[0], c.target[0]
        if forward:

            def eights(a: Array) -> Array:
                padded = np.zeros((-(-rows // 8) * 8, channels, taps), np.float32)
                padded[:rows] = a.reshape(rows, channels, taps)
                return padded.reshape(-1, 8, channels, taps).transpose(0, 3, 2, 1)

            grid = (grid_size(math.prod(w.target), 512), -(-rows // 8), min(planner.result_samples, GRID))
            planner.launch(
                "image_forward",
                grid,
                128,
                planner.input(),
                self._weight(planner, "eights", eights),
                planner.fused_bias(rows),
                planner.result,
                g,
                np.int32(planner.result_samples),
            )
            return

        def fours(a: Array) -> Array:
            padded = np.zeros((taps, rows, 4), np.float32)
            padded[:, :, :channels] = a.reshape(rows, channels, taps).transpose(2, 0, 1)
            return padded

        span = w.strides[0] * 4
        items = -(-w.source[0] // span) * w.strides[0] * -(-w.source[1] // w.strides[1]) * w.strides[1]
        block = min(128, block_size(items))
        planner.launch(
            "image_adjoint",
            (grid_size(items, block), min(planner.result_samples, GRID), 1),
            block,
            planner.input(),
            self._weight(planner, "fours", fours),
            planner.result,
            g,
            np.int32(planner.result_samples),
        )


def has_epilogue(c: Conv) -> bool:
    """Return whether a convolution has kernels that take an epilogue."""
    return is_product(c) or (1 < c.group == c.source[0] and as_2d_window(c) is not None)


def is_product(c: Conv) -> bool:
    """Return whether a convolution runs on tensor cores: one group of more than an image's channels."""
    return c.group == 1 and c.source[0] > IMAGE and as_2d_window(c) is not None


def _geometry(c: Conv, w: Window) -> Table:
    """Return the geometry table of conv.cuh, with depth 1."""
    rows = ((w.source, 1), (w.target, 1), (w.kernel, 1), (w.strides, 1), (w.dilations, 1), (w.before, 0))
    return int_table(c.source[0], c.target[0], c.group, *(n for pair, fill in rows for n in (fill, *pair)))
