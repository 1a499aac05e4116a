"""`onnxlrp export`: the explainer's inputs and outputs, and refused options."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from support.command_line import DIGITS, SEVEN


def test_export(run: Any, refused: Any) -> None:
    out, _ = run(0, "export", DIGITS, "-o", "explainer.onnx")
    lines = out.splitlines()
    assert lines[0] == "method  epsilon_plus_flat, target input  [default for an image]"
    assert "input   image  float32 [N, 1, 28, 28]" in lines
    assert "input   target  int64 [N]" in lines
    assert "output  relevance  float32 [N, 1, 28, 28]" in lines
    assert " MB" in lines[-1]
    data = json.loads(
        run(0, "export", DIGITS, "-o", "top.onnx", "-t", "top3", "-m", "gamma", "--gamma", 0.1, "--json")[0]
    )
    assert data["bytes"] == Path("top.onnx").stat().st_size
    assert [value["name"] for value in data["inputs"]] == ["image"]
    assert data["outputs"][1] == {"name": "relevance", "dtype": "float32", "shape": [3, "N", 1, 28, 28]}
    assert data["options"] == {"gamma": 0.1}
    shutil.copy(DIGITS, "model.onnx")
    before = Path("model.onnx").read_bytes()
    assert "replace the model" in refused(2, "export", "model.onnx", "-o", "./model.onnx")[0]
    assert Path("model.onnx").read_bytes() == before
    refused(2, "export", DIGITS, "-o", "x.onnx", "-t", "281")
    refused(2, "export", DIGITS, "-o", "x.onnx", "-t", "top99")
    refused(2, "export", DIGITS, "-o", "x.png")
    refused(2, "export", DIGITS, "-o", "x.onnx", "-m", "gamma,epsilon")


def test_a_folder_gets_a_file_of_the_default_name(run: Any, tmp_path: Path) -> None:
    run(0, "export", DIGITS, "-m", "epsilon", "-o", "new/folder/")
    assert (tmp_path / "new" / "folder" / "digits.epsilon.onnx").is_file()
    run(0, "explain", DIGITS, SEVEN, "--format", "json", "-o", "maps/")
    assert [path.suffix for path in (tmp_path / "maps").iterdir()] == [".json"]
    run(0, "report", "maps", "-o", "new/folder")
    assert (tmp_path / "new" / "folder" / "report.html").is_file()


def test_a_file_in_a_folder_is_named_by_its_method(run: Any) -> None:
    run(0, "export", DIGITS, "-o", "out/")
    run(0, "export", DIGITS, "-o", "out", "-m", "gamma")
    assert {path.name for path in Path("out").iterdir()} == {"digits.epsilon_plus_flat.onnx", "digits.gamma.onnx"}


def test_an_opset_is_written_and_said(run: Any, refused: Any) -> None:
    out, _ = run(0, "export", DIGITS, "-o", "old.onnx", "--opset", 17)
    assert "opset   17" in out.splitlines()
    assert json.loads(run(0, "export", DIGITS, "-o", "old.onnx", "--opset", 17, "--json")[0])["opset"] == 17
    assert "13 to 23" in refused(2, "export", DIGITS, "-o", "x.onnx", "--opset", 12)[0]
    assert "--opset 16" in "".join(refused(4, "export", DIGITS, "-o", "x.onnx", "--opset", 13))
    refused(2, "export", DIGITS, "--web", "site", "--opset", 17)
    assert not Path("x.onnx").exists()


def test_half_weights_are_written_and_their_error_said(run: Any, refused: Any) -> None:
    out, _ = run(0, "export", DIGITS, "-o", "half.onnx", "--precision", "fp16")
    run(0, "export", DIGITS, "-o", "whole.onnx")
    assert any(line.startswith("differs") for line in out.splitlines())
    assert Path("half.onnx").stat().st_size < 0.6 * Path("whole.onnx").stat().st_size
    refused(2, "export", DIGITS, "--web", "site", "--precision", "fp16")
