"""CuPy as it is, on a GPU that is not there (fake_driver): what runs lazily, is captured and is replayed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
FOLDER = HERE / "fake_driver"


@pytest.fixture(scope="module")
def run() -> Callable[..., Any]:
    """`run(code, ...)` runs Python where CuPy finds the fake GPU; the words that it prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        from fake_gpu import absent
    if why := absent():
        pytest.skip(why)

    def run(code: Any, fails: bool = False, **environment: Any) -> Any:
        paths = os.pathsep.join([str(FOLDER), str(ROOT), str(ROOT / "benchmarks")])
        words = [sys.executable, "-c", code]
        where = {**os.environ, "PYTHONPATH": paths, **environment}
        done = subprocess.run(words, env=where, cwd=ROOT, capture_output=True, text=True, check=False)
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return run


MODELS = """
import numpy as np
import onnxlrp
from fake_gpu.driver import LAUNCHED

def explain(name, samples=2, engine="cuda", **options):
    model = onnxlrp.load(f"models/{name}.onnx", engine=engine)
    x = np.random.default_rng(0).random((samples, *model.graph.inputs[0].shape)).astype(np.float32)
    return lambda: model.explain(x, **options).relevance
"""


@pytest.mark.parametrize("name", ["digits", "shapes"])
def test_launched_captured_and_replayed_as_emulated(run: Callable[..., Any], name: str) -> None:
    code = f"""{MODELS}
wanted, again = explain({name!r}, engine="emulator")(), explain({name!r})
ran = []
for _ in range(4):
    np.testing.assert_array_equal(again(), wanted)
    ran.append(tuple(LAUNCHED))
    LAUNCHED.clear()
assert len(set(ran)) == 1
assert ran[0]
"""
    run(code)


def test_the_fatbin_is_loaded_where_there_is_one(run: Callable[..., Any]) -> None:
    """The file's name and its first bytes; its kernels are then the emulator's."""
    code = f"""{MODELS}
import pathlib, tempfile
from onnxlrp.engines.cuda import build, loaders
folder = pathlib.Path(tempfile.mkdtemp())
build.cache = lambda: folder
(folder / build.fatbin_name()).write_bytes(bytes.fromhex("50ed55ba") + bytes(60))
assert loaders.load().name == "fatbin"
np.testing.assert_array_equal(explain("digits")(), explain("digits", engine="emulator")())
"""
    run(code)


def test_two_batch_sizes_and_two_methods_share_a_device(run: Callable[..., Any]) -> None:
    code = f"""{MODELS}
runs = [dict(samples=1), dict(samples=3), dict(samples=1, method="gradient"), dict(samples=2, targets=[1, 7])]
made = [(explain("digits", **how), explain("digits", engine="emulator", **how)()) for how in runs]
for _ in range(3):
    for again, wanted in made:
        np.testing.assert_array_equal(again(), wanted)
"""
    run(code)


def test_memory_that_is_not_there_splits_the_batch_or_says_so(run: Callable[..., Any]) -> None:
    code = f"""{MODELS}
wanted = explain("digits", 8, engine="emulator")()
found = explain("digits", 8)()
assert abs(found - wanted).max() <= 1e-5 * abs(wanted).max()
"""
    run(code, FAKE_GPU_MEMORY=str(2 << 20))
    said = run(f"{MODELS}\nexplain('digits')()", fails=True, FAKE_GPU_MEMORY=str(200 << 10))
    assert "of device memory" in said


def test_the_fake_gpu_is_as_late_as_a_real_one_may_be(run: Callable[..., Any]) -> None:
    """A result that nobody waits for, and an operand that another stream has yet to write, are poison."""
    code = """
import cupy, numpy as np
a, b = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
x = cupy.empty(4, np.float32)
host = np.arange(4, dtype=np.float32)
x.set(host, stream=a)
host[...] = 7                                   # pageable memory was staged
assert np.isnan(x.get(stream=b)).all()          # b does not wait for a
assert (x.get(stream=a) == np.arange(4)).all()
assert (x.get(stream=b) == np.arange(4)).all()
y = cupy.asarray(host)
assert np.isnan(y.get(stream=a)).all()
assert (y.get() == 7).all()
"""
    run(code)


def test_threads_take_turns_on_the_device_that_was_current(run: Callable[..., Any]) -> None:
    """Runs share arrays, and a thread begins on the first GPU."""
    code = f"""{MODELS}
import cupy
from concurrent.futures import ThreadPoolExecutor
cupy.cuda.Device(1).use()
made = [explain("digits", n) for n in (1, 2)]
wanted = [explain("digits", n, engine="emulator")() for n in (1, 2)]
with ThreadPoolExecutor(4) as pool:
    for n, found in [(n, pool.submit(made[n])) for n in (0, 1) * 6]:
        np.testing.assert_array_equal(found.result(), wanted[n])
"""
    run(code, FAKE_GPU_COUNT="2")


def test_a_product_by_the_library(run: Callable[..., Any]) -> None:
    """cuBLAS is called by its own name, in the library that CuPy's module is linked to."""
    code = """
import cupy, numpy as np
from onnxlrp.engines.cuda.kernels.cublas import BatchedMatmul, CuBlas, NumpyBlas, matmul_launch
rng, stream = np.random.default_rng(0), cupy.cuda.Stream(non_blocking=True)
shapes = {"rows": 5, "inner": 7, "outer": 3, "count": 2, "steps": (35, 21, 15)}
for turned in ((False, False), (True, False), (False, True)):
    one = matmul_launch(None, None, None, BatchedMatmul(transposed=turned, **shapes), "exact")
    a, b, y = (rng.random(2 * n).astype(np.float32) for n in (35, 21, 15))
    there = [cupy.asarray(x) for x in (a, b, y)]
    stream.synchronize(), cupy.cuda.runtime.deviceSynchronize()
    CuBlas(cupy, stream).launch(one.kernel, one.grid, one.block, (*there, *one.arguments[3:]))
    NumpyBlas().launch(one.kernel, one.grid, one.block, (a, b, y, *one.arguments[3:]))
    np.testing.assert_allclose(there[2].get(stream=stream), y, rtol=1e-6)
"""
    run(code)


def test_the_benchmark_from_end_to_end(run: Callable[..., Any], tmp_path: Path) -> None:
    words = ["--tiny", "--precisions", "exact", "--no-layers", "--batches", "1", "--json", str(tmp_path / "out.json")]
    said = run(f"import gpu, sys; sys.exit(gpu.main({words!r}))")
    assert "valid: digits" in said
    assert "0 failed" in said
