"""Public models of many exporters, where their files are beside this checkout: explained, accounted for, exported."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import onnxlrp
from support.paths import DATA

MODELS = DATA / "models"
PATHS: list[Any] = sorted(MODELS.glob("*.onnx")) or [
    pytest.param(None, marks=pytest.mark.skip(reason=f"there are no models in {MODELS}"))
]
each_model = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem if path else "none")


@cache
def model(path: Any) -> Any:
    return onnxlrp.load(path, engine="ort")


def sample(path: Any, n: int = 1) -> Any:
    tensor = model(path).graph.inputs[0]
    x = np.random.default_rng(0).normal(size=(n, *tensor.shape))
    return np.cumsum(x, axis=-1).clip(-2, 2).astype(tensor.dtype)


def quantised(path: Any) -> Any:
    return any("Quantize" in layer.op for layer in model(path).graph.layers)


@cache
def explained(path: Any) -> Any:
    """The explanation of the model's own best class with its ledger."""
    return model(path).explain(sample(path), ledger=True)


def session(model: Any, optimised: bool = True) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimised:  # weights in int8 compute differently when they are
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


@pytest.mark.few(2)
@each_model
def test_scores_and_ledger(path: Any) -> None:
    e, untouched = explained(path), session(path, optimised=False)
    names = [entry.name for entry in untouched.get_inputs() if entry.name == model(path).graph.inputs[0].name]
    if not quantised(path):  # its scores may be integers, that are read before they are rounded
        (scores,) = untouched.run([model(path).graph.outputs[0].name], {names[0]: sample(path)})
        assert np.abs(e.output.reshape(-1) - scores.reshape(-1)).max() <= 1e-4 * np.abs(scores).max()
    assert np.isfinite(e.relevance).all()
    assert np.abs(e.relevance).max() > 0
    assert max(row.error for row in e.ledger) < 1e-4


@pytest.mark.few(2)
@each_model
def test_the_exported_explainer_is_the_same(path: Any, tmp_path: Path) -> None:
    e = explained(path)
    if quantised(path):
        pytest.skip("one rounding that flips in an int8 model is a step of its output")
    saved = session(model(path).export(tmp_path / "explainer.onnx", target="top1"))
    (relevance,) = saved.run(["relevance"], {saved.get_inputs()[0].name: sample(path)})
    np.testing.assert_allclose(relevance, e.relevance, atol=1e-4 * np.abs(e.relevance).max(), rtol=0)


@pytest.mark.few(3)
@each_model
def test_a_copy_that_onnxruntime_optimised_has_the_same_map(path: Any, tmp_path: Path) -> None:
    e = explained(path)
    if quantised(path) or "_w8" in path.stem:
        pytest.skip("onnxruntime computes with integers then")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    copy = onnxlrp.load(tmp_path / "optimised.onnx", engine="ort").explain(sample(path), target=e.target)
    assert np.abs(copy.output - e.output).max() <= 1e-4 * np.abs(e.output).max()
    assert np.abs(copy.relevance - e.relevance).max() <= 1e-2 * np.abs(e.relevance).max()
