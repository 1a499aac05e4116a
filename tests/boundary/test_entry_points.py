"""Comparison, evaluation, checks and streaming, fed with what does not fit: a result or an OnnxLrpError."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxlrp
from onnxlrp.checks import suite
from onnxlrp.checks.settings import Settings
from onnxlrp.comparison.compare import CompareOptions, compare
from onnxlrp.errors import OnnxLrpError
from onnxlrp.evaluation.evaluate import evaluate
from onnxlrp.model.options.explain import ExplainOptions
from onnxlrp.streaming import batches, collect, sinks, sources

ODD: tuple[Any, ...] = (
    None, "", "nothing", -1, 0, 10**30, float("nan"), float("inf"), [], {}, object(), b"\0", np.nan, ("a", 1), 1j, True,
    [None], {"a": object()}, "x" * 5000, np.zeros((2, 3), complex),
)  # fmt: skip


def small(classes: int = 2) -> onnx.ModelProto:
    rng = np.random.default_rng(classes)
    weights = {"w": rng.normal(size=(4, 3, 3, 3)), "v": rng.normal(size=(4, classes))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"), helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]), helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "v"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, ["N", classes])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


X = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
NAMED = [("a", X[0]), ("b", X[1])]


def foreign(calls: Iterator[tuple[str, Callable[[], Any]]]) -> list[str]:
    """What is raised besides OnnxLrpError, by the name of the call."""
    found = []
    for name, call in calls:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                call()
        except OnnxLrpError as error:
            found += [] if error.message and error.fix else [f"{name}: without a fix"]
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
    return found


@pytest.mark.few(3)
@pytest.mark.parametrize("n", range(len(ODD)))
def test_comparisons(n: int) -> None:
    odd: Any = ODD[n]
    a, b = onnxlrp.load(small()), onnxlrp.load(small())

    def calls() -> Iterator[tuple[str, Callable[[], Any]]]:
        yield "samples", lambda: compare(a, b, odd)
        yield "a sample", lambda: compare(a, b, [("a", odd)])
        yield "other classes", lambda: compare(a, onnxlrp.load(small(3)), NAMED)
        for field in fields(CompareOptions):
            yield field.name, lambda name=field.name: compare(a, b, NAMED, CompareOptions(**{name: odd}))  # type: ignore[misc]

    assert not foreign(calls())


@pytest.mark.few(8)
@pytest.mark.parametrize("n", range(len(ODD)))
def test_evaluations(n: int, tmp_path: Path) -> None:
    odd: Any = ODD[n]
    model = onnxlrp.load(small())

    def calls() -> Iterator[tuple[str, Callable[[], Any]]]:
        yield "x", lambda: evaluate(model, odd, ["gradient"], ["complexity"])
        yield "methods", lambda: evaluate(model, X, odd, ["complexity"])
        yield "a method", lambda: evaluate(model, X, {"mine": odd}, ["complexity"])
        yield "metrics", lambda: evaluate(model, X, ["gradient"], odd)
        for name in ("target", "masks", "options", "seed", "batch_size"):
            yield name, lambda name=name: evaluate(model, X, ["gradient"], ["complexity"], **{name: odd})  # type: ignore[misc]
        yield "out", lambda: evaluate(model, X, ["gradient"], ["complexity"], out=tmp_path / str(odd)[:9])

    assert not foreign(calls())


@pytest.mark.few(3)
@pytest.mark.parametrize("n", range(len(ODD)))
def test_checks(n: int) -> None:
    odd: Any = ODD[n]
    model = onnxlrp.load(small())

    def calls() -> Iterator[tuple[str, Callable[[], Any]]]:
        yield "model", lambda: suite.run(odd, X)
        yield "samples", lambda: suite.run(model, odd)
        for field in fields(Settings):
            yield field.name, lambda name=field.name: suite.run(model, X, Settings(**{name: odd}))  # type: ignore[misc]

    assert not foreign(calls())


@pytest.mark.few(8)
@pytest.mark.parametrize("n", range(len(ODD)))
def test_streams(n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are text: they come from a command line."""
    monkeypatch.chdir(tmp_path)
    odd: Any = ODD[n]
    model = onnxlrp.load(small())
    word = str(odd)

    def calls() -> Iterator[tuple[str, Callable[[], Any]]]:
        yield "files", lambda: sources.files([word])
        yield "samples", lambda: collect.samples(model, sources.files([word], by_folder=True))
        yield "items", lambda: list(batches.batches([sources.Item("a", odd)], [model], 2))
        yield "out", lambda: sinks.planned(word, None, 2, 1)
        yield "formats", lambda: sinks.planned(None, word, 1, 1)

    assert not foreign(calls())


@pytest.mark.few(8)
@pytest.mark.parametrize("n", range(len(ODD)))
def test_explanations(n: int, tmp_path: Path) -> None:
    odd: Any = ODD[n]
    model = onnxlrp.load(small())
    made = model.explain(X, target=0, method="gradient")

    def calls() -> Iterator[tuple[str, Callable[[], Any]]]:
        for field in fields(ExplainOptions):
            if field.name != "options":
                yield field.name, partial(lambda name: model.explain(X, ExplainOptions(**{name: odd})), field.name)
        yield "choose output", lambda: model.choose(output=odd)
        yield "choose input", lambda: model.choose(input=odd)
        yield "prepare", lambda: model.prepare(target=odd)
        for name in ("sample", "target", "cmap", "clip", "space", "smooth", "blend"):
            yield f"figure {name}", partial(lambda name: made.figure(**{name: odd}), name)
        yield "save", lambda: made.save(odd if isinstance(odd, str) and len(odd) > 5 else tmp_path / "m.png")

    assert not foreign(calls())
