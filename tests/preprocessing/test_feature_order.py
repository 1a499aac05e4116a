"""Columns of a table are found by the names of the model's features, counted ones too where all of them are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxlrp.cli import main
from onnxlrp.preprocessing import feature_names
from support.tiny_models import model, node, values

W = values(3, 2)


@pytest.mark.parametrize("names", [("age", "income", "height"), ("f0", "f1", "f2")])
def test_another_order_of_the_header_is_matched_by_name_and_said(
    names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = model([node("MatMul", ["x", "w"], ["y"])], {"w": W}, shape=("N", 3))
    made.metadata_props.add(key="feature_names", value=",".join(names))
    onnx.save(made, "m.onnx")
    row = {names[0]: 1.5, names[1]: -2.0, names[2]: 4.0}
    order = [names[2], names[0], names[1]]
    Path("t.csv").write_text(",".join(order) + "\n" + ",".join(str(row[name]) for name in order) + "\n")
    assert main(["explain", "m.onnx", "t.csv", "-m", "epsilon", "-t", "1", "-o", "r.npz"]) == 0
    assert "columns are matched by name" in capsys.readouterr().err
    main(["check", "m.onnx", "t.csv", "-m", "epsilon"])
    assert "columns are matched by name" in capsys.readouterr().err
    wanted = np.array([row[name] for name in names]) * W[:, 1]
    np.testing.assert_allclose(np.load("r.npz")["relevance"][0], wanted, rtol=1e-4)


def test_counted_names_of_which_some_are_missing_tell_no_order() -> None:
    assert feature_names.order(["x1", "x2", "x3"], ["x0", "x1", "x2"], "t.csv") is None
    assert feature_names.order(["x2", "x0", "x1"], ["x0", "x1", "x2"], "t.csv") == [1, 2, 0]
