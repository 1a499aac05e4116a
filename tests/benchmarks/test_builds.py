"""benchmarks/builds.py: a build against itself, and what counts as the same relevance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builds
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_build_is_as_fast_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Every column is there, and relevance is equal; how long it takes is not asked."""
    result = tmp_path / "builds.json"
    words = ["builds.py", str(ROOT), "--model", str(ROOT / "models" / "digits.onnx"), "--methods", "gradient"]
    more = ["--batches", "2", "--rounds", "2", "--threads", "1", "--targets", "0,3", "--json", str(result)]
    monkeypatch.setattr("sys.argv", words + more)
    monkeypatch.setattr(builds, "LEAST", 0.01)
    assert builds.main() == 0
    records = json.loads(result.read_text())["records"]
    assert [record["targets"] for record in records] == [0, 3]
    for record in records:
        assert record["apart"] == {"l2": 0.0, "max": 0.0, "equal": True}
        assert len(record["wall"]["before ms"]) == len(record["processor"]["after ms"]) == 2
        assert record["processor"]["ratio"] > 0
        assert min(record["peak MB"].values()) > 10
    assert "digits" in capsys.readouterr().out


def test_distances_are_relative() -> None:
    found = builds.apart(np.array([3.0, 5.0]), np.array([3.0, 4.0]))
    assert found == {"l2": pytest.approx(0.2), "max": pytest.approx(0.25), "equal": False}
    assert builds.apart(np.zeros(3), np.zeros(2))["l2"] == np.inf


def test_inputs_are_in_the_layout_of_the_model() -> None:
    assert builds.samples(2, (3, 8, 9), "float32").shape == (2, 3, 8, 9)
    last = builds.samples(1, (8, 9, 3), "uint8")
    assert last.shape == (1, 8, 9, 3)
    assert last.dtype == np.uint8
    assert last.max() > 150
    assert builds.samples(4, (5,), "float32").shape == (4, 5)


def test_a_folder_without_a_build_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["builds.py", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        builds.main()
    assert end.value.code == 2
    assert "no build in" in capsys.readouterr().err
