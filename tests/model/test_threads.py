"""One model in several threads, and in processes that are forked from the one that has loaded it."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
import pytest

import onnxlrp
from onnxlrp.engines.ort import Ort
from onnxlrp.errors import UsageError
from onnxlrp.model.interface import open_sizes
from support.forked import in_fork, needs_fork
from support.open_models import pooled
from support.paths import MODELS, ROOT

METHODS = ("auto", "gradient", "epsilon", "zplus", "gamma", "guided_backprop", "deconvnet", "gradient_x_input")


def samples(model: Any, n: int = 1) -> Any:
    return np.random.default_rng(0).normal(size=(n, *model.graph.inputs[0].shape)).astype(np.float32)


def many_threads() -> Ort:
    """The engine with threads of its own, whatever the machine has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 4
    return Ort(options=options)


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("digits", "ort"),
        ("digits", "reference"),
        pytest.param("shapes", "ort", marks=pytest.mark.slow),
        pytest.param("shapes", "reference", marks=pytest.mark.slow),
    ],
)
def test_threads_get_what_one_thread_gets(name: str, engine: str) -> None:
    model = onnxlrp.load(MODELS / f"{name}.onnx", engine=engine)
    x = samples(model)
    asked = [(method, n % 3) for n, method in enumerate(METHODS)]
    start = threading.Barrier(8)

    def explain(n: int) -> list[Any]:
        start.wait(30)
        mine = asked[n:] + asked[:n]  # each thread in an order of its own: all compile, and find what others have
        return [(one, model.explain(x, target=one[1], method=one[0])) for one in mine[:3]]

    with ThreadPoolExecutor(8) as pool:
        found = [pair for pairs in pool.map(explain, range(8)) for pair in pairs]
    assert {one for one, _ in found} == set(asked)
    alone = onnxlrp.load(MODELS / f"{name}.onnx", engine=engine)
    wanted = {one: alone.explain(x, target=one[1], method=one[0]) for one in asked}
    for one, explained in found:
        np.testing.assert_array_equal(explained.relevance, wanted[one].relevance, err_msg=str(one))
        np.testing.assert_array_equal(explained.logit, wanted[one].logit)


def test_threads_share_models_of_open_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_sizes, "_KEPT", 2)  # fewer than the sizes, so that they come and go
    model = onnxlrp.load(pooled("height", "width"), engine="reference")
    sizes = [8, 9, 10, 8, 9, 10, 8, 8]

    def explain(n: int) -> Any:
        return model.explain(np.ones((1, 3, n, n), np.float32), target=0).relevance

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(explain, sizes))
    wanted = {n: explain(n) for n in sorted(set(sizes))}
    for n, relevance in zip(sizes, found, strict=True):
        np.testing.assert_array_equal(relevance, wanted[n])


@needs_fork
@pytest.mark.parametrize("engine", ["ort", "reference"])
def test_a_forked_process_explains_as_its_parent(engine: str) -> None:
    model = onnxlrp.load(MODELS / "digits.onnx", engine=many_threads() if engine == "ort" else engine)
    x = samples(model, 2)
    wanted = {method: model.explain(x, target=1, method=method).relevance for method in ("auto", "gradient")}
    model._programs.kept.popitem()  # one is compiled in the child, the other was before

    def child() -> Any:
        return {method: model.explain(x, target=1, method=method).relevance for method in wanted}

    found = in_fork(child)
    assert not isinstance(found, Exception), found
    for method, relevance in wanted.items():
        np.testing.assert_array_equal(found[method], relevance)
    np.testing.assert_array_equal(model.explain(x, target=1).relevance, wanted["auto"])


@needs_fork
def test_a_forked_process_lets_models_go() -> None:
    """Closing a session waits for its threads, which a forked process has not."""
    models = [onnxlrp.load(MODELS / "digits.onnx", engine=many_threads())]
    models[0].explain(samples(models[0]), target=1)

    def child() -> Any:
        models.clear()
        gc.collect()
        return "gone"

    assert in_fork(child) == "gone"


@needs_fork
def test_a_fork_while_threads_hold_locks_does_not_hang() -> None:
    model = onnxlrp.load(MODELS / "digits.onnx")
    x = samples(model)
    wanted = model.explain(x, target=1).relevance
    with model._programs._lock:
        found = in_fork(lambda: model.explain(x, target=1).relevance)
    np.testing.assert_array_equal(found, wanted)


@needs_fork
def test_what_cannot_go_on_in_a_forked_process_says_so() -> None:
    from onnxlrp.runtime import Session

    class OnGpu:
        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    for session in (Session(OnGpu(), OnGpu), Session(OnGpu(), None)):
        assert isinstance(session.get(), OnGpu)
        error = in_fork(session.get)
        assert isinstance(error, UsageError)
        assert "spawn" in error.fix


_GROWTH = """
import gc, sys
import numpy as np, onnxlrp
def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * 4096
model = onnxlrp.load(sys.argv[1])
x = np.random.default_rng(0).normal(size=(2, *model.graph.inputs[0].shape)).astype(np.float32)
methods = ["auto", "gradient", "epsilon", "zplus", "guided_backprop", "deconvnet"]
def explain(n):
    if n % 2:
        model.explain(x, target=n % 10, method=methods[n // 2 % len(methods)])
    else:  # a new program each time, and an old one that goes
        model.explain(x, target=n % 10, method="gamma", gamma=0.1 + n / 1000)
for n in range(150):
    explain(n)
before = resident()
for n in range(150, 650):
    explain(n)
print(before, resident())
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_methods() -> None:
    words = [sys.executable, "-c", _GROWTH, str(MODELS / "digits.onnx")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=300, check=True)
    before, after = map(int, done.stdout.split())
    assert after < 1.05 * before, (before, after)
