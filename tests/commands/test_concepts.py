"""`onnxlrp concepts`: tables, files and figures of both questions, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import textures
from PIL import Image

from onnxlrp.analysis.concepts import tcav

TEST = ("concepts", "test", "planted.onnx", "images", "-t", "zebra", "--layer", "detectors")
FIND = ("concepts", "find", "planted.onnx", "labels", "--layer", "detectors")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("textures")
    textures.write(folder, 12)
    return folder


@pytest.fixture(autouse=True)
def _textures(drawn: Path, _here: None) -> None:
    for path in drawn.iterdir():
        Path(path.name).symlink_to(path)
    Path("labels").mkdir()
    for kind in ("stripes", "dots"):
        Path("labels", kind).symlink_to(drawn / kind)


@pytest.mark.slow
def test_a_planted_concept(run: Any) -> None:
    how = ("--concept", "stripes", "--concept", "dots", "--random", "plain", "-o", "out", "--figure", "tcav.png")
    out, err = run(0, *TEST, *how, "--json")
    stated = json.loads(out)["tests"]
    assert [(one["concept"], one["significant"]) for one in stated] == [("stripes", True), ("dots", False)]
    assert stated[0]["magnitude"]["effect"] > 4
    assert "says nothing" in err
    assert {path.name for path in Path("out").iterdir()} == {"concepts.json", "concepts.npz", "concepts.csv"}
    with np.load("out/concepts.npz") as arrays:
        assert arrays["random/stripes/zebra/detectors"].shape == (999,)
        assert json.loads(str(arrays["provenance"]))["model"] == "planted.onnx"
    with Image.open("tcav.png") as picture:
        assert picture.text["Title"] == "concepts test"  # type: ignore[attr-defined]
        assert json.loads(picture.text["onnxlrp.provenance"])["model"] == "planted.onnx"  # type: ignore[attr-defined]
        assert picture.height > picture.width / 3


def test_units_that_tell_labels(run: Any) -> None:
    out, _ = run(0, *FIND, "--figure", "find.png", "--json")
    units = json.loads(out)["layers"][0]["units"]
    assert [unit["concept"] for unit in units] == ["stripes", "stripes", "dots", "dots"]
    with Image.open("find.png") as picture:
        assert json.loads(picture.text["onnxlrp.provenance"])["model"] == "planted.onnx"  # type: ignore[attr-defined]


def test_masks_of_all_samples_are_dissected_though_auc_says_nothing(run: Any) -> None:
    Path("all").mkdir()
    for path in Path("stripes").glob("*.png"):
        with Image.open(path) as picture:
            Image.fromarray(np.full(picture.size[::-1], 255, np.uint8)).save(Path("all", path.name))
    out, err = run(0, *FIND[:3], "stripes", "--layer", "detectors", "--masks", "all", "--json")
    units = json.loads(out)["layers"][0]["units"]
    assert {unit["auc"] for unit in units} == {0.5}
    assert not any(unit["significant"] for unit in units)
    assert 0 < max(unit["iou"] for unit in units) <= 1
    assert "AUC says nothing" in err


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((*TEST[:4], "--layer", "detector", "-t", "zebra", "--concept", "stripes"), 2, "detectors"),
        ((*TEST, "--concept", "stripes", "--figure", "tcav.jpg"), 2, "a figure is a .png"),
        ((*TEST, "--concept", "few", "--random", "plain"), 3, "2 samples of the concept, 10 or more"),
        ((*FIND[:3], "images", "--layer", "detectors"), 2, "masks or labels"),
        ((*TEST, "--concept", "nowhere"), 3, "nowhere"),
        (TEST, 2, "needs a concept"),
        ((*TEST[:4], "--layer", "detectors", "--concept", "stripes"), 2, "needs a class"),
        ((*TEST[:4], "-t", "zebra", "--concept", "stripes"), 2, "needs a layer"),
        ((*TEST[:4], "--layer", "detectors", "-t", "zebro", "--concept", "stripes"), 2, "zebra"),
        ((*FIND[:3], "one", "--layer", "detectors"), 3, "one class"),
        ((*FIND[:3], "images", "--layer", "detectors", "--masks", "small"), 3, "mask"),
        ((*FIND, "--format", "html"), 2, 'no format "html"'),
        ((*FIND, "-t", "zebra"), 2, "belong to concepts test"),
        ((*FIND, "--quantile", "2"), 2, "share=2"),
    ],
)
def test_what_is_refused(refused: Any, words: Any, code: int, text: str) -> None:
    Path("few").mkdir()
    for n in range(2):
        shutil.copy(Path("stripes", f"stripes_{n:03d}.png"), "few")
    Path("one", "stripes").mkdir(parents=True)
    shutil.copytree("stripes", "one/stripes", dirs_exist_ok=True)
    Path("small").mkdir()
    for path in Path("images").iterdir():
        Image.fromarray(np.full((5, 5), 255, np.uint8)).save(Path("small", path.name))
    assert text in " ".join(refused(code, *words, "-o", "out"))
    assert not Path("out").exists()


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--concept", "stripes", "--layer", "detector"), 2, "detectors"),
        (("--concept", "stripes", "-t", "zebro"), 2, "zebra"),
        (("--concept", "stripes", "--concept", "few"), 3, "few: 2 samples of the concept"),
        (("--concept", "stripes", "--random", "few"), 3, "2 random samples"),
        (("--concept", "stripes", "--classifier", "svm"), 2, "pip install scikit-learn"),
        (("--concept", "stripes", "--alpha", "2"), 2, "alpha=2"),
    ],
)
def test_what_is_missing_is_said_before_any_sample_runs(
    refused: Any, monkeypatch: pytest.MonkeyPatch, words: Any, code: int, text: str
) -> None:
    Path("few").mkdir()
    for n in range(2):
        shutil.copy(Path("stripes", f"stripes_{n:03d}.png"), "few")
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    monkeypatch.setattr(tcav, "test", lambda *_: pytest.fail("samples were run"))
    assert text in " ".join(refused(code, *TEST, *words))


def test_results_are_not_written_in_the_place_of_a_file(refused: Any) -> None:
    Path("out").write_text("mine")
    assert "a file, not a folder" in " ".join(refused(2, *TEST, "--concept", "nowhere", "-o", "out"))
