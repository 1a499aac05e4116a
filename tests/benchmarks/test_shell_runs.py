"""benchmarks/shell_runs.py: this build against itself, from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shell_runs

from support.paths import MODELS, ROOT


@pytest.mark.slow
def test_a_build_against_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tmp_path / "shell_runs.json"
    words = ["shell_runs.py", str(ROOT), "--model", str(MODELS / "digits.onnx"), "--rounds", "1"]
    words += ["--input", str(MODELS / "samples" / "digit_0.png"), "--json", str(result)]
    monkeypatch.setattr("sys.argv", words)
    assert shell_runs.main() == 0
    (record,) = json.loads(result.read_text())["records"]
    assert record["equal"]
    assert record["cache MB"] > 0
    assert record["processor"]["ratios"].keys() == {"no cache", "first", "second"}
    assert all(len(times) == 1 for times in record["wall"]["ms"].values())
