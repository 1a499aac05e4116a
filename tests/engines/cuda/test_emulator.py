"""The emulator finds the mistakes that it is for, and does what the GPU does where there is none."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxlrp.engines.cuda.kernels import build
from onnxlrp.engines.cuda.runtime import emulated, loaders
from onnxlrp.errors import UsageError
from support.arrays import Array

_emulator = pytest.importorskip("onnxlrp._emulator", reason="the emulator extension is not built (no C++ compiler?)")
try:
    emulated.host_compiler()
except UsageError as error:
    pytest.skip(str(error), allow_module_level=True)

SOURCE = Path(__file__).with_name("emulator.cu").read_text("utf-8")
SEEDS = range(5)


@pytest.fixture(scope="module")
def fast() -> Any:
    return emulated.compile_source(SOURCE)


@pytest.fixture(scope="module")
def watched() -> Any:
    return emulated.compile_source(SOURCE, check=True)


@pytest.fixture(params=["fast", "watched"])
def library(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Each test of what is right runs on both, the watched one with every check on."""
    made = request.getfixturevalue(request.param)

    def launch(name: Any, grid: Any, block: Any, *args: Any, shared: int = 0, seed: int = 0) -> None:
        made.launch(name, grid, block, args, shared, made.instrumented, seed)

    return launch


def fails(
    library: Any,
    pattern: Any,
    name: Any,
    block: Any,
    *args: Any,
    grid: Any = (1,),
    shared: int = 0,
    check: bool = True,
    seed: int = 0,
) -> None:
    with pytest.raises(_emulator.KernelError, match=pattern) as caught:
        library.launch(name, grid, block, args, shared, check, seed)
    assert f"kernel {name}" in str(caught.value)


def arange(count: Any, dtype: Any = np.float32) -> Array:
    return np.arange(count, dtype=dtype)


# ---- Barriers ----


def test_a_barrier_orders_threads(library: Callable[..., Any]) -> None:
    for seed in SEEDS:
        y = np.zeros(128, np.float32)
        library("rotate", (1,), (128,), arange(128), y, shared=512, seed=seed)
        assert np.array_equal(y, np.roll(arange(128), -1))


def test_a_missing_barrier_gives_a_wrong_result(fast: Any) -> None:
    for seed in SEEDS:
        y = np.zeros(128, np.float32)
        fast.launch("rotate_without_barrier", (1,), (128,), (arange(128), y), 512, seed=seed)
        assert np.isnan(y).any()


def test_a_missing_barrier_is_named(watched: Any) -> None:
    fails(
        watched, "byte .* of dynamic shared memory, which thread .*: a race", "rotate_without_barrier", (128,),
        arange(128), np.zeros(128, np.float32), shared=512,
    )  # fmt: skip


def test_a_missing_second_barrier_gives_a_wrong_result(fast: Any, library: Callable[..., Any], watched: Any) -> None:
    expected = arange(128)
    for _ in range(6):
        expected = expected + np.roll(expected, -1)
    x = arange(128)
    library("rounds", (1,), (128,), x, 6)
    assert np.array_equal(x, expected)
    x = arange(128)
    fast.launch("rounds_without_second_barrier", (1,), (128,), (x, 6))
    assert not np.array_equal(x, expected)
    fails(watched, "static shared memory.*race", "rounds_without_second_barrier", (128,), arange(128), 6)


def test_a_barrier_that_some_skip_is_a_deadlock(fast: Any) -> None:
    fails(
        fast, r"deadlock: .* and 15 more wait at __syncthreads \(generated:\d+\), thread .* and 111 more have left",
        "rotate_some_skip_barrier", (128,), arange(128), np.zeros(128, np.float32), shared=512, check=False,
    )  # fmt: skip


def test_two_barriers_are_not_one(fast: Any) -> None:
    fails(fast, "threads of a block have diverged", "two_barriers", (128,), np.zeros(128, np.float32), check=False)


# ---- Races ----


def test_a_race_through_shared_memory_is_named(watched: Any) -> None:
    fails(
        watched, r"(reads|writes) byte \d+ of static shared memory, which thread \(\d+, 0, 0\) (read|wrote): a race",
        "add_in_shared", (64,), arange(64), np.zeros(1, np.float32),
    )  # fmt: skip


def test_a_race_between_blocks_is_named(watched: Any) -> None:
    fails(
        watched, r"argument 1 \(float32\(1,\)\), which thread .* of block .* (read|wrote): a race",
        "add_in_global", (1,), arange(64), np.zeros(1, np.float32), grid=(64,),
    )  # fmt: skip


def test_atomics_do_not_race(library: Callable[..., Any]) -> None:
    y, most = np.zeros(1, np.float32), np.zeros(1, np.int32)
    library("add_atomically", (8,), (64,), arange(512), y, most)
    assert y[0] == arange(512).sum()
    assert most[0] == 511


def test_a_warp_orders_its_lanes_by_syncwarp(library: Callable[..., Any], fast: Any, watched: Any) -> None:
    y = np.zeros(32, np.int32)
    library("pass_in_warp", (1,), (32,), y)
    assert np.array_equal(y, arange(32)[::-1])
    fast.launch("pass_in_warp_without", (1,), (32,), (y,))
    assert (y < 0).any()
    fails(watched, "a race", "pass_in_warp_without", (32,), y)
    fails(watched, "a race", "pass_in_warp_by_shuffle", (32,), y)


# ---- Memory ----


@pytest.mark.parametrize(
    ("index", "where"), [(100, "0 bytes past the end"), (131, "124 bytes past"), (-1, "4 bytes before")]
)
@pytest.mark.parametrize("check", ["canary", "exact"])
def test_a_write_out_of_bounds_is_named(fast: Any, watched: Any, check: str, index: int, where: str) -> None:
    library = fast if check == "canary" else watched
    y = np.zeros(300, np.float32)[100:200]
    pattern = rf"{where}.* argument 0 \(float32\(100,\)\)" if check == "exact" else r"argument 0 \(float32\(100,\)\)"
    fails(library, pattern, "write_at", (32,), y, index)
    assert not y.base.any()
    if check == "exact":
        fails(library, r"block \(0, 0, 0\), thread \(3, 0, 0\) writes", "write_at", (32,), y, index)


def test_a_read_out_of_bounds_is_named(watched: Any) -> None:
    y = np.zeros(1, np.float32)
    fails(
        watched,
        r"thread \(3, 0, 0\) reads 4 bytes 8 bytes past the end of argument 0",
        "read_at",
        (32,),
        arange(10),
        y,
        12,
    )


def test_far_out_of_bounds_is_an_error_without_checks(fast: Any) -> None:
    y = np.zeros(1, np.float32)
    fails(fast, r"thread \(3, 0, 0\) touches memory at 0x", "write_at", (32,), y, 1 << 30, check=False)


def test_shared_memory_has_bounds(fast: Any, watched: Any) -> None:
    fails(
        watched,
        r"writes 4 bytes 0 bytes past the end of dynamic shared memory \(64 bytes\)",
        "write_shared_at",
        (32,),
        16,
        shared=64,
    )
    fails(fast, "past the end of dynamic shared memory", "write_shared_at", (32,), 16, shared=64, check=False)
    fails(watched, "4 bytes before the start of dynamic shared memory", "write_shared_at", (32,), -1, shared=64)


def test_read_only_arrays_stay_so(fast: Any, watched: Any) -> None:
    x = np.zeros(32, np.float32)
    x.flags.writeable = False
    fails(fast, r"argument 0 \(float32\(32,\)\), which is read-only", "write_read_only", (32,), x)
    fails(watched, r"argument 0 \(float32\(32,\)\), which is read-only", "write_read_only", (32,), x)
    assert not x.any()


def test_arrays_that_overlap_stay_so(library: Callable[..., Any]) -> None:
    x = arange(256)
    library("rotate", (1,), (128,), x[:128], x[64:192], shared=512)
    assert np.array_equal(x[64:192], np.roll(arange(128), -1))


def test_shared_memory_is_poison_until_it_is_written(library: Callable[..., Any]) -> None:
    y = np.zeros(64, np.float32)
    for _ in range(2):  # the first launch leaves zeros
        library("show_poison", (1,), (32,), y, shared=128)
        assert np.isnan(y).all()


def test_dividing_by_zero_is_an_error(fast: Any) -> None:
    fails(fast, "divides an integer by zero", "divide", (1,), np.ones(1, np.int32), 0, check=False)


def test_a_full_stack_is_an_error(fast: Any) -> None:
    fails(fast, "below its stack|touches memory", "overflow_stack", (1,), np.ones(1, np.float32), 60000, check=False)


def test_after_an_error_all_is_well(library: Callable[..., Any], fast: Any) -> None:
    fails(fast, "deadlock", "lane_leaves", (32,), np.zeros(32, np.int32))
    test_a_barrier_orders_threads(library)


# ---- Asynchronous copies ----


@pytest.mark.parametrize("waits", [0, 1, 2])
def test_a_copy_read_too_early_is_poison(fast: Any, waits: int) -> None:
    y = np.zeros(64, np.float32)
    fast.launch("copy_in_groups", (1,), (32,), (arange(64), y, waits), 256)
    expected = [arange(64)[:32][::-1], arange(64)[32:][::-1]]
    for group in range(2):
        part = y[32 * group : 32 * group + 32]
        assert np.array_equal(part, expected[group]) if group < waits else np.isnan(part).all()


def test_a_copy_read_in_time_is_no_race(watched: Any) -> None:
    y = np.zeros(64, np.float32)
    watched.launch("copy_in_groups", (1,), (32,), (arange(64), y, 2), 256, True)
    assert np.array_equal(y, np.concatenate([arange(32)[::-1], arange(64)[32:][::-1]]))


def test_copies_fill_with_zeros_and_want_alignment(library: Callable[..., Any], fast: Any, watched: Any) -> None:
    y = np.full(4, 7, np.float32)
    library("copy_some", (1,), (1,), arange(4) + 1, y, 8, 0, shared=64)
    assert y.tolist() == [1, 2, 0, 0]
    fails(fast, "another alignment", "copy_some", (1,), arange(4), y, 16, 1, shared=64)
    fails(watched, "past the end of argument 0", "copy_some", (1,), arange(2), y, 16, 0, shared=64)


# ---- Warps ----


def tf32(x: Any) -> Any:
    """The nearest number with ten bits of mantissa, ties away from zero."""
    return ((x.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32)


@pytest.mark.parametrize("rounded", [True, False])
def test_fragments_multiply_as_matrices(library: Callable[..., Any], rounded: bool) -> None:
    random = np.random.default_rng(0)
    a, b, c = (random.standard_normal(shape).astype(np.float32) for shape in [(16, 24), (24, 8), (16, 8)])
    cut = tf32 if rounded else lambda x: (x.view(np.uint32) & 0xFFFFE000).view(np.float32)
    expected = c + cut(a).astype(np.float64) @ cut(b)
    library("multiply", (1,), (32,), a, b, c, 24, int(rounded))
    assert np.allclose(c, expected, rtol=0, atol=1e-5)
    assert not np.allclose(c, c + a @ b, rtol=0, atol=1e-5)


def test_tf32_rounds_ties_away_from_zero(library: Callable[..., Any]) -> None:
    a, b = np.zeros((16, 8), np.float32), np.eye(8, dtype=np.float32)
    a[0, :6] = np.array([1 + 2**-11, -1 - 2**-11, 1 + 2**-12, 1 + 3 * 2**-11, 0, np.inf], np.float32)
    a[0, 5] = 2**100
    c = np.zeros((16, 8), np.float32)
    library("multiply", (1,), (32,), a, b, c, 8, 1)
    assert c[0, :6].tolist() == [1 + 2**-10, -1 - 2**-10, 1, 1 + 2**-9, 0, 2**100]


@pytest.mark.parametrize("width", [32, 16, 8])
@pytest.mark.parametrize("threads", [32, 96])
def test_shuffles(library: Callable[..., Any], width: int, threads: int) -> None:
    x, y = np.random.default_rng(0).integers(0, 99, threads, np.int32), np.zeros((4, threads), np.int32)
    library("shuffles", (1,), (threads,), x, y, width)
    t = np.arange(threads)
    segment = t // width * width
    at = t - segment
    assert np.array_equal(y[0], x[segment + 5 % width])
    assert np.array_equal(y[1], x[t ^ 3])
    assert np.array_equal(y[2], x[np.where(at + 2 < width, t + 2, t)])
    assert np.array_equal(y[3], x[np.where(at >= 2, t - 2, t)])


def test_votes(library: Callable[..., Any]) -> None:
    x = np.zeros(64, np.int32)
    x[[0, 3, 31]], x[32:] = 1, 1
    y = np.zeros((3, 64), np.uint32)
    library("votes", (1,), (64,), x, y)
    assert set(y[0, :32]) == {0x80000009}
    assert set(y[0, 32:]) == {0xFFFFFFFF}
    assert (y[1] == 1).all()
    assert not y[2, :32].any()
    assert (y[2, 32:] == 1).all()


def test_halves_of_a_warp_go_their_own_way(library: Callable[..., Any]) -> None:
    y = np.zeros(32, np.int32)
    library("halves", (1,), (32,), y)
    t = np.arange(32)
    assert np.array_equal(y, np.where(t < 16, t ^ 1, 100 * (t ^ 2 ^ 1)))


def test_a_diverged_warp_is_named(fast: Any) -> None:
    y = np.zeros(32, np.int32)
    fails(fast, "lanes of a warp have diverged", "warp_diverges", (32,), y)
    fails(
        fast, r"31|30 more wait at __shfl_xor_sync .* thread \(7, 0, 0\) has left the kernel", "lane_leaves", (32,), y
    )


# ---- Launches ----


def test_every_thread_of_every_block_runs_once(library: Callable[..., Any]) -> None:
    before = _emulator.workers()
    for workers in (1, 3):
        _emulator.workers(workers)
        y = np.zeros((4, 3, 2, 3, 5, 7), np.int32)
        library("where", (2, 3, 4), (7, 5, 3), y, None)
        assert np.array_equal(y.ravel(), np.arange(y.size))
    _emulator.workers(before)


def test_the_seed_is_the_order_of_threads(fast: Any) -> None:
    def order(seed: int) -> Any:
        y = np.zeros(128, np.int32)
        fast.launch("arrival", (1,), (128,), (y, np.zeros(1, np.int32)), seed=seed)
        return y.tolist()

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in SEEDS}) == len(SEEDS)


def test_values_arrive_as_their_types(library: Callable[..., Any]) -> None:
    y = np.zeros(4)
    pair = np.array([(3, 0.5)], np.dtype([("a", np.int32), ("b", np.float32)]))
    library("by_value", (1,), (1,), pair, -(2**40), True, y)
    assert y.tolist() == [3, 0.5, -(2**40), 1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((2.0, arange(4), arange(4)), "takes 4 arguments, not 3"),
        ((2, arange(4), arange(4), 4), "argument 0 is a float32, not 2"),
        ((2.0, arange(4, np.float64), arange(4), 4), "argument 1 is a float32 array, not"),
        ((2.0, 0, arange(4), 4), "argument 1 is a float32 array, not 0"),
        ((2.0, arange(8)[::2], arange(4), 4), "not contiguous"),
        ((2.0, arange(4), arange(4), 2**31), "argument 3 is a int32, not 2147483648"),
        ((2.0, arange(4), arange(4), 4.0), "argument 3 is a int32, not 4.0"),
    ],
)
def test_arguments_of_another_type_are_refused(args: tuple[Any, ...], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        _emulator.builtin.launch("axpy", (1,), (4,), args)


def test_vectors_want_alignment(library: Callable[..., Any], fast: Any) -> None:
    y = np.zeros(20, np.float32)
    start = -(y.ctypes.data // 4) % 4
    library("write_vector", (1,), (2,), y[start : start + 8])
    assert y[start : start + 8].tolist() == [1, 2, 3, 4] * 2
    with pytest.raises(ValueError, match="not aligned to 16 bytes"):
        fast.launch("write_vector", (1,), (2,), (y[start + 1 : start + 9],))


@pytest.mark.parametrize(
    ("grid", "block", "shared"), [((0,), (1,), 0), ((1,), (1025,), 0), ((1, 70000), (1,), 0), ((1,), (1,), 300_000)]
)
def test_what_no_gpu_launches_is_refused(fast: Any, grid: tuple[int, ...], block: tuple[int], shared: int) -> None:
    with pytest.raises(_emulator.KernelError, match="kernel arrival: "):
        fast.launch("arrival", grid, block, (np.zeros(2000, np.int32), np.zeros(1, np.int32)), shared)


# ---- Loaders ----


@pytest.mark.parametrize("check", [False, True])
def test_the_emulator_is_one_of_the_loaders(check: bool) -> None:
    kernels = loaders.load("emulator", check=check)
    y = np.ones(1000, np.float32)
    kernels.launch("axpy", (4,), (256,), (2.0, arange(1000), y, 1000))
    assert np.array_equal(y, 1 + 2 * arange(1000))
    made = kernels.from_source(
        'extern "C" __global__ void __launch_bounds__(256) fill(float* y) { y[threadIdx.x] = infinity(); }'
    )
    made.launch("fill", (1,), (256,), (y,))
    assert np.isinf(y[:256]).all()
    if check:
        with pytest.raises(_emulator.KernelError, match="past the end of argument 0"):
            made.launch("fill", (1,), (256,), (y[:255],))


def test_sources_need_no_files() -> None:
    lines = build.source().splitlines()
    assert not [line for line in lines if line.startswith("#include")]
    assert any("void axpy(" in line for line in lines)


def test_loaders_say_what_is_missing() -> None:
    with pytest.raises(UsageError, match='did you mean "emulator"'):
        loaders.load("emulater")
    with pytest.raises(UsageError, match="host compiler rejects the kernels"):
        emulated.compile_source('extern "C" __global__ void broken(float* y) { y[0] = nowhere; }')


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on the PATH")
def test_nvcc_accepts_what_the_emulator_runs(tmp_path: Path) -> None:
    source = tmp_path / "emulator.cu"
    source.write_text(build.with_ptx(SOURCE), "utf-8")
    command = [
        "nvcc",
        "-cubin",
        "-arch=sm_80",
        *build.FLAGS,
        "-diag-suppress=177,549",
        str(source),
        "-o",
        str(tmp_path / "cubin"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
