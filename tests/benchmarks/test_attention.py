"""benchmarks/attention.py: areas by their definition, preprocessing that must be stated, and a run that goes on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attention
import numpy as np
import onnx
import pytest

from support.arrays import Array
from support.paths import MODELS


def test_the_difference_of_areas_is_that_of_means_over_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches of 2 x 2, two a step: the scores of a linear model at none, 2, 4, … patches, both ends among them."""
    monkeypatch.setattr(attention, "PATCH", 2)
    monkeypatch.setattr(attention, "AT_ONCE", 2)
    rng = np.random.default_rng(0)
    x, fill, weights = rng.normal(size=(3, 3, 6, 4))
    model: Any = SimpleNamespace(outputs=lambda rows: {"logits": (rows * weights).sum(axis=(1, 2, 3))[:, None]})

    def mean(order: Array) -> float:
        scores = []
        for count in (0, 2, 4, 6):
            hidden = np.isin(np.arange(6), order[:count]).reshape(3, 2).repeat(2, 0).repeat(2, 1)
            scores.append(float((np.where(hidden, fill, x) * weights).sum()))
        return float(np.mean(scores))

    one, other = rng.permutation(6), rng.permutation(6)
    found = attention.area(model, x, fill, one, 0) - attention.area(model, x, fill, other, 0)
    assert found == pytest.approx(mean(one) - mean(other))


def test_an_assumed_preprocessing_is_refused(tmp_path: Path) -> None:
    bare = onnx.load(MODELS / "digits.onnx")
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    with pytest.raises(SystemExit, match="assumed"):
        attention.opened(tmp_path / "bare.onnx", None)
    assert not attention.opened(tmp_path / "bare.onnx", "0-1").preprocessing.values_assumed


class _Here:
    """A pool that runs in this process."""

    def __init__(self, jobs: int) -> None:
        pass

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    map = staticmethod(map)


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that the file has are not measured again; those of other pictures are."""
    asked: list[str] = []

    def judged(path: Path, label: str, file: Path, prep: str | None) -> tuple[float, float]:
        asked.append(label)
        return (2.0 if label == "attention" else 1.0) + len(asked) / 1000, 0.25

    monkeypatch.setattr(attention, "judged", judged)
    monkeypatch.setattr(attention, "ProcessPoolExecutor", _Here)
    pictures, out = tmp_path / "pictures", tmp_path / "out.json"
    pictures.mkdir()
    for name in ("a.jpg", "b.png", "b_mask.png"):
        (pictures / name).touch()
    words = ["attention.py", str(MODELS / "digits.onnx"), str(pictures), "-o", str(out)]
    monkeypatch.setattr("sys.argv", words)
    attention.main()
    every = [label for label in (*attention.METHODS, *attention.CONTROLS) for _ in "ab"]
    assert asked == every
    found = json.loads(out.read_text())
    assert found["pictures"] == ["a", "b"]
    assert found["methods"]["attention"]["better_on"] == 2
    assert found["methods"][attention.BASE]["difference"] == [0, 0, 0]
    del found["methods"]["attention"]
    out.write_text(json.dumps(found))
    asked.clear()
    attention.main()
    assert asked == ["attention"] * 2
    (pictures / "c.jpg").touch()
    asked.clear()
    attention.main()
    assert len(asked) == len(every) // 2 * 3
