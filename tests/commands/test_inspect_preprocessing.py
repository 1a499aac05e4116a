"""`inspect`: what it says of the preprocessing, writes down and ranks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.preprocessing.find import find
from support import prep_cases
from support.paths import MODELS

DIGITS, SAMPLES = MODELS / "digits.onnx", MODELS / "samples"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`run(code, words...)` runs inspect in an empty folder, wants that exit code, and gives stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(code: Any, *words: Any) -> tuple[Any, Any]:
        capsys.readouterr()
        assert main(["inspect", *map(str, words)]) == code
        said = capsys.readouterr()
        return said.out, said.err

    return call


def sha(path: Any) -> Any:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["convnext", "deit", "efficientnet", "mobilevit", "timm-bicubic", "timm-squash"])
def test_what_is_written_down_is_found_again(run: Callable[..., Any], tmp_path: Path, name: str) -> None:
    """The sidecar and the embedded copy alone give the same input as the library's files did."""
    path = prep_cases.first_run(tmp_path / "one", name)
    before = sha(path)
    pictures = prep_cases.pictures()
    expected = [onnxlrp.load(path).read(picture).values for picture in pictures]
    out, _ = run(0, path, "--write-prep", "--embed", tmp_path / "kept.onnx")
    assert out.count("wrote") == 2
    assert sha(path) == before
    for file in path.parent.glob("*.json"):
        file.unlink()
    beside, carried = onnxlrp.load(path), onnxlrp.load(tmp_path / "kept.onnx")
    assert (beside.preprocessing.source, carried.preprocessing.source) == ("model.prep.toml", "model metadata")
    for model in (beside, carried):
        assert not model.preprocessing.assumed
        for picture, values in zip(pictures, expected, strict=True):
            np.testing.assert_array_equal(model.read(picture).values, values)


def test_class_names_are_kept_too(run: Callable[..., Any], tmp_path: Path) -> None:
    kind, fields, size = prep_cases.HUGGINGFACE["vit"]
    names = {"0": 'a "quoted" cat', "1": "back\\slash", "2": "Füchse", "3": "4"}
    files = {"preprocessor_config": {"image_processor_type": kind, **fields}, "config": {"id2label": names}}
    path = prep_cases.put(tmp_path / "one", prep_cases.model(size), **files)
    run(0, path, "--write-prep", "--embed", "kept.onnx")
    for file in path.parent.glob("*.json"):
        file.unlink()
    assert onnxlrp.load(path).labels == onnxlrp.load("kept.onnx").labels == tuple(names.values())


def test_an_assumption_stays_one(run: Callable[..., Any], tmp_path: Path) -> None:
    path = prep_cases.put(tmp_path / "bare", prep_cases.model((20, 20)))
    _, err = run(4, path, "--embed", "kept.onnx")
    assert "--prep imagenet" in err
    assert not Path("kept.onnx").exists()
    run(0, path, "--write-prep")
    text = (path.parent / "model.prep.toml").read_text()
    assert "# mean = [0.485, 0.456, 0.406]  # ASSUMED" in text
    assert onnxlrp.load(path).preprocessing.assumed == ("color", "scale", "mean", "std", "resize", "crop")
    path.with_name("model.prep.toml").write_text(re.sub("(?m)^# (?=[a-z]+ = )", "", text))
    assert onnxlrp.load(path).preprocessing.assumed == ()
    run(0, path, "--prep", "imagenet", "--crop", "1", "--embed", "kept.onnx")
    assert onnxlrp.load("kept.onnx").preprocessing.source == "model metadata"


def test_nothing_is_overwritten_that_matters(run: Callable[..., Any], tmp_path: Path) -> None:
    path = prep_cases.first_run(tmp_path / "one", "vit")
    sidecar = path.with_name("model.prep.toml")
    sidecar.write_text("# mine\nmean = 0.25\n")
    _, err = run(2, path, "--write-prep")
    assert "rm " in err
    assert sidecar.read_text() == "# mine\nmean = 0.25\n"
    sidecar.unlink()
    before = sha(path)
    _, err = run(2, path, "--embed", path)
    assert "never changed" in err
    assert sha(path) == before
    run(0, path, "--write-prep")
    run(0, path, "--write-prep")  # again, by its own words


def test_a_copy_finds_its_weights(run: Callable[..., Any], tmp_path: Path) -> None:
    path = prep_cases.first_run(tmp_path / "one", "vit")
    made = onnx.load(path)
    path.unlink()
    onnx.save(made, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    _, err = run(3, path, "--embed", "kept.onnx")
    assert "would not find them" in err
    assert not Path("kept.onnx").exists()
    run(0, path, "--embed", path.with_name("kept.onnx"))
    kept = onnxlrp.load(path.with_name("kept.onnx"))
    x = kept.read(prep_cases.pictures()[0]).values
    np.testing.assert_array_equal(kept.outputs(x)["logits"], onnxlrp.load(path).outputs(x)["logits"])


def test_conflicts_are_said(run: Callable[..., Any], tmp_path: Path) -> None:
    path = prep_cases.first_run(tmp_path / "one", "vit")
    path.with_name("model.prep.toml").write_text("mean = 0.25\n")
    out, _ = run(0, path)
    assert "conflict: preprocessor_config.json states mean 0.5; model.prep.toml states mean 0.25, which is used" in out
    report = json.loads(run(0, path, "--json")[0])["preprocessing"]
    assert report["conflicts"] == [
        {
            "field": "mean",
            "used": "0.25",
            "source": "model.prep.toml",
            "other": "0.5",
            "other_source": "preprocessor_config.json",
        }
    ]


def test_probe_ranks_and_changes_nothing(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "digits.onnx").write_bytes(DIGITS.read_bytes())
    digits = sorted(SAMPLES.glob("digit_*.png"))
    report = json.loads(run(0, "digits.onnx", "--probe", *digits, "--json")[0])
    best = report["probe"][0]
    assert (best["flags"], best["current"], best["accuracy"]) == ("--prep 0-1 --color grey", True, None)
    assert [row["contrast"] for row in report["probe"]] == sorted(
        (r["contrast"] for r in report["probe"]), reverse=True
    )
    assert report["wrote"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.onnx"]
    (tmp_path / "truth.csv").write_text("".join(f"{path.name},{path.stem[-1]}\n" for path in digits))
    out, _ = run(0, "digits.onnx", "--probe", *digits, "--labels", "truth.csv")
    assert "100 %" in out.split("hint")[0]
    rows = json.loads(run(0, "digits.onnx", "--probe", *digits, "--labels", "truth.csv", "--json")[0])["probe"]
    assert rows[0]["accuracy"] == 1.0
    assert rows[-1]["accuracy"] < 1.0


def test_probe_scores_are_those_of_the_flags_it_names(run: Callable[..., Any], tmp_path: Path) -> None:
    """Each row against a run with the flags of that row."""
    digits = sorted(SAMPLES.glob("digit_*.png"))[:3]
    for row in json.loads(run(0, DIGITS, "--probe", *digits, "--json")[0])["probe"]:
        _, preset, _, color = row["flags"].split()
        model = onnxlrp.load(DIGITS, prep={"prep": preset, "color": color})
        z = model.outputs(np.concatenate([model.read(path).values for path in digits]))["logits"].astype(np.float64)
        best = 1 / np.exp(z - z.max(1, keepdims=True)).sum(1)
        assert row["probability"] == pytest.approx(best.mean(), rel=1e-4)
        assert row["contrast"] == pytest.approx(((z.max(1) - z.mean(1)) / z.std(1)).mean(), rel=1e-4)


def test_probe_tries_both_orders_of_colours(run: Callable[..., Any], tmp_path: Path) -> None:
    path = prep_cases.put(tmp_path / "one", prep_cases.model((20, 20)))
    for n, picture in enumerate(prep_cases.pictures()):
        picture.save(tmp_path / f"{n}.png")
    rows = json.loads(run(0, path, "--probe", tmp_path, "--json")[0])["probe"]
    flags = {row["flags"] for row in rows}
    assert {"--prep imagenet", "--prep imagenet --color BGR", "--prep caffe-bgr", "--prep 0-1 --color RGB"} <= flags
    assert [row["flags"] for row in rows if row["current"]] == ["--prep imagenet"]
    whole = prep_cases.put(tmp_path / "bytes", prep_cases.model((20, 20), dtype=onnx.TensorProto.UINT8, last=True))
    rows = json.loads(run(0, whole, "--probe", tmp_path, "--json")[0])["probe"]
    assert {row["flags"] for row in rows} == {"--color RGB", "--color BGR"}


def test_probe_with_a_file_of_class_names(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"digit {n}" for n in range(10)))
    report = json.loads(run(0, DIGITS, "--probe", SAMPLES, "--labels", "names.txt", "--json")[0])
    assert report["labels"][3] == "digit 3"
    assert report["probe"][0]["accuracy"] is None


def test_probe_refuses_what_it_cannot_use(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "truth.txt").write_text("digit_3.png eleven\n")
    _, err = run(3, DIGITS, "--probe", SAMPLES / "digit_3.png", "--labels", "truth.txt")
    assert "digit_3.png" in err
    np.save(tmp_path / "a.npy", np.zeros((1, 28, 28)))
    _, err = run(3, DIGITS, "--probe", "a.npy")
    assert "no preprocessing" in err
    _, err = run(3, DIGITS, "--probe", "gone.png")
    assert "gone.png" in err


def test_flags_that_round_trip(tmp_path: Path) -> None:
    """resize_to and offset as flags."""
    flags = {"resize_to": "26", "offset": "floor", "prep": "0-1"}
    prep = find(flags, None, {}, (3, 23, 23))
    assert (prep.resize_to, prep.offset, prep.crop) == ((26,), "floor", 23 / 26)
    left, top, _, _ = prep.box((52, 52))
    assert (left, top) == (2.0, 2.0)  # one of three spare pixels before, by two of the picture each
    assert find({**flags, "offset": "round"}, None, {}, (3, 23, 23)).box((52, 52))[:2] == (4.0, 4.0)
