"""Recurrent networks that PyTorch exported (recurrent.py): scores, gradients, a closed ledger, and what we export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import onnxlrp

HERE = Path(__file__).parent / "recurrent_files"
NAMES = sorted(path.stem for path in HERE.glob("*.onnx"))


@pytest.mark.few(5)
@pytest.mark.parametrize("name", NAMES)
def test_scores_and_gradients_are_those_of_torch(name: str, tmp_path: Any) -> None:
    file, model = np.load(HERE / f"{name}.npz"), onnxlrp.load(HERE / f"{name}.onnx")
    assert model.graph.opaque is None
    assert model.default_method.name == "recurrent"
    axes = model.graph.batch_axes
    stored = {key: np.moveaxis(file[key], axes.get("x" if key == "gradient" else key, 0), 0) for key in file.files}
    given = {key: stored[key] for key in stored.keys() - {"x", "y", "gradient"}}
    # Of a score at each step, that of the last.
    asked: dict[str, Any] = {"output": "y:1@6"} if stored["y"].ndim == 3 else {"target": 1}
    slope = model.explain(stored["x"], method="gradient", given=given, **asked)
    if "target" in asked:
        np.testing.assert_allclose(slope.output, stored["y"], atol=1e-5)
    wanted = stored["gradient"]
    np.testing.assert_allclose(slope.relevance, wanted, atol=1e-5 * np.abs(wanted).max())
    heat = model.explain(stored["x"], given=given, ledger=True, **asked)
    assert heat.ledger is not None
    for row in heat.ledger:
        assert np.abs(row.residual).max() <= 1e-4 * max(1e-3, np.abs(row.scale).max()), row
    steps = {"steps": 7} if any(model.graph.open_axes.values()) else None
    fixed = onnxlrp.load(HERE / f"{name}.onnx", size=steps)
    fixed.export(tmp_path / "explainer.onnx", method="recurrent")
    session = onnxruntime.InferenceSession(tmp_path / "explainer.onnx")
    feeds = {"x": stored["x"], "target": np.ones(len(stored["x"]), np.int64)}
    names = {i.name for i in session.get_inputs()}
    feeds |= {key: value for key, value in given.items() if key in names}
    (found,) = session.run(["relevance"], {key: value for key, value in feeds.items() if key in names})
    heat = fixed.explain(stored["x"], 1, "recurrent", given=given)
    np.testing.assert_allclose(found, heat.relevance, atol=1e-5 * np.abs(found).max())


def test_there_are_such_models() -> None:
    assert len(NAMES) == 16
