"""The store of a baseline: what comes back, how small it is, and that it is written whole or not at all."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.checks import Settings, baseline
from onnxlrp.checks.suite import open_context
from onnxlrp.errors import CheckFailed, InputError
from support.check_cases import SHAPES, Tampering, write_scenes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    scenes = write_scenes(tmp_path_factory.mktemp("scenes"), stars=1, others=3)
    return open_context(SHAPES, [str(scenes)], Settings())


def test_what_is_written_is_read(made: Any, tmp_path: Path) -> None:
    first = baseline.capture(made)
    path = baseline.write(first, tmp_path / "new" / "folder")
    again = baseline.read(path.parent)
    assert (again.hashes, again.names, again.samples, again.descriptions) == (
        first.hashes,
        first.names,
        first.samples,
        first.descriptions,
    )
    np.testing.assert_array_equal(again.logits, first.logits)
    np.testing.assert_array_equal(again.target, first.target)
    assert again.maps.shape == (4, 56, 56)
    largest = np.abs(first.maps).max(axis=(1, 2), keepdims=True)
    assert (np.abs(again.maps - first.maps) <= largest * 2**-11).all()  # half a step of float16 below 1
    assert path.stat().st_size < 4 * 56 * 56 * 2 + 4000


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_relevance_far_from_one_keeps_its_digits(made: Any, tmp_path: Path, scale: float) -> None:
    first = baseline.capture(made)
    far = dataclasses.replace(first, maps=first.maps * scale)
    again = baseline.read(baseline.write(far, tmp_path).parent)
    np.testing.assert_allclose(again.maps / scale, first.maps, atol=np.abs(first.maps).max() * 2**-11)


def test_hashes_tell_what_changed(made: Any) -> None:
    here = baseline.hashes(made)
    settings = dataclasses.replace(made.settings, prep={"prep": "imagenet"}, method="gamma")
    other = baseline.hashes(
        open_context(SHAPES, None, settings).__class__(onnxlrp.load(SHAPES, prep=settings.prep), settings, made.given)
    )
    assert here["model"] == other["model"] == onnxlrp.load(SHAPES).graph.sha256
    assert here["preprocessing"] != other["preprocessing"]
    assert here["method"] != other["method"]


def test_the_hash_of_a_picture_is_of_the_picture_itself(made: Any) -> None:
    model = onnxlrp.load(SHAPES, prep={"prep": "imagenet"})
    paths = [str(name) for name in made.samples.names]
    assert len({baseline.sample_hash(made, n) for n in range(4)}) == 4
    pictures = [made.samples.originals[n] for n in range(4)]
    other = open_context(model, pictures, Settings())
    assert [baseline.sample_hash(other, n) for n in range(4)] == [baseline.sample_hash(made, n) for n in range(4)]
    assert len(paths) == 4


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda b: b"no zip", lambda b: b"PK" + b[9:]])
def test_a_damaged_baseline_is_refused(made: Any, tmp_path: Path, spoil: Callable[..., Any]) -> None:
    path = baseline.write(baseline.capture(made), tmp_path)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError) as refused:
        baseline.read(tmp_path)
    assert "damaged" in refused.value.message
    assert "re-baseline" in refused.value.fix


def test_a_baseline_of_another_version_is_refused(made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "SCHEMA", 99)
    baseline.write(baseline.capture(made), tmp_path)
    monkeypatch.undo()
    with pytest.raises(InputError, match="version 99"):
        baseline.read(tmp_path)


def test_a_write_that_fails_leaves_the_old_one_whole(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = baseline.capture(made)
    path = baseline.write(first, tmp_path)
    before = path.read_bytes()

    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        baseline.write(dataclasses.replace(first, maps=first.maps * 2), tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_not_finite_is_no_baseline(made: Any) -> None:
    def spoilt(name: Any, value: Any, runs: Any) -> Any:
        return value * np.nan if name == "relevance" else value

    broken = open_context(onnxlrp.load(SHAPES, engine=Tampering(spoilt)), made.given, Settings())
    with pytest.raises(CheckFailed, match="not finite"):
        baseline.capture(broken)
