"""`onnxlrp cells`: a page of the cells along a text, from the shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onnxlrp.cli import main
from support.paths import MODELS

CODE = 'def greet(name):\n    """Greet."""\n    return ["hello", (name, "you")]\n\n'


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "code.py"
    path.write_text(CODE * 3)
    return path


def test_a_page_and_its_record(text: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "cells.html"
    assert main(["cells", str(MODELS / "charlm.onnx"), str(text), "-o", str(out), "--cell", "lstm.cell:4"]) == 0
    said = capsys.readouterr().out
    assert "lstm: LSTM, 128 cells" in said
    assert "brackets" in said
    assert 'id="c4" class="cell" open' in out.read_text()
    assert main(["cells", str(MODELS / "charlm.onnx"), str(text), "-o", str(tmp_path / "c"), "--format", "json",
                 "--property", "column", "--json"]) == 0  # fmt: skip
    record = json.loads(capsys.readouterr().out)
    assert [one["property"] for one in record["properties"]] == ["column"]
    assert json.loads((tmp_path / "c.json").read_text())["places"] == 3 * len(CODE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "cells.txt"], "does not tell the format"),
        (["--format", "pdf"], "no format"),
        (["--property", "colour"], "no property"),
    ],
)
def test_what_does_not_fit_is_refused(text: Path, words: list[str], message: str, capsys: Any) -> None:
    assert main(["cells", str(MODELS / "charlm.onnx"), str(text), *words]) == 2
    assert message in capsys.readouterr().err


def test_the_text_is_not_overwritten(text: Path, capsys: Any) -> None:
    assert main(["cells", str(MODELS / "charlm.onnx"), str(text), "-o", str(text), "--format", "html"]) == 2
    assert text.read_text() == CODE * 3
