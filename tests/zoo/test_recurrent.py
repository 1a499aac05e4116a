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


@pytest.mark.parametrize("name", NAMES)
def test_scores_and_gradients_are_those_of_torch(name: str, tmp_path: Any) -> None:
    stored = np.load(HERE / f"{name}.npz")
    given = {key: stored[key] for key in ("lengths",) if key in stored.files}
    model = onnxlrp.load(HERE / f"{name}.onnx")
    assert model.graph.opaque is None
    slope = model.explain(stored["x"], 1, "gradient", given=given)
    np.testing.assert_allclose(slope.output, stored["y"], atol=1e-5)
    wanted = stored["gradient"]
    np.testing.assert_allclose(slope.relevance, wanted, atol=1e-5 * np.abs(wanted).max())
    heat = model.explain(stored["x"], 1, "recurrent", given=given, ledger=True)
    assert heat.ledger is not None
    for row in heat.ledger:
        assert np.abs(row.residual).max() <= 1e-4 * max(1e-3, np.abs(row.scale).max()), row
    steps = {"steps": 7} if any(model.graph.open_axes.values()) else None
    fixed = onnxlrp.load(HERE / f"{name}.onnx", size=steps)
    fixed.export(tmp_path / "explainer.onnx", method="recurrent")
    session = onnxruntime.InferenceSession(tmp_path / "explainer.onnx")
    feeds = {"x": stored["x"], "target": np.ones(len(stored["x"]), np.int64)}
    feeds |= {key: value for key, value in given.items() if key in {i.name for i in session.get_inputs()}}
    (found,) = session.run(["relevance"], feeds)
    np.testing.assert_allclose(found, heat.relevance, atol=1e-5 * np.abs(found).max())


def test_there_are_such_models() -> None:
    assert len(NAMES) == 7
