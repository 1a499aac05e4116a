"""The choice of a method by measurement: by brute force, on noise, and what the file beside the model does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import InputError, UsageError
from onnxlrp.evaluation import tuning
from onnxlrp.evaluation.evaluate import evaluate
from onnxlrp.model.tuned import tuned_path, write_tuned
from support.attention_models import Transformer
from support.paths import MODELS
from support.problems import convolutional


def test_the_choice_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 7)) + np.array([0, 0.2, 1.0, -1, 0.1])[:, None]
    gains = []
    for left_out in range(7):
        kept = [i for i in range(7) if i != left_out]
        best = max(range(5), key=lambda c: values[c, kept].mean())
        gains.append(values[best, left_out] - values[0, left_out])
    found = tuning.choose(values)
    assert found.best == int(values.mean(axis=1).argmax())
    np.testing.assert_allclose(found.gain, np.mean(gains))
    assert found.low < found.gain < found.high
    assert found.pairs == sum(g > 0 for g in gains)


def test_noise_does_not_win_and_what_is_better_everywhere_does() -> None:
    """Of 200 runs in which nothing is better, 5 win by chance at a level of 2.5 %; the interval alone, 20."""
    rng = np.random.default_rng(1)
    assert sum(tuning.choose(rng.normal(size=(12, 16))).wins for _ in range(200)) < 13
    better = rng.normal(size=(12, 16))
    better[4] = better[0] + 0.5
    better[1:4] -= 3
    better[5:] -= 3
    found = tuning.choose(better)
    assert (found.best, found.pairs) == (4, 16)
    np.testing.assert_allclose([found.gain, found.low, found.high], 0.5)
    assert found.wins
    assert found.chance < 1e-3
    with pytest.raises(UsageError, match="too few"):
        tuning.choose(better[:, :3])


def test_candidates_follow_the_model_with_its_default_first() -> None:
    attention = tuning.candidates(onnxlrp.load(Transformer().proto()), pictures=False)
    assert str(attention[0]) == "attention"
    assert {"attention", "attention_flat", "attnlrp", "epsilon_plus_flat"} == {one.method for one in attention}
    assert len(set(map(str, attention))) == len(attention)
    plain = tuning.candidates(convolutional(), pictures=False)
    assert str(plain[0]) == "epsilon_plus_flat"
    assert "gamma gamma=0.25" in map(str, plain)
    assert "epsilon_gamma_box" not in map(str, plain), "nobody states its bounds"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(Transformer().proto(), path)
    return path


X = np.random.default_rng(3).normal(size=(6, 3, 8, 12)).astype(np.float32)


def test_what_is_written_is_the_default(saved: Path, tmp_path: Path) -> None:
    model = onnxlrp.load(saved)
    before = model.explain(X, 1)
    wanted = model.explain(X, 1, method="attnlrp", gamma=0.05, first_gamma=0.25)
    path = write_tuned(tuned_path(saved), "attnlrp", {"gamma": 0.05, "first_gamma": 0.25}, model.graph.sha256, "test")
    assert path == tmp_path / "m.tune.toml"
    tuned = onnxlrp.load(saved)
    found = tuned.explain(X, 1)
    assert not np.allclose(found.relevance, before.relevance)
    np.testing.assert_array_equal(found.relevance, wanted.relevance)
    assert found.provenance["options"] == {"gamma": 0.05, "first_gamma": 0.25}
    assert "m.tune.toml" in found.provenance["default_for"]
    other = tuned.explain(X, 1, gamma=0.25)  # an option that is stated goes first
    wanted = model.explain(X, 1, method="attnlrp", gamma=0.25, first_gamma=0.25)
    np.testing.assert_array_equal(other.relevance, wanted.relevance)
    np.testing.assert_array_equal(tuned.explain(X, 1, method="attention").relevance, before.relevance)
    for methods in (["auto"], {"mine": "auto"}):
        cell = evaluate(tuned, X, methods, {"deletion": {"steps": 2}}).cells[0]
        assert cell.options == {"gamma": 0.05, "first_gamma": 0.25}
    explainer = tuned.export(tmp_path / "e.onnx", target="top1")
    props = {p.key: p.value for p in onnx.load(explainer).metadata_props}
    about = json.loads(props["onnxlrp.explainer"])
    assert (about["method"], about["options"]) == ("attnlrp", {"gamma": 0.05, "first_gamma": 0.25})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('method = "attention"', "found for another model"),
        ('method = "attention"\nsha256 = "00"', "found for another model"),
        ('method = "nonsense"', "no method"),
        ("method = ", "cannot be read as TOML"),
        ('method = "attention"\nextra = 1', "unknown key extra"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(saved: Path, text: str, message: str) -> None:
    tuned_path(saved).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        onnxlrp.load(saved).explain(X, 1)
    assert "onnxlrp tune" in caught.value.fix
    assert onnxlrp.load(saved).explain(X, 1, method="attention").relevance.shape == X.shape


def arrays(folder: Path) -> str:
    folder.mkdir()
    for n, x in enumerate(X):
        np.save(folder / f"x{n}.npy", x)
    return str(folder)


def test_the_command_writes_a_winner_and_explain_says_it(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(result: Any, asked: Any) -> Any:
        """The candidate `attention_flat gamma=0.1` is better on every picture."""
        values = np.zeros((len(asked), len(X)))
        values[list(map(str, asked)).index("attention_flat gamma=0.1")] = 1 + np.arange(len(X)) / 10
        return values

    monkeypatch.setattr(tuning, "measured", planted)
    folder, out = arrays(tmp_path / "x"), str(tmp_path / "t.json")
    assert main(["tune", str(saved), folder, "--cells", "2", "-o", out]) == 0
    said = capsys.readouterr().out
    assert "edges (control)" in said
    assert "attention_flat gamma=0.1" in said
    assert "m.tune.toml" in said
    assert main(["explain", str(saved), f"{folder}/x0.npy", "-o", str(tmp_path / "x.png")]) == 0
    assert "attention_flat gamma=0.1, for this model, by m.tune.toml" in capsys.readouterr().out
    assert main(["tune", str(saved), folder]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["tune"], ["evaluate", "--metric", "abpc", "-m", "gradient"]], ids=lambda words: words[0]
)
@pytest.mark.parametrize("prep", [[], ["--prep", "0-1", "--resize", "stretch"]], ids=["assumed", "stated"])
def test_an_assumed_preprocessing_is_said_before_anything_is_measured(
    words: list[str],
    prep: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values that the model was not trained on change which method is best."""

    def stopped(*args: Any, **options: Any) -> Any:
        raise UsageError("measured", "")

    monkeypatch.setattr(tuning, "candidates", lambda *args: [])
    for command in ("tune", "evaluate"):
        monkeypatch.setattr(f"onnxlrp.commands.{command}.evaluate", stopped)
    bare = onnx.load(MODELS / "digits.onnx")
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    pictures = [str(path) for path in sorted((MODELS / "samples").glob("digit_?.png"))]
    assert main([words[0], str(tmp_path / "bare.onnx"), *pictures, *words[1:], *prep]) == 2
    err = capsys.readouterr().err
    assert "measured" in err
    assert ("preprocessing ASSUMED, not stated: " in err) == (not prep)


@pytest.mark.slow
def test_the_command_on_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is there if, and only if, the interval of the gain lies above 0."""
    model = tmp_path / "digits.onnx"
    shutil.copy(MODELS / "digits.onnx", model)
    pictures = [str(path) for path in sorted((MODELS / "samples").glob("digit_?.png"))]
    assert main(["tune", str(model), *pictures, "--cells", "7", "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out[said.out.index("{") :])
    choice = found["choice"]
    won = choice["low"] > 0 and choice["chance"] <= 0.025 and found["best"] != found["default"]
    assert tuned_path(model).exists() == won == (found["file"] is not None)
    assert won or "nothing beats the default" in said.err
    values = np.array([c["values"] for c in found["evaluation"]["cells"] if "(control)" not in c["method"]])
    assert tuning.choose(values)._asdict() == found["choice"]


def test_too_few_pictures_are_refused(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "one.npy", X[0])
    assert main(["tune", str(saved), str(tmp_path / "one.npy")]) == 2
    assert "too few" in capsys.readouterr().err
