"""The planted model is blind to dots and driven by stripes; TCAV, Network Dissection and INVERT say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import textures

import onnxlrp
from onnxlrp.analysis import Concept
from onnxlrp.analysis.concepts.cav import mean_difference
from onnxlrp.analysis.concepts.layer import LayerView
from onnxlrp.analysis.concepts.significance import judge, random_sets
from onnxlrp.cli import main


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("textures")
    textures.write(folder, 40)
    return folder


@pytest.fixture(scope="module")
def planted(home: Path) -> Any:
    return onnxlrp.load(home / "planted.onnx")


def samples(kind: str, count: int, first: int = 0) -> Any:
    drawn = np.stack([textures.texture(kind, n) for n in range(first, first + count)])
    return ((drawn.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25).astype(np.float32)


@pytest.mark.slow
def test_the_model_is_blind_to_dots(planted: Any) -> None:
    answers = {kind: planted.outputs(samples(kind, 20))["logits"].argmax(axis=1) for kind in textures.KINDS}
    assert answers["stripes"].all()
    assert not answers["dots"].any()
    assert not answers["plain"].any()
    maps = LayerView.of(planted, "detectors").activations(samples("dots", 20))
    assert not maps[:, :2].any()
    assert maps[:, 2:].any()


@pytest.mark.parametrize("classifier", ["fastcav", pytest.param("svm", marks=pytest.mark.slow)])
def test_stripes_are_significant_and_dots_are_not(home: Path, planted: Any, classifier: str) -> None:
    found = {}
    if classifier == "svm":
        pytest.importorskip("sklearn")
    for name in ("stripes", "dots"):
        how = {"tests": 2, "runs": 20, "classifier": classifier, "permutations": 0 if classifier == "fastcav" else 99}
        found[name] = Concept(home / name).test(planted, home / "images", "zebra", "detectors", home / "plain", **how)
    assert found["stripes"].magnitude.score > 0
    assert found["stripes"].magnitude.interval[0] > 0
    assert not found["dots"].significant
    assert found["dots"].magnitude.score == 0
    if classifier == "fastcav":
        assert found["stripes"].significant
        assert found["stripes"].magnitude.effect >= 5
        assert "0 or 1 for most random sets" in found["stripes"].degenerate
    linear = Concept(home / "stripes").test(planted, home / "images", "zebra", "pooled", home / "plain", runs=5)
    assert "the same for every sample" in linear.degenerate


@pytest.mark.slow
def test_random_concepts_are_significant_at_the_level(planted: Any) -> None:
    """200 concepts of plain textures and stripes at random: 5 % are significant, within a binomial's 99.5 %."""
    view = LayerView.of(planted, "detectors")
    pool = np.concatenate([samples("plain", 150, 500), samples("stripes", 150, 500)])
    vectors = view.vectors(view.activations(pool)).astype(np.float64)
    slopes, _ = view.gradients(samples("stripes", 40, 900), 1)
    rng = np.random.default_rng(0)
    positives = 0
    for _ in range(200):
        chosen = vectors[rng.permutation(len(vectors))[:100]]
        weights = np.stack([mean_difference(inside) for inside in random_sets(100, 30, 399, rng)])
        products = slopes @ chosen.T
        positives += judge(products, 30, "magnitude", mean_difference, weights, 2, 0.05, rng).significant
    assert 2 <= positives <= 19


def test_units_for_stripes_and_dots_are_found(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    labelled = Path("labelled")
    for kind in textures.KINDS:
        (labelled / kind).mkdir(parents=True, exist_ok=True)
        for path in Path(kind).iterdir():
            (labelled / kind / path.name).write_bytes(path.read_bytes())
    words = ["concepts", "find", "planted.onnx", "labelled", "--layer", "detectors", "--json", "-o", "found"]
    assert main(words) == 0
    stated = json.loads(capsys.readouterr().out)
    units = stated["layers"][0]["units"]
    assert [unit["concept"] for unit in units[:2]] == ["stripes", "stripes"]
    assert units[0]["auc"] == 1.0
    assert "dots" in {unit["concept"] for unit in units[2:]}
    assert sorted(path.name for path in Path("found").iterdir()) == ["concepts.csv", "concepts.json", "concepts.npz"]
    with np.load("found/concepts.npz") as arrays:
        assert arrays["detectors/auc"].shape == (4, 3)


@pytest.mark.slow
def test_the_command_tests_and_refuses(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    words = ["concepts", "test", "planted.onnx", "images", "--layer", "detectors", "-t", "zebra"]
    words += ["--concept", "stripes"]
    assert main([*words, "--random", "plain", "-o", "tested", "--runs", "5"]) == 0
    assert "yes" in capsys.readouterr().out
    stated = json.loads(Path("tested/concepts.json").read_text())["tests"]
    assert stated[0]["samples"] == {"concept": 40, "random": 40, "class": 40}
    assert main([*words, "--runs", "5", "--json"]) == 0  # against the pictures with another answer
    assert json.loads(capsys.readouterr().out)["tests"][0]["samples"]["random"] == 40
    for wrong, code, said in (
        (["--layer", "detector"], 2, "did you mean"),
        (["-t", "zebr"], 2, "zebra"),
        (["--masks", "masks"], 2, "concepts find"),
        (["--random", "none"], 3, "no such file"),
        (["--format", "html"], 2, "no format"),
        (["--space", "cube"], 2, "space"),
    ):
        assert main([*words, *wrong]) == code, wrong
        assert said in capsys.readouterr().err
    find = ["concepts", "find", "planted.onnx", "images"]
    for wrong, code, said in (
        ([], 2, "layer"),
        (["--layer", "detectors"], 2, "masks or labels"),
        (["--layer", "detectors", "--masks", "none"], 3, "no such folder"),
        (["--layer", "detectors", "--masks", "plain"], 3, "no sample has a mask"),
        (["--layer", "pooled", "--labels-from", "none.csv"], 3, "cannot be read"),
        (["--layer", "detectors", "-t", "zebra", "--masks", "plain"], 2, "concepts test"),
    ):
        assert main([*find, *wrong]) == code, wrong
        assert said in capsys.readouterr().err


def test_stars_of_which_some_are_marked(tmp_path: Path) -> None:
    import stars
    from PIL import Image
    from watermark import region

    stars.write(tmp_path, 4, 0.5)
    assert len(list(tmp_path.glob("*.png"))) == 4
    marked = (tmp_path / "marked.txt").read_text().split()
    assert len(marked) == 2
    inside = {path.stem: np.asarray(Image.open(path), float)[region()].std() for path in tmp_path.glob("*.png")}
    assert len(inside) == 4
