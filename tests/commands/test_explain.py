"""`onnxlrp explain`: the summary it prints and the files it writes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from onnxlrp.methods.registry import METHODS, composites
from support.command_line import DIGITS, SCENE, SEVEN, SHAPES, folder, written
from support.input_models import dense


def test_the_summary(run: Any) -> None:
    out, err = run(0, "explain", DIGITS, SEVEN)
    assert not err
    prep, top, method, wrote = out.splitlines()
    assert prep == f"prep    {'resize 28x28 → grey → /255':<56}[model metadata]"
    assert top.startswith("top-3   7 0.9")
    assert top.count(" · ") == 2
    assert method.startswith("method  epsilon_plus_flat   ΣR ")
    assert " of logit " in method
    assert method.endswith(" by biases)")
    assert wrote.startswith("wrote   digit_7.7.png  ")
    assert wrote.endswith(" s")
    assert written() == ["digit_7.7.png"]
    with Image.open("digit_7.7.png") as picture:
        assert picture.text["Software"] == "onnxlrp"  # type: ignore[attr-defined]
        assert "ASSUMED" not in picture.text  # type: ignore[attr-defined]


def test_the_sums_of_the_summary_add_up(run: Any) -> None:
    alone = [name for name in composites() if "patterns" not in METHODS[name].options]
    out, _ = run(0, "explain", DIGITS, SEVEN, "--json", "-m", ",".join(alone))
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["method"] for line in lines] == alone
    for line in lines:
        (target,) = line["targets"]
        gone = target["absorbed"]
        if line["method"] in ("gradient", "guided_backprop", "deconvnet", "excitation_backprop"):
            assert gone is None
        else:
            assert target["relevance_sum"] + sum(gone.values()) == pytest.approx(target["logit"], rel=1e-4)


def test_several_methods_give_a_file_each(run: Any) -> None:
    out, _ = run(0, "explain", DIGITS, SEVEN, "-m", "epsilon, gradient,epsilon")
    assert written() == ["digit_7.7.epsilon.png", "digit_7.7.gradient.png"]
    assert [line.split()[1] for line in out.splitlines() if line.startswith("method")] == ["epsilon", "gradient"]
    gradient = next(line for line in out.splitlines() if "gradient " in line)
    assert "ΣR" not in gradient
    assert "logit" in gradient


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["-t", "3"], ["digit_7.3.png"]),
        (["-t", "top1"], ["digit_7.7.png"]),
        (["-t", "1", "-t", "2"], ["digit_7.1.png", "digit_7.2.png"]),
        (["-t", "1", "-t", "2", "--format", "npz"], ["digit_7.1-2.npz"]),
        (["-o", "{label}_{method}_{index}.json"], ["7_epsilon_plus_flat_0.json"]),
        (["-o", "map", "--format", "png,npz, json"], ["map.json", "map.npz", "map.png"]),
        (["-o", "map.npz"], ["map.npz"]),
    ],
)
def test_targets_and_names(run: Any, words: list[str], names: list[str]) -> None:
    run(0, "explain", DIGITS, SEVEN, *words)
    assert written() == names


def test_top3_gives_three_files_and_says_whose_they_are(run: Any) -> None:
    out, _ = run(0, "explain", DIGITS, SEVEN, "-t", "top3")
    assert len(written()) == 3
    assert [f"digit_7.{label}." for label in ("7", "9")] == [
        f"digit_7.{label}." for label in ("7", "9") if f"digit_7.{label}.png" in written()
    ]
    methods = [line for line in out.splitlines() if line.startswith("method")]
    assert len(methods) == 3
    assert "  9: ΣR" in methods[1]


def test_notes_of_several_targets_and_methods_stand_in_columns(run: Any) -> None:
    """Each line has its own target's note, and all begin where the longest method's does."""
    out, _ = run(0, "explain", DIGITS, SEVEN, "-t", "top3", "-m", "grad_cam,integrated_gradients")
    lines = [line for line in out.splitlines() if line.startswith("method")]
    assert [line.count("layer relu4") + line.count("layer relu3") for line in lines] == [1, 1, 1, 0, 0, 0]
    assert {line.index("logit") for line in lines if ":" not in line} == {8 + len("integrated_gradients") + 3}


def test_of_an_animation_the_first_frame_is_explained_and_said_to_be(run: Any) -> None:
    first = Image.open(SEVEN).convert("L")
    first.save("moves.gif", save_all=True, append_images=[Image.eval(first, lambda v: 255 - v)])
    first.save("still.gif")
    _, err = run(0, "explain", DIGITS, "moves.gif", "still.gif", "--format", "npz")
    assert err.count("frames") == 1
    assert "moves.gif" in err
    np.testing.assert_array_equal(np.load("moves.7.npz")["relevance"], np.load("still.7.npz")["relevance"])


def test_a_map_that_biases_drain_is_said_to_be_one_once_for_all_methods(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("onnxlrp.commands.summary.MOSTLY", 1e-4)
    _, err = run(0, "explain", DIGITS, SEVEN, "-m", "epsilon_plus,gradient,epsilon_plus_flat")
    (said,) = [line for line in err.splitlines() if "nearly all of the logit" in line]
    assert "under epsilon_plus, epsilon_plus_flat:" in said
    assert "occlusion" in err


@pytest.mark.skipif(not SCENE, reason="models/samples holds no scene")
def test_a_label_is_a_target(run: Any) -> None:
    out, _ = run(0, "explain", SHAPES, SCENE, "-t", "Circle", "-o", "{label}.png")
    assert written() == ["circle.png"]
    assert "logit" in out


def test_a_folder_in_batches_equals_one_by_one(run: Any) -> None:
    folder("in", range(5))
    out, err = run(0, "explain", DIGITS, "in", "--batch-size", 2, "--format", "npz", "-v")
    assert "layers, read in" in err
    assert written() == ["digit_0.0.npz", *(f"digit_{i}.{i}.npz" for i in range(1, 5)), "in"]
    assert len([line for line in out.splitlines() if line.startswith("digit_")]) == 5
    assert out.splitlines()[-1].startswith("wrote   5 files  ")
    run(0, "explain", DIGITS, "in/digit_3.png", "-o", "alone.npz")
    alone, batched = (np.load(name)["relevance"] for name in ("alone.npz", "digit_3.3.npz"))
    np.testing.assert_allclose(batched, alone, atol=1e-6)
    assert alone.shape == (1, 1, 28, 28)


def test_heatmaps_in_the_folder_are_not_explained_again(run: Any, refused: Any) -> None:
    folder("in", range(3))
    os.chdir("in")
    run(0, "explain", DIGITS, ".")
    assert len(written()) == 6
    out, err = run(0, "explain", DIGITS, ".")
    assert "3 heatmaps written by onnxlrp are left out" in err
    assert len(written()) == 6
    assert out.count(".png") == 3
    for digit in range(3):
        os.unlink(f"digit_{digit}.png")
    assert refused(5, "explain", DIGITS, ".")


def test_equal_stems_of_two_folders_stay_apart(run: Any) -> None:
    folder("a", range(1))
    folder("b", range(1))
    run(0, "explain", DIGITS, "a", "b", "-q")
    assert written() == ["a", "b", "digit_0-2.0.png", "digit_0.0.png"]


def test_npy(run: Any) -> None:
    x = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
    np.save("one.npy", x[0])
    np.save("three.npy", x)
    out, _ = run(0, "explain", DIGITS, "one.npy", "--format", "npz", "-t", 4)
    assert out.startswith("prep    array, unchanged")
    run(0, "explain", DIGITS, "three.npy", "--format", "npz", "-t", 4, "--batch-size", 2)
    assert written() == ["one.4.npz", "one.npy", "three.0.4.npz", "three.1.4.npz", "three.2.4.npz", "three.npy"]
    np.testing.assert_allclose(np.load("one.4.npz")["relevance"], np.load("three.0.4.npz")["relevance"], atol=1e-6)
    # Pictures and arrays of one run go in batches of their own.
    out, _ = run(0, "explain", DIGITS, SEVEN, "one.npy", SEVEN)
    assert out.count("prep ") == 2
    with Image.open("digit_7.7.png") as figure:
        assert figure.width > 900  # the picture beside the heatmap


@pytest.mark.parametrize("stem", ["t", "nohead", "a_table_of_a_long_name"])
@pytest.mark.parametrize("named", [False, True])
def test_names_of_rows_stand_apart_from_what_follows(run: Any, stem: str, named: bool) -> None:
    """Rows are called by the file and their number or name, which is longer than the file."""
    names = [f"n{n * 'o'}" for n in range(12)] if named else [str(n) for n in range(12)]
    head: list[list[Any]] = [["who", "a", "b", "c", "d"]] if named else []
    rows: list[list[Any]] = [*head, *([*([name] if named else []), 1, n, 2, 3] for n, name in enumerate(names))]
    Path(f"{stem}.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    onnx.save(dense((4,)), "m.onnx")
    asked = ["--name-column", "who"] if named else []
    for size in (12, 5):
        words = [*asked, "--batch-size", size, "-o", "{stem}.npz"]
        out, _ = run(0, "explain", "m.onnx", f"{stem}.csv", *words)
        lines = [line for line in out.splitlines() if line.startswith(f"{stem}.")]
        found = [re.fullmatch(rf"{stem}\.(\w+)( {{2,}})\S.*", line) for line in lines]
        assert [match and match[1] for match in found] == names
        assert (named and size < 12) or len({match.end(2) for match in found if match}) == 1


def test_json_is_one_object_a_line(run: Any) -> None:
    Path("bad.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    out, err = run(
        3, "explain", DIGITS, SEVEN, "bad.png", "--json", "-m", "epsilon,gradient", "-t", "top3",
        "--on-error", "skip", "--ledger",
    )  # fmt: skip
    *good, gradient, bad = sorted((json.loads(line) for line in out.splitlines()), key=lambda row: "error" in row)
    (row,) = good
    assert set(row) == {
        "input", "name", "targets", "top", "method", "relevance_shape", "notes", "ledger", "provenance", "assumed",
        "files", "seconds",
    }  # fmt: skip
    assert row["input"] == SEVEN
    assert row["name"] == "digit_7"
    assert row["relevance_shape"] == [3, 1, 28, 28]
    assert [t["id"] for t in row["targets"]][:2] == [7, 9]
    assert set(row["targets"][0]) == {"id", "label", "logit", "relevance_sum", "absorbed"}
    assert row["targets"][0]["absorbed"].keys() == {"bias", "epsilon", "gate"}
    assert row["provenance"]["preprocessing"]["source"] == "model metadata"
    assert row["ledger"][0].keys() >= {"layer", "op", "rule", "arrived", "passed", "bias", "residual", "error"}
    assert [Path(name).exists() for name in row["files"]] == [True] * 3
    assert row["seconds"] > 0
    assert gradient["targets"][0]["absorbed"] is None
    assert bad.keys() == {"input", "error", "fix"}
    assert "bad.png" in err


def test_ledger(run: Any) -> None:
    out, _ = run(0, "explain", DIGITS, SEVEN, "--ledger", "--format", "json,png")
    lines = out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("layer "))
    assert lines[head].split() == [
        "layer", "op", "rule", "arrived", "passed", "bias", "epsilon", "gate", "residual",
    ]  # fmt: skip
    assert any(line.startswith("all ") for line in lines)
    data = json.loads(Path("digit_7.7.json").read_text())
    assert len(data["ledger"]) == len(lines) - head - 3
    run(0, "explain", DIGITS, SEVEN, "--format", "json")
    assert json.loads(Path("digit_7.7.json").read_text())["ledger"] is None


def test_quiet_and_verbose(run: Any) -> None:
    assert run(0, "explain", DIGITS, SEVEN, "-q") == ("", "")
    assert written() == ["digit_7.7.png"]
    _, err = run(0, "explain", DIGITS, SEVEN, "--verbose")
    assert "layers, read in" in err
