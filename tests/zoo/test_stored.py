"""Small files of many exporters, made by tests/zoo/zoo.py: explained, accounted for, exported, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import onnxlrp
from onnxlrp.graph.verify import verify

FILES = sorted((Path(__file__).parent).glob("*.onnx"))


def batch(model: Any, n: int = 2) -> Any:
    """Smooth samples of both signs, in the model's own type."""
    tensor = model.graph.inputs[0]
    x = np.random.default_rng(0).normal(size=(n, *tensor.shape))
    return np.cumsum(x, axis=-1).clip(-3, 3).astype(tensor.dtype)


@pytest.mark.few(5)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_this_exporter(path: Any, tmp_path: Path) -> None:
    model = onnxlrp.load(path, engine="ort")
    assert len(model.graph.inputs) == 1
    assert verify(model.graph, path, batches=(1, 3)) < 1e-4
    x, target = batch(model), np.array([3, 7])
    e = model.explain(x, target=target, ledger=True)
    assert np.isfinite(e.relevance).all()
    assert np.abs(e.relevance).max() > 0
    assert max(row.error for row in e.ledger) < 1e-4
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    saved = str(model.export(tmp_path / "explainer.onnx", target="input"))
    session = onnxruntime.InferenceSession(saved, options, providers=["CPUExecutionProvider"])
    name, whole = session.get_inputs()[0].name, model.graph.batch or len(x)
    parts = [
        session.run(["relevance"], {name: x[i : i + whole], "target": target[i : i + whole]})[0]
        for i in range(0, len(x), whole)
    ]
    np.testing.assert_allclose(np.concatenate(parts), e.relevance, atol=1e-4 * np.abs(e.relevance).max(), rtol=0)


def test_there_are_files_of_many_exporters() -> None:
    assert len(FILES) >= 10
    assert sum(path.stat().st_size for path in FILES) < 400_000
