"""What a plan is counted to move and compute, against layers counted by hand; and the estimate that is made of it."""

from __future__ import annotations

import math
from typing import Any

import estimate
import numpy as np
import pytest

from onnxlrp.compile import compile
from onnxlrp.engines.cuda.kernels.tiles import PRECISIONS, TILES, GemmProblem, Precision, Tiling
from onnxlrp.engines.cuda.planning.cost_model import launch_costs
from onnxlrp.engines.cuda.planning.schedule import Scheduler
from onnxlrp.graph.load import load
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.linear import Conv, Matmul, Select, Sum, Window
from onnxlrp.program.program import Program
from support.conformance import Sketch
from support.paths import ROOT

DIGITS = ROOT / "models" / "digits.onnx"
TILE = next(tile for tile in TILES if (tile.rows, tile.pixels) == (64, 64))


def counted(sketch: Any, batch: int = 1, choice: Any = None, precision: Precision = "exact") -> Any:
    """The traffic of a program that is what was sketched."""
    scheduler = Scheduler(Program(tuple(sketch.steps), {"y": len(sketch.steps) - 1}, sketch.targets), precision)
    if choice is not None:
        scheduler.tensor_cores.choose = lambda product: choice
    return list(launch_costs(scheduler, scheduler.schedule(batch)))


def conv(inner: Any, outer: Any, kernel: Any, stride: int = 1, size: int = 8, group: int = 1) -> Any:
    target = (size + 2 * (kernel // 2) - kernel) // stride + 1
    pairs = [(n, n) for n in (kernel, stride, 1, kernel // 2, kernel // 2, size, target)]
    return Conv((inner, size, size), (outer, target, target), Window(*pairs), group)


def convolved(linear: Any, direction: str = "linear") -> Any:
    sketch = Sketch()
    weight = sketch.constant(np.ones((linear.target[0], linear.source[0] // linear.group, *linear.window.kernel)))
    x = sketch.activation("x", linear.source if direction == "linear" else linear.target)
    (sketch.linear if direction == "linear" else sketch.adjoint)(linear, x, weight)
    return sketch


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_pointwise_product(precision: Precision) -> None:
    (one,) = counted(convolved(conv(16, 32, 1)), 2, Tiling(TILE, 1), precision)
    x, w, y = 4 * 2 * 16 * 64, 4 * 32 * 16, 4 * 2 * 32 * 64
    assert (one.family, one.read, one.written) == ("gemm", x + w, y)
    assert one.flop == 2 * 2 * 64 * 16 * 32
    # Two tiles of 64 pixels, of one step each.
    assert (one.blocks, one.copied) == (2, 2 * 4 * 16 * (64 + 64))
    assert one.product == GemmProblem(32, 128, 1, 1, 1, precision)


def test_taps_share_what_they_read() -> None:
    (one,) = counted(convolved(conv(32, 64, 3)), 1, Tiling(TILE, 1))
    assert one.flop == 2 * 64 * 9 * 32 * 64
    assert one.copied == 4 * 16 * 2 * (9 * 64 + 64)
    assert one.product is not None
    assert (one.product.steps, one.product.taps) == (18, 9)


def test_phases_have_their_own_taps() -> None:
    (one,) = counted(convolved(conv(16, 16, 3, 2), "adjoint"), 1, Tiling(TILE, 1))
    assert one.flop == 2 * 16 * 9 * 16 * 16  # as many products as the convolution has
    assert one.copied == 4 * 16 * (9 * 64 + 4 * 64)
    assert one.product is not None
    assert (one.product.phases, one.product.steps, one.product.taps) == (4, 3, 4)


def test_shares_are_written_and_read_again() -> None:
    first, second = counted(convolved(conv(64, 32, 1)), 1, Tiling(TILE, 4))
    parts, y = 4 * 4 * 32 * 64, 4 * 32 * 64
    assert (first.written, second.read, second.written) == (parts, parts, y)
    assert second.flop == 4 * 32 * 64


def test_a_depthwise_convolution() -> None:
    (one,) = counted(convolved(conv(32, 32, 3, group=32)), 3)
    data, geometry = 4 * 3 * 32 * 64, 4 * 21
    assert (one.family, one.read, one.written) == ("depthwise", data + 4 * 32 * 9 + geometry, data)
    assert one.flop == 2 * 3 * 32 * 64 * 9


def test_maps_read_what_is_broadcast_once() -> None:
    sketch = Sketch()
    x = sketch.activation("x", (8, 5, 5))
    sketch.map("add", sketch.map("mul", x, x), sketch.constant(np.arange(8.0).reshape(8, 1, 1)))
    (one,) = counted(sketch, 2)
    assert (one.read, one.written, one.flop) == (4 * 2 * 200 + 4 * 8, 4 * 2 * 200, 2 * 2 * 200)
    assert one.divisions == 2 * 2 * 200
    sketch = Sketch()
    x = sketch.activation("x", (8, 4, 5))
    sketch.map("add", x, sketch.constant(np.arange(8.0).reshape(8, 1, 1)))
    (one,) = counted(sketch, 2)
    assert one.divisions == 2 * 2 * 160 // 4  # four neighbours at a time


def test_a_sum_a_dense_layer_and_a_maximum() -> None:
    sketch = Sketch()
    sketch.linear(Sum((4, 6), (4,), (1,)), sketch.activation("x", (4, 6)))
    (one,) = counted(sketch)
    assert (one.family, one.read - 4 * 34, one.written, one.flop) == ("reduce", 4 * 24, 4 * 4, 24 + 34)
    sketch = Sketch()
    sketch.linear(Matmul((40,), (7,)), sketch.activation("x", (40,)), sketch.constant(np.ones((40, 7))))
    (one,) = counted(sketch, 8)
    assert (one.read, one.written, one.flop) == (4 * (8 * 40 + 40 * 7), 4 * 8 * 7, 2 * 8 * 40 * 7)
    assert one.copied == one.read + 4 * 40 * 7  # the weight once more, for the rows from the fifth on
    sketch = Sketch()
    pool = conv(1, 1, 2, 2).window
    s, x = sketch.activation("s", (3, 5, 5)), sketch.activation("x", (3, 8, 8))
    sketch.adjoint(Select((3, 8, 8), (3, *pool.target), pool), s, x)
    (one,) = counted(sketch)
    assert (one.family, one.read - 4 * 19, one.written) == ("pool", 4 * (3 * 25 + 3 * 64), 4 * 3 * 64)


@pytest.mark.parametrize("batch", [16, 64])  # dense layers by kernels of ours, and by the library
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_launch_of_a_network_is_counted(precision: Precision, batch: int) -> None:
    program = compile(load(DIGITS), make_composite("epsilon_plus_flat"), mode="top")
    scheduler = Scheduler(program, precision)
    schedule = scheduler.schedule(batch)
    found = list(launch_costs(scheduler, schedule))
    assert len(found) == len(schedule.launches)
    assert all(one.read and one.written for one in found)
    results = {life.name: life.size for life in schedule.lifetimes if isinstance(life.name, int)}
    assert sum(one.written for one in found) >= sum(results.values())
    flop = sum(one.flop for one in found if one.product is not None or one.family in ("image", "dense", "library"))
    expected = sum(
        2 * batch * math.prod(step.what.target) * math.prod(program.instructions[step.inputs[1]].shape)
        / step.what.target[0 if isinstance(step.what, Conv) else -1]
        for step in program.instructions if isinstance(step.what, Conv | Matmul) and not step.constant
    )  # fmt: skip
    # Adjoints without padding multiply what hangs over the edge as well.
    assert expected < flop < 1.1 * expected


def test_the_estimate_is_above_its_floor() -> None:
    program = compile(load(DIGITS), make_composite("epsilon_plus_flat"), mode="top")
    for batch in (1, 64):
        found = estimate.estimate(program, batch, "exact")
        assert found["launches"] == sum(row["launches"] for row in found["families"].values())
        assert found["ms"] == pytest.approx(sum(row["ms"] for row in found["families"].values()), rel=1e-2)
        assert found["ms"] == pytest.approx(sum(found["ms by"].values()), rel=1e-2)
        assert found["ms"] >= 1.7e-3 * found["launches"]
        assert found["ms"] > found["floor"]["ms"] >= found["floor"]["ms memory"]
