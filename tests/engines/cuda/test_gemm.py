"""Convolutions on tensor cores, depthwise and first layers: every instance, emulated, against the plain meaning."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxlrp.engines.cuda.kernels import build, tiles
from onnxlrp.engines.cuda.kernels.elementwise import module
from onnxlrp.engines.cuda.kernels.tiles import (
    PRECISIONS,
    SPLITS,
    TILES,
    GemmProblem,
    Precision,
    Tile,
    Tiling,
    choose_tiling,
)
from onnxlrp.engines.cuda.planning.constants import fold_constants
from onnxlrp.engines.cuda.planning.fusion import Fused, join_chains, join_siblings
from onnxlrp.engines.cuda.planning.instructions import plan
from onnxlrp.engines.cuda.planning.phases import nearest_tf32
from onnxlrp.engines.cuda.planning.schedule import Scheduler
from onnxlrp.engines.cuda.planning.tensor_cores import TensorCorePlanner
from onnxlrp.program.linear import Conv, Reshape, Select
from onnxlrp.program.passes import Chain, fuse
from onnxlrp.program.program import Constant, Program
from support.geometries import conv, convs, weight_shape
from support.kernel_cases import EMULATORS, Case, applied, bound, each_direction, leads, meant, ran, seeds
from support.kernels_under_test import kernels

EXAMPLES = 25
FAR = {"exact": 1e-5, "fast": 2e-3}  # relative L2 of one layer against float64
each_precision = pytest.mark.parametrize("precision", PRECISIONS)
each_tile = pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile.rows}x{tile.pixels}")
choices = st.builds(Tiling, st.sampled_from(TILES), st.sampled_from((1, 2, 3, 5)))


def planned(choice: Any = None, precision: Precision = "exact") -> Any:
    """A tier that always divides products so."""
    return TensorCorePlanner(precision, (lambda product: choice) if choice else choose_tiling)


def launches(linear: Any, direction: str = "linear", batch: int = 1) -> Any:
    case = Case(np.random.default_rng(0), batch)
    n = applied(case, linear, direction)
    return plan(case.program, n, batch, fold_constants(case.program), planned())


@each_direction
@settings(max_examples=2 * EXAMPLES)
@given(
    linear=convs(),
    seed=seeds,
    targets=leads,
    batch=st.sampled_from((1, 3)),
    choice=choices,
    precision=st.sampled_from(PRECISIONS),
)
def test_any_geometry(
    direction: str, linear: Conv, seed: int, targets: int | None, batch: int, choice: Any, precision: Precision
) -> None:
    """Small whole numbers are TF32 numbers, and their sums are exact."""
    case = Case(np.random.default_rng(seed), batch, targets)
    applied(case, linear, direction)
    case.check(conv_planner=planned(choice, precision), seed=seed)


@each_direction
@settings(max_examples=EXAMPLES)
@given(
    inner=st.integers(5, 40),
    outer=st.integers(5, 140),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    before=st.integers(0, 2),
    source=st.lists(st.integers(5, 9), min_size=1, max_size=2).map(tuple),
    choice=choices,
    seed=seeds,
)
def test_many_channels(
    direction: str, inner: int, outer: int, kernel: int, stride: int, before: int, source: Any, choice: Any, seed: int
) -> None:
    case = Case(np.random.default_rng(seed), 2)
    applied(case, conv(inner, outer, kernel, stride, before, source), direction)
    case.check(conv_planner=planned(choice), check=False, seed=seed)


@each_direction
@settings(max_examples=EXAMPLES)
@given(
    inner=st.integers(1, 9),
    times=st.integers(1, 2),
    kernel=st.sampled_from((1, 2, 3, 5)),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    before=st.integers(0, 2),
    source=st.tuples(st.integers(9, 13), st.integers(9, 13)),
    seed=seeds,
)
def test_depthwise(
    direction: str,
    inner: int,
    times: int,
    kernel: int,
    stride: int,
    dilation: int,
    before: int,
    source: tuple[int, int],
    seed: int,
) -> None:
    case = Case(np.random.default_rng(seed), 2)
    applied(case, conv(inner, inner * times, kernel, stride, before, source, dilation, inner), direction)
    case.check(conv_planner=planned(), seed=seed)


@each_direction
@settings(max_examples=EXAMPLES)
@given(
    inner=st.integers(1, 4),
    outer=st.integers(1, 20),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    before=st.integers(0, 3),
    source=st.tuples(st.integers(7, 24), st.integers(7, 24)),
    seed=seeds,
)
def test_first_layers(
    direction: str, inner: int, outer: int, kernel: int, stride: int, before: int, source: tuple[int, int], seed: int
) -> None:
    case = Case(np.random.default_rng(seed), 2)
    applied(case, conv(inner, outer, kernel, stride, before, source), direction)
    case.check(conv_planner=planned(), seed=seed)


GEOMETRIES = {
    "3x3": conv(20, 40, 3, 1, 1, (9, 7)),
    "3x3 aligned": conv(20, 40, 3, 1, 1, (8, 8)),
    "3x3 by 2": conv(20, 40, 3, 2, 1, (9, 8)),
    "1x1": conv(36, 70, 1, 1, 0, (7, 7)),
    "1x1 aligned": conv(36, 70, 1, 1, 0, (6, 10)),
    "1x1 by 2": conv(20, 40, 1, 2, 0, (7, 6)),
    "1x1 in three axes": conv(20, 40, 1, 1, 0, (3, 4, 5)),
    "5x5 dilated": conv(7, 18, 5, 1, 4, (8, 9), 2),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("precision", PRECISIONS)
@each_tile
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_instance_stays_in_its_arrays(geometry: str, tile: Any, precision: Precision) -> None:
    """Every access is looked at; odd sums are shared."""
    for direction, splits in itertools.product(("linear", "adjoint"), (1, 3)):
        case = Case(np.random.default_rng(0), 3)
        applied(case, GEOMETRIES[geometry], direction)
        case.check(conv_planner=planned(Tiling(tile, splits), precision))


@settings(max_examples=EXAMPLES)
@given(linear=convs(), seed=seeds, targets=leads, choice=choices)
def test_a_bias_is_added_once(linear: Conv, seed: int, targets: int | None, choice: Any) -> None:
    case = Case(np.random.default_rng(seed), 2, targets)
    x, weight, bias = (
        case.first_operand(linear.source),
        case.constant(whole(case, weight_shape(linear))),
        case.constant(whole(case, linear.target[:1])),
    )
    case.linear(linear, x, weight, bias, biased=True)
    case.check(conv_planner=planned(choice))


def test_a_bias_of_every_pixel() -> None:
    linear = conv(8, 20, 3, 1, 1)
    case = Case(np.random.default_rng(0), 2)
    x, weight = case.read(linear.source), case.constant(whole(case, weight_shape(linear)))
    case.linear(linear, x, weight, case.read(linear.target), biased=True)
    case.check(conv_planner=planned(Tiling(TILES[2], 2)))


def whole(case: Any, shape: Any) -> Any:
    return case.rng.integers(-4, 5, size=shape).astype(np.float64)


# -- precision


def normal(linear: Conv, direction: str, seed: int = 0, positive: bool = False) -> tuple[Case, int]:
    """The case with real numbers, of one sign as in a z+ pass or of both."""
    case = Case(np.random.default_rng(seed), 2)
    n = applied(case, linear, direction)
    numbers = [case.rng.standard_normal(shape) for shape in (case.arrays[0].shape, case.steps[1].shape)]
    x, w = (np.abs(a).astype(np.float32) if positive else a.astype(np.float32) for a in numbers)
    case.arrays[0] = x
    weight = case.steps[1].what
    assert isinstance(weight, Constant)
    weight.array[...] = w
    return case, n


@pytest.mark.few(8)
@each_precision
@pytest.mark.parametrize("positive", [False, True])
@each_direction
@pytest.mark.parametrize("linear", [conv(200, 64, 3, 1, 1), conv(64, 100, 1), conv(40, 40, 3, 2, 1)])
def test_precision(linear: Any, direction: str, positive: bool, precision: Precision) -> None:
    case, n = normal(linear, direction, positive=positive)
    expected = meant(case.program, case.arrays)[n]
    for choice in (Tiling(TILES[2], 1), Tiling(TILES[4], 4)):
        actual = ran(case.program, 2, case.arrays, check=False, conv_planner=planned(choice, precision))[n]
        assert np.linalg.norm(actual - expected) <= FAR[precision] / 3 * np.linalg.norm(expected)
        assert abs(actual.sum(dtype=float) - expected.sum()) <= FAR[precision] * np.abs(expected).sum()


@each_direction
@pytest.mark.parametrize("linear", [conv(30, 30, 3, 1, 1, group=30), conv(3, 20, 7, 2, 3, (20, 20))])
def test_direct_kernels_are_float32(linear: Any, direction: str) -> None:
    case, n = normal(linear, direction)
    expected = meant(case.program, case.arrays)[n]
    actual = ran(case.program, 2, case.arrays, conv_planner=planned())[n]
    assert np.linalg.norm(actual - expected) <= 1e-6 * np.linalg.norm(expected)


@each_precision
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(special: Any, precision: Precision) -> None:
    linear = conv(8, 20, 3, 1, 1)
    case, n = normal(linear, "linear")
    case.arrays[0][0, 3, 4, 4] = special
    actual = ran(case.program, 2, case.arrays, conv_planner=planned(precision=precision))[n]
    assert not np.isfinite(actual[0, :, 3:6, 3:6]).any()
    assert np.isfinite(actual[1]).all()
    assert np.isfinite(actual[0, :, :3]).all()


@each_precision
@pytest.mark.parametrize("splits", [1, 3])
@each_tile
def test_runs_are_equal_to_the_bit(tile: Any, splits: int, precision: Precision) -> None:
    case, n = normal(conv(50, 30, 3, 2, 1), "adjoint")
    conv_planner = planned(Tiling(tile, splits), precision)
    first, second = (
        ran(case.program, 2, case.arrays, check=False, seed=s, conv_planner=conv_planner)[n] for s in (0, 1)
    )
    np.testing.assert_array_equal(first, second)


def test_tf32_is_rounded_to_nearest() -> None:
    few = [1, 1 + 2**-11, 1 + 2**-11 - 2**-23, -1 - 2**-11, 3.4028235e38, np.inf, np.nan, 0.0, -0.0, 1e-42]
    x = np.array(few, np.float32)
    up = np.float32(1 + 2**-10)
    expected = np.array([1, up, 1, -up, np.inf, np.inf, np.nan, 0.0, -0.0, 0.0], np.float32)
    np.testing.assert_array_equal(nearest_tf32(x), expected)


# -- planning


def test_tiles_are_what_the_kernels_are() -> None:
    text = (build.CSRC / "kernels" / "gemm_instances.cuh").read_text("utf-8")
    assert re.findall(r"^GEMM\(.*\)\n", text, re.M) == tiles.instances().splitlines(keepends=True)


@each_precision
@each_tile
def test_a_multiprocessor_has_room_for_the_resident_blocks(tile: Tile, precision: Precision) -> None:
    """On an A100: 164 KiB of shared memory, of which each block reserves 1 KiB, and 2048 threads."""
    resident = tile.warp(precision).resident
    assert (tile.shared + 1024) * resident <= 164 << 10
    assert tile.threads(precision) * resident <= 2048


def conflicts(words: Any, width: Any) -> Any:
    """Whether two lanes that are served together (32 banks of a word each, `width` words a lane) meet in a bank."""
    together = 32 // width
    parts = [words[k : k + together] for k in range(0, 32, together)]
    return any(len({(w + e) % 32 for w in part for e in range(width)}) < 32 for part in parts)


@each_tile
def test_no_two_lanes_meet_in_a_bank(tile: Any) -> None:
    pitch = tile.pixels + 8
    lanes = [(lane // 4, lane % 4) for lane in range(32)]
    assert not conflicts([4 * lane for lane in range(32)], 4)  # reads and copies of weights
    assert not conflicts([t * pitch + 2 * g for g, t in lanes], 2)  # reads of pixels
    assert conflicts([t * (pitch - 8) + 2 * g for g, t in lanes], 2)  # what the pitch is for
    for width in (1, 4):  # copies of pixels, one or four at a time
        columns = tile.pixels // width
        places = [lane // columns * pitch + lane % columns * width for lane in range(32)]
        assert not conflicts(places, width)


def resnet50() -> Iterator[tuple[Any, ...]]:
    """(channels in and out, kernel, stride, size of the source) of its convolutions."""
    yield 3, 64, 7, 2, 224
    inner = 64
    for width, size, count in ((64, 56, 3), (128, 28, 4), (256, 14, 6), (512, 7, 3)):
        for k in range(count):
            stride = 2 if k == 0 and size < 56 else 1
            yield inner, width, 1, 1, size * stride
            yield width, width, 3, stride, size * stride
            yield width, 4 * width, 1, 1, size
            if k == 0:
                yield inner, 4 * width, 1, stride, size * stride
            inner = 4 * width


def vgg16() -> Iterator[tuple[Any, Any, int, int, Any]]:
    inner = 3
    for width, size, count in ((64, 224, 2), (128, 112, 2), (256, 56, 3), (512, 28, 3), (512, 14, 3)):
        for _ in range(count):
            yield inner, width, 3, 1, size
            inner = width


NETWORKS = {"resnet50": set(resnet50()), "vgg16": set(vgg16())}


@pytest.mark.few(1)
@each_direction
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("network", NETWORKS)
def test_known_networks_have_no_plain_convolution(network: str, batch: int, direction: str) -> None:
    for inner, outer, kernel, stride, size in NETWORKS[network]:
        linear = conv(inner, outer, kernel, stride, kernel // 2, (size, size))
        names = [one.kernel for one in launches(linear, direction, batch)]
        assert all(name.startswith(("gemm_", "image_")) for name in names), names


@each_direction
def test_depthwise_and_pointwise_of_mobilenet_are_not_plain(direction: str) -> None:
    for channels, stride, size in ((32, 1, 112), (96, 2, 112), (144, 1, 56), (960, 1, 7)):
        (one,) = launches(conv(channels, channels, 3, stride, 1, (size, size), group=channels), direction)
        assert one.kernel.startswith("depthwise_")
        assert one.kernel.endswith("_any") is False
        assert launches(conv(channels, 24, 1, 1, 0, (size, size)), direction)[0].kernel.startswith("gemm_")


def test_what_the_tier_leaves_alone() -> None:
    for linear in (conv(8, 8, 3, 1, 1, (4, 4, 4)), conv(8, 8, 3, 1, 1, group=2)):
        assert launches(linear)[0].kernel == "conv_forward"


def test_small_grids_share_their_sums() -> None:
    few = choose_tiling(GemmProblem(512, 49, 288))
    blocks = -(-512 // few.tile.rows) * -(-49 // few.tile.pixels) * few.splits
    assert few.splits > 1
    assert blocks >= 90
    assert choose_tiling(GemmProblem(256, 64 * 56 * 56, 36)).splits == 1
    assert choose_tiling(GemmProblem(24, 16 * 56 * 56, 9)).tile.rows == 32
    assert {one.splits for one in (choose_tiling(GemmProblem(64, 49, steps)) for steps in (1, 2, 3))} == {1}
    assert few.splits in SPLITS


def test_weights_are_laid_out_once() -> None:
    conv_planner = TensorCorePlanner()
    case = Case(np.random.default_rng(0), 1)
    n = applied(case, conv(8, 20, 3), "linear")
    tables = [plan(case.program, n, batch, {}, conv_planner)[0].arguments[1] for batch in (1, 2)]
    assert tables[0] is tables[1]


# -- chains that products go on with


class Ending:
    """A convolution or a max-pool and maps behind it, over operands of every kind, as the engine drafts them."""

    def __init__(self, seed: int, precision: Any, choice: Any) -> None:
        rng = random.Random(seed)
        case = self.case = Case(np.random.default_rng(seed), rng.choice((1, 2)), rng.choice((None, None, 2)))
        kind = rng.choice(("product", "product", "depthwise", "pool"))
        linear: Conv | Select
        if kind == "depthwise":
            linear = conv(5, 5, rng.randint(2, 3), 1, 1, rng.choice(((6, 6), (7, 7))), rng.randint(1, 2), 5)
        elif kind == "pool":
            window = conv(1, 1, rng.randint(2, 3), 2, rng.randint(0, 1), rng.choice(((6, 6), (7, 7)))).window
            linear = Select((5, *window.source), (5, *window.target), window)
        else:
            linear = conv(rng.randint(5, 20), rng.randint(5, 40), rng.randint(1, 3), rng.randint(1, 2), 1, (6, 6))
        self.count = choice.splits if kind == "product" else 1
        direction = "adjoint" if kind == "pool" else rng.choice(("linear", "adjoint"))
        product = applied(case, linear, direction)
        whole = case.steps[product].shape
        leaves = [product, case.read(whole), case.constant(0.5), case.constant(self._numbers(whole[0], 1, 1))]
        leaves.append(case.constant(self._numbers(*whole)))
        leaves.append(case.constant(self._numbers(1, *whole[1:])))
        value = case.map("add", product, leaves[1])
        for _ in range(rng.randint(0, 5)):
            op = rng.choice(("add", "sub", "mul", "max", "square", "stabilize", "greater"))
            others = [] if op in ("square", "stabilize") else [rng.choice(leaves)]
            value = case.map(op, value, *others, parameter=0.25)
        self.last = case.map("sub", value, case.map("mul", product, leaves[3]))
        self.scheduler = Scheduler(case.program, precision)
        self.scheduler.tensor_cores.choose = lambda product: choice
        self.schedule = self.scheduler.schedule(case.batch)

    def _numbers(self, *shape: Any) -> Any:
        return self.case.rng.integers(-4, 5, size=shape).astype(np.float64) + 0.5 * np.arange(shape[0])[:, None, None]

    def run(self, kernels: Any, seed: int = 0) -> Any:
        """The result, from the kernels of the draft."""
        held = {
            n: np.ascontiguousarray(a, np.float32) for n, a in {**self.scheduler.constants, **self.case.arrays}.items()
        }
        for life in self.schedule.lifetimes:
            if isinstance(life.name, int):
                held[life.name] = np.full(self.scheduler.shape(life.name, self.case.batch), np.nan, np.float32)
        scratches = {}
        for _, one in self.schedule.launches:
            arguments = [bound(a, held, scratches, {}) for a in one.arguments]
            made = kernels if one.source else EMULATORS[True]
            made.launch(one.kernel, one.grid, one.block, arguments, one.shared)
        return held[self.last]


@pytest.mark.few(1)
@pytest.mark.parametrize("splits", [1, 2])
def test_products_go_on_with_their_sums(splits: int) -> None:
    cases = [Ending(seed, "exact", Tiling(TILES[seed % len(TILES)], splits)) for seed in range(24)]
    launches = [one for case in cases for _, one in case.schedule.launches]
    generated = kernels(check=True).from_source(module(launches))
    for case in cases:
        assert any(isinstance(item, Fused) for item in case.scheduler.order)
        assert len(case.schedule.launches) == case.count
        expected = meant(case.case.program, {**case.case.arrays, "batch": case.case.batch})[case.last]
        np.testing.assert_allclose(case.run(generated), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_a_product_that_others_read_is_stored() -> None:
    case = Case(np.random.default_rng(0), 1)
    product = applied(case, conv(8, 8, 3, 1, 1), "linear")
    y = case.map("mul", product, case.read((8, 9, 8)))
    case.linear(Reshape((8, 9, 8), (8, 72)), product)
    program = Program(tuple(case.steps), {"y": y, "z": len(case.steps) - 1})
    assert not any(isinstance(item, Fused) for item in Scheduler(program, "exact").order)
    assert any(
        isinstance(item, Fused) for item in Scheduler(Program(program.instructions[:-1], {"y": y}), "exact").order
    )
    assert not any(
        isinstance(item, Fused) for item in Scheduler(Program(program.instructions[:-1], {"y": y}), None).order
    )


def test_a_chain_of_two_products_goes_to_the_later_one() -> None:
    case = Case(np.random.default_rng(0), 1)
    linear = conv(8, 8, 3, 1, 1)
    first, second = applied(case, linear, "adjoint"), applied(case, linear, "linear")
    y = case.map("div", first, second)
    order = Scheduler(Program(tuple(case.steps), {"y": y}), "exact").order
    assert [item.steps for item in order if isinstance(item, Fused)] == [(second, y)]


def test_a_chain_that_one_other_reads_is_part_of_it() -> None:
    case = Case(np.random.default_rng(0), 1)
    x, other = case.read((8, 9, 8)), case.read((8, 9, 8))
    early = case.map("add", x, case.constant(1.0))
    product = applied(case, conv(8, 8, 3, 1, 1), "linear")
    y = case.map("mul", case.map("div", product, early), other)
    program = Program(tuple(case.steps), {"y": y})
    chains = [item for item in fuse(program) if isinstance(item, Chain)]
    (one,) = [item for item in join_chains(program, fuse(program)) if isinstance(item, Chain)]
    assert [chain.steps for chain in chains] == [(early,), (y - 1, y)]
    assert (one.steps, one.results) == ((early, y - 1, y), (y,))
    seen = Program(program.instructions, {"y": y, "early": early})
    assert join_chains(seen, fuse(seen)) == fuse(seen)
    shared = Program((*program.instructions, *applied_to(early, case)), {"y": y, "z": len(program.instructions)})
    assert join_chains(shared, fuse(shared)) == fuse(shared)


def test_chains_of_one_operand_are_one_launch() -> None:
    case = Case(np.random.default_rng(0), 2)
    x, other = case.read((8, 9, 8)), case.read((8, 9, 8))
    zero = case.constant(0.0)
    parts = [case.map("max", x, zero), case.map("min", x, zero), case.map("min", other, zero)]
    program = Program(tuple(case.steps), {"a": parts[0], "b": parts[1], "c": parts[2]})
    scheduler = Scheduler(program, "exact")
    assert [item.results for item in scheduler.order if isinstance(item, Chain)] == [tuple(parts[:2]), (parts[2],)]
    after = case.map("mul", parts[0], x)
    program = Program(tuple(case.steps), {"a": parts[0], "y": after})
    chains = [Chain((parts[0],), (parts[0],)), Chain((after,), (after,))]
    assert join_siblings(program, chains) == tuple(chains)


def applied_to(n: Any, case: Any) -> tuple[Any]:
    """Another reader of the instruction."""
    case.linear(Reshape(case.steps[n].shape, (576,)), n)
    return (case.steps.pop(),)
