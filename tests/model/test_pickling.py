"""Models and errors in other processes, and what a prompt shows of a model."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxlrp
from onnxlrp import errors
from onnxlrp.errors import InputError, UsageError
from support.paths import MODELS
from support.worker import sums

DIGITS, SEVEN = MODELS / "digits.onnx", MODELS / "samples" / "digit_7.png"


def kinds() -> list[type[errors.OnnxLrpError]]:
    """Every class of error of the package."""
    found = [errors.OnnxLrpError]
    for kind in found:
        found += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_an_error_is_pickled(kind: type[errors.OnnxLrpError]) -> None:
    error = kind.__new__(kind, "no such file")
    errors.OnnxLrpError.__init__(error, "no such file", "check the path")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.message, again.fix, str(again), again.code) == (error.message, error.fix, str(error), error.code)


@pytest.mark.slow
def test_workers_take_models_and_give_errors() -> None:
    model = onnxlrp.load(DIGITS)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        wanted = sums(model, str(SEVEN))
        assert pool.submit(sums, model, str(SEVEN)).result(timeout=120) == wanted
        with pytest.raises(InputError, match=r"nothing\.png"):
            pool.submit(sums, model, "nothing.png").result(timeout=120)


@pytest.mark.parametrize("source", [DIGITS, str(DIGITS), DIGITS.read_bytes()], ids=["path", "text", "bytes"])
def test_a_pickled_model_is_opened_again_with_its_options(source: Any) -> None:
    model = onnxlrp.load(source, engine="reference", kind="image:NCHW", prep={"scale": "1/127.5"})
    again = pickle.loads(pickle.dumps(model))
    assert (again.engine.name, again.preprocessing.scale) == ("reference", 1 / 127.5)
    assert (again.kind, again.graph.sha256) == (model.kind, model.graph.sha256)
    x = np.random.default_rng(0).normal(size=(2, *model.graph.inputs[0].shape)).astype(np.float32)
    np.testing.assert_array_equal(again.explain(x).relevance, model.explain(x).relevance)


def test_every_argument_of_load_is_kept() -> None:
    kept = set(onnxlrp.load(DIGITS)._opened.options)
    assert kept == set(inspect.signature(onnxlrp.load).parameters) - {"source"}


def test_what_cannot_be_opened_again_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ModelProto"):
        pickle.dumps(onnxlrp.load(onnx.load(DIGITS)))
    model = onnxlrp.load(DIGITS)
    with pytest.raises(UsageError, match="changed"):
        pickle.dumps(dataclasses.replace(model, whole=dataclasses.replace(model.whole)))
    path = Path(shutil.copy(DIGITS, tmp_path / "m.onnx"))
    data = pickle.dumps(onnxlrp.load(path))
    shutil.copy(MODELS / "shapes.onnx", path)
    with pytest.raises(InputError, match="has changed"):
        pickle.loads(data)
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        pickle.loads(data)


def test_a_model_is_shown_in_a_line_and_as_a_table(tmp_path: Path) -> None:
    hostile = onnx.load(DIGITS)
    hostile.graph.doc_string = "<script>"
    path = tmp_path / "<b>.onnx"
    onnx.save(hostile, path)
    model = onnxlrp.load(path)
    line = repr(model)
    assert "\n" not in line
    assert len(line) < 200
    for word in ("<b>.onnx", "[N, 1, 28, 28]", "[N, 10]", "engine ort"):
        assert word in line
    html = model._repr_html_()
    assert "&lt;b&gt;.onnx" in html
    assert "<b>" not in html
    assert "resize 28x28" in html


def test_dir_lists_the_public_names() -> None:
    assert dir(onnxlrp) == sorted(onnxlrp.__all__)
    assert all(getattr(onnxlrp, name) is not None for name in dir(onnxlrp))
