"""The default method of the commands: chosen by the kind of input, and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from support.input_models import dense, weight


@pytest.fixture
def table(tmp_path: Path) -> Path:
    onnx.save(dense((7,)), tmp_path / "table.onnx")
    np.save(tmp_path / "row.npy", weight(7))
    return tmp_path


def test_command_says_the_default(run: Any, table: Path) -> None:
    model, row, out = (str(table / name) for name in ("table.onnx", "row.npy", "row.json"))
    said, _ = run(0, "explain", model, row, "-o", out)
    assert "default epsilon, for a vector; -m NAME chooses another" in said
    assert json.loads(Path(out).read_text())["provenance"]["default_for"] == "a vector"
    said, _ = run(0, "explain", model, row, "-o", out, "-m", "gamma")
    assert "-m NAME" not in said
    said, _ = run(0, "inspect", model)
    assert "method  epsilon  [default for a vector]" in said
    said, _ = run(0, "inspect", model, "--json")
    assert (json.loads(said)["method"], json.loads(said)["default_for"]) == ("epsilon", "a vector")
    said, _ = run(0, "export", model, "-o", str(table / "e.onnx"))
    assert said.splitlines()[0] == "method  epsilon, target input  [default for a vector]"
    said, _ = run(0, "check", model, row, "--json")
    assert json.loads(said)["about"]["method"] == "epsilon"


def test_auto_among_other_methods(run: Any, refused: Any, table: Path) -> None:
    model, row = (str(table / name) for name in ("table.onnx", "row.npy"))
    run(0, "explain", model, row, "-m", "auto,gradient", "--epsilon", "0.1", "-o", str(table / "{method}.json"))
    assert (table / "epsilon.json").exists()
    assert (table / "gradient.json").exists()
    said, _ = refused(2, "explain", model, row, "-m", "auto,epsilon")
    assert said == "--method auto,epsilon: auto is epsilon here, a vector"
    said, _ = run(0, "evaluate", model, row, "--metric", "pixel_flipping", "--json")
    assert {cell["method"] for cell in json.loads(said)["cells"]} == {"epsilon", "sensitivity"}


def test_an_option_that_the_default_has_not(refused: Any, table: Path) -> None:
    model, row = (str(table / name) for name in ("table.onnx", "row.npy"))
    said, fix = refused(2, "explain", model, row, "--gamma", "0.5")
    assert said == "--gamma: the default is epsilon here, for a vector, which has no such option"
    assert fix == "name the method: -m gamma or -m attention"
