"""The command line: what it prints and writes, its options, its exit codes, and what it does to bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import onnxlrp
from onnxlrp import files
from onnxlrp.cli import main
from onnxlrp.commands.parsers import COMMANDS
from onnxlrp.composites import PRESETS, options_of
from onnxlrp.methods import FAMILIES

MODELS = Path(__file__).parents[2] / "models"
DIGITS, SHAPES = str(MODELS / "digits.onnx"), str(MODELS / "shapes.onnx")
SEVEN = str(MODELS / "samples" / "digit_7.png")
SCENE = str(next((MODELS / "samples").glob("scene_[a-z]*[!k].png"), ""))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """`run(code, *words)` runs a command, wants that exit code, and gives what it said on stdout and stderr."""

    def call(code: int, *words: object) -> tuple[str, str]:
        capsys.readouterr()
        assert main([str(word) for word in words]) == code
        said = capsys.readouterr()
        assert "Traceback" not in said.err or "-vv" in words
        return said.out, said.err

    return call


@pytest.fixture
def refused(run: Any) -> Any:
    """`refused(code, words...)` wants that code, nothing on stdout, and the two lines of an error."""

    def call(code: int, *words: object, quiet: bool = True) -> tuple[str, str]:
        out, err = run(code, *words)
        assert not (quiet and out)
        lines = err.strip().splitlines()
        assert len(lines) == 2, err
        assert lines[0].startswith("error ")
        assert lines[1].startswith("fix ")
        return lines[0][8:], lines[1][8:]

    return call


def written() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def folder(name: str, digits: range = range(10)) -> Path:
    made = Path(name)
    made.mkdir()
    for digit in digits:
        shutil.copy(MODELS / "samples" / f"digit_{digit}.png", made)
    return made


def spawn(*words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "onnxlrp", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, **more)


@pytest.fixture
def untaught(monkeypatch: pytest.MonkeyPatch) -> str:
    """An operator of which the table of operators knows nothing."""
    from onnxlrp.layers import LAYERS, registry

    registry()
    monkeypatch.delitem(LAYERS, "Tanh")
    return "Tanh"


def one_layer(op: str, path: str = "odd.onnx", shape: tuple[int, ...] = (3, 8, 8), **attributes: Any) -> str:
    """A model of one operator without weights."""
    dims = ["N", *shape]
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], name="odd_node", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


# -- quick where it can be


def test_help_and_import_load_nothing_heavy() -> None:
    code = (
        "import sys, onnxlrp\n"
        "from onnxlrp.cli import main\n"
        "for words in (['--help'], ['explain', '--help'], ['--version']): assert main(words) == 0\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'PIL', 'cupy'}\n"
        "assert not heavy & {name.partition('.')[0] for name in sys.modules}, heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "exit codes" in done.stdout
    assert onnxlrp.__version__ in done.stdout


def test_a_heatmap_by_a_composite_loads_only_what_it_needs(tmp_path: Path) -> None:
    """A first answer is mostly imports: methods, masked arrays and the like come when they are asked for."""
    code = (
        "import sys\n"
        "from onnxlrp.cli import main\n"
        f"assert main(['explain', {DIGITS!r}, {SEVEN!r}, '-o', {str(tmp_path / 'x.png')!r}, '-q']) == 0\n"
        "print(*sorted(name for name in sys.modules if not name.startswith('PIL')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "onnxlrp.methods.registry" in loaded
    assert not loaded & {f"onnxlrp.methods.{family}" for family in FAMILIES}
    assert not loaded & {"numpy.ma", "difflib", "tomllib", "torch", "onnxlrp.checks"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(run: Any, command: str) -> None:
    """What must be given stands in the first line, whatever else there is."""
    out, err = run(0, command, "--help")
    first = out.splitlines()[0]
    assert first.startswith(f"usage: onnxlrp {command} ")
    assert first.endswith(" [options]")
    assert all(len(line) <= 120 for line in out.splitlines())
    assert not err
    if command == "explain":
        assert first == "usage: onnxlrp explain MODEL INPUT ... [options]"


def test_python_m_onnxlrp() -> None:
    done = spawn("--version")
    assert (done.returncode, done.stdout) == (0, f"onnxlrp {onnxlrp.__version__}\n")


# -- explain: what is said and written


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
    alone = [name for name in PRESETS if "patterns" not in options_of(name)]
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
    assert out.startswith("prep    the array as it is")
    run(0, "explain", DIGITS, "three.npy", "--format", "npz", "-t", 4, "--batch-size", 2)
    assert written() == ["one.4.npz", "one.npy", "three.0.4.npz", "three.1.4.npz", "three.2.4.npz", "three.npy"]
    np.testing.assert_allclose(np.load("one.4.npz")["relevance"], np.load("three.0.4.npz")["relevance"], atol=1e-6)
    # Pictures and arrays of one run go in batches of their own.
    out, _ = run(0, "explain", DIGITS, SEVEN, "one.npy", SEVEN)
    assert out.count("prep ") == 2
    with Image.open("digit_7.7.png") as figure:
        assert figure.width > 900  # the picture beside the heatmap


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


def test_the_look_of_the_picture(run: Any) -> None:
    run(0, "explain", DIGITS, SEVEN, "-o", "a.png")
    run(0, "explain", DIGITS, SEVEN, "-o", "b.png", "--cmap", "coldnhot", "--clip", "90", "--space", "original")
    assert Path("a.png").read_bytes() != Path("b.png").read_bytes()


def test_engines_and_providers_agree(run: Any) -> None:
    run(0, "explain", DIGITS, SEVEN, "-o", "ort.npz", "--engine", "ort", "--providers", "cpu")
    run(0, "explain", DIGITS, SEVEN, "-o", "reference.npz", "--engine", "reference")
    fast, exact = (np.load(f"{name}.npz")["relevance"] for name in ("ort", "reference"))
    np.testing.assert_allclose(fast, exact, atol=1e-5 * np.abs(exact).max())


def test_rules_and_options_of_methods_change_the_map(run: Any) -> None:
    def relevance(*words: object) -> np.ndarray[Any, Any]:
        run(0, "explain", DIGITS, SEVEN, "-o", "map.npz", "-q", *words)
        return np.asarray(np.load("map.npz")["relevance"])

    plain = relevance("-m", "epsilon_gamma_box")
    by_words = [
        relevance("-m", "epsilon_gamma_box", "--gamma", "0.5"),
        relevance("-m", "epsilon_gamma_box", "--epsilon", "0.1", "--stabilizer", "1e-5"),
        relevance("-m", "epsilon_gamma_box", "--low", "-1", "--high", "2"),
        relevance("-m", "epsilon_gamma_box", "--rule", "first=flat", "--rule", "Conv=gamma(gamma=0.1)"),
    ]
    for changed in by_words:
        assert np.abs(changed - plain).max() > 1e-4 * np.abs(plain).max()
    np.testing.assert_array_equal(relevance("-m", "epsilon_gamma_box", "--low", "0", "--high=1"), plain)
    np.testing.assert_array_equal(
        relevance("--rule", "Gemm=epsilon", "--rule", "convolution=zplus(1e-6)", "-m", "epsilon_plus"),
        relevance("-m", "epsilon_plus"),
    )


@pytest.mark.skipif(not SCENE, reason="models/samples holds no scene")
def test_bounds_for_each_channel(run: Any) -> None:
    run(0, "explain", SHAPES, SCENE, "-m", "epsilon_gamma_box", "-o", "stated.npz")
    run(0, "explain", SHAPES, SCENE, "-m", "epsilon_gamma_box", "-o", "typed.npz", "--low", "-2,-2,-2", "--high", "2")
    run(0, "explain", SHAPES, SCENE, "-m", "epsilon_gamma_box", "-o", "other.npz", "--low", "-2,-2,-3", "--high", "2")
    stated, typed, other = (np.load(f"{name}.npz")["relevance"] for name in ("stated", "typed", "other"))
    np.testing.assert_array_equal(stated, typed)
    assert np.abs(stated - other).max() > 1e-6


def test_preprocessing_by_flags(run: Any) -> None:
    Path("names.txt").write_text("\n".join(f"digit {i}" for i in range(10)))
    out, err = run(
        0, "explain", DIGITS, SEVEN, "--mean", "0.5", "--std", "0.25", "--scale", "1/255", "--color", "grey",
        "--layout", "NCHW", "--size", "28x28", "--resize", "shorter-crop", "--crop", "1", "--interpolation", "box",
        "--labels", "names.txt", "-t", "digit 7", "--strict",
    )  # fmt: skip
    (note,) = err.splitlines()
    assert "model metadata states mean 0, std 1, resize stretch" in note
    assert "flags states mean 0.5, std 0.25, resize shorter-crop" in note
    assert "−0.5 ÷0.25" in out
    assert "[flags" in out
    assert written() == ["digit_7.7.png", "names.txt"]
    out, _ = run(0, "explain", DIGITS, SEVEN, "--prep", "-1-1")
    assert "−0.5 ÷0.5" in out


def test_assumed_preprocessing_is_said_and_stamped(run: Any, refused: Any) -> None:
    bare = onnx.load(DIGITS)
    del bare.metadata_props[:]
    onnx.save(bare, "bare.onnx")
    out, err = run(0, "explain", "bare.onnx", SEVEN, "--format", "png,json")
    assert "[ASSUMED]" in out
    assert "ASSUMED" in err
    assert "--prep 0-1" in err
    with Image.open("digit_7.7.png") as picture:
        assert "mean" in picture.text["ASSUMED"]  # type: ignore[attr-defined]
    assert "mean" in json.loads(Path("digit_7.7.json").read_text())["ASSUMED"]
    _, fix = refused(4, "explain", "bare.onnx", SEVEN, "--strict")
    assert "--prep 0-1" in fix
    Path("bare.prep.toml").write_text('preset = "0-1"\n')
    out, err = run(0, "explain", "bare.onnx", SEVEN, "--strict")
    assert "[bare.prep.toml]" in out
    assert not err


# -- the other commands


def test_inspect(run: Any) -> None:
    out, err = run(0, "inspect", DIGITS, "-m", "epsilon_gamma_box", "--rule", "Gemm=gamma(0.5)")
    assert not err
    for piece in ("input", "float32 [N, 1, 28, 28]", "logits", "[model metadata]", "any", "zbox(low=0", "no rule"):
        assert piece in out
    data = json.loads(run(0, "inspect", DIGITS, "--rule", "Gemm=gamma(0.5)", "--json")[0])
    assert data["batch"] is None
    assert data["preprocessing"]["source"] == "model metadata"
    assert data["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 28, 28]}]
    assert data["labels"] == list("0123456789")
    assert not data["without_rule"]
    rules = {row["op"]: row["rule"] for row in data["layers"]}
    assert rules["Gemm"] == "gamma(gamma=0.5)"
    assert rules["Relu"] == "pass"
    assert next(row for row in data["layers"] if row["op"] == "Conv")["rule"] == "flat"


def test_inspect_marks_operators_without_a_rule(run: Any, untaught: str) -> None:
    one_layer(untaught)
    out, _ = run(0, "inspect", "odd.onnx")
    assert "-- NO RULE --" in out
    assert f"--rule '{untaught}=pass'" in out
    assert json.loads(run(0, "inspect", "odd.onnx", "--json")[0])["without_rule"] == ["odd_node"]
    out, _ = run(0, "inspect", "odd.onnx", "--rule", f"{untaught}=pass")
    assert "-- NO RULE --" not in out
    out, _ = run(0, "inspect", "odd.onnx", "--on-unsupported", "pass")
    assert "pass  [--on-unsupported]" in out


def test_inspect_a_model_that_takes_no_picture(run: Any) -> None:
    one_layer("Relu", shape=(16,))
    assert "prep    none:" in run(0, "inspect", "odd.onnx")[0]


def test_export(run: Any, refused: Any) -> None:
    out, _ = run(0, "export", DIGITS, "-o", "explainer.onnx")
    lines = out.splitlines()
    assert lines[0] == "method  epsilon_plus_flat, target input"
    assert "input   image  float32 [N, 1, 28, 28]" in lines
    assert "input   target  int64 [N]" in lines
    assert "output  relevance  float32 [N, 1, 28, 28]" in lines
    assert " MB" in lines[-1]
    data = json.loads(
        run(0, "export", DIGITS, "-o", "top.onnx", "-t", "top3", "-m", "gamma", "--gamma", 0.1, "--json")[0]
    )
    assert data["bytes"] == Path("top.onnx").stat().st_size
    assert [value["name"] for value in data["inputs"]] == ["image"]
    assert data["outputs"][1] == {"name": "relevance", "dtype": "float32", "shape": [3, "N", 1, 28, 28]}
    assert data["options"] == {"gamma": 0.1}
    shutil.copy(DIGITS, "model.onnx")
    before = Path("model.onnx").read_bytes()
    assert "replace the model" in refused(2, "export", "model.onnx", "-o", "./model.onnx")[0]
    assert Path("model.onnx").read_bytes() == before
    refused(2, "export", DIGITS, "-o", "x.onnx", "-t", "281")
    refused(2, "export", DIGITS, "-o", "x.onnx", "-t", "top99")
    refused(2, "export", DIGITS, "-o", "x.png")
    refused(2, "export", DIGITS, "-o", "x.onnx", "-m", "gamma,epsilon")
    refused(3, "export", DIGITS, "-o", "nowhere/x.onnx")


def test_lists(run: Any) -> None:
    out, _ = run(0, "methods")
    assert all(name in out for name in PRESETS)
    data = json.loads(run(0, "methods", "--json")[0])
    assert data["default"] == "epsilon_plus_flat"
    assert {row["name"] for row in data["methods"]} >= set(PRESETS)
    out, _ = run(0, "rules")
    assert "gamma(gamma, epsilon)" in out
    assert any(row["name"] == "zbox" for row in json.loads(run(0, "rules", "--json")[0])["rules"])


# -- exit codes: 0 is everywhere above


def test_1_a_check_failed(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxlrp.commands import summary

    monkeypatch.setattr(summary, "CLOSES", 1e-30)
    what, fix = refused(1, "explain", DIGITS, SEVEN, "--ledger", quiet=False)
    assert "the ledger does not close: " in what
    assert "Σ|R|" in what
    assert "--engine reference" in fix
    assert written() == ["digit_7.7.png"]


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        ([], "no command", "--help"),
        (["explian"], "explian", '"explain"'),
        (["--wrong"], "--wrong", "did you mean"),
        (["explain"], "required", "--help"),
        (["explain", DIGITS], "INPUT", "--help"),
        (["explain", DIGITS, SEVEN, "--methd", "x"], "--methd", '"--method"'),
        (["explain", DIGITS, SEVEN, "--meth", "gamma"], "--meth", '"--method"'),
        (["explain", DIGITS, SEVEN, "-m", "epsilon_pluss"], "epsilon_pluss", '"epsilon_plus"'),
        (["explain", DIGITS, SEVEN, "-m", ","], "no method", "onnxlrp methods"),
        (["explain", DIGITS, SEVEN, "-t", "cicle"], "cicle", "known"),
        (["explain", DIGITS, SEVEN, "-t", "10"], "no such class", "0 to 9"),
        (["explain", DIGITS, SEVEN, "-t", "-1"], "count from 0", "class id"),
        (["explain", DIGITS, SEVEN, "-t", "top11"], "10 classes", "top10"),
        (["explain", DIGITS, SEVEN, "--rule", "Conv=gama(1)"], "gama", '"gamma"'),
        (["explain", DIGITS, SEVEN, "--rule", "Conv=gamma(x)"], '"x"', "gamma(0.25)"),
        (["explain", DIGITS, SEVEN, "--rule", "Conv"], "LAYER=RULE", "Conv=gamma"),
        (["explain", DIGITS, SEVEN, "--rule", "Cnv=zplus"], "matches no layer", '"Conv"'),
        (["explain", DIGITS, SEVEN, "--rule", "(=zplus"], "regular expression", "pattern"),
        (["explain", DIGITS, SEVEN, "--gamma", "1"], "no option --gamma", "epsilon_gamma_box"),
        (["explain", DIGITS, SEVEN, "--epsilon", "much"], '"much"', "--epsilon"),
        (["explain", DIGITS, SEVEN, "--epsilon", "1,2"], "several", "--epsilon 1"),
        (["explain", DIGITS, SEVEN, "--clip", "x"], "--clip", "--help"),
        (["explain", DIGITS, SEVEN, "--clip", "0"], "percentile", "99.5"),
        (["explain", DIGITS, SEVEN, "--cmap", "sesmic"], "sesmic", '"seismic"'),
        (["explain", DIGITS, SEVEN, "--space", "outer"], "outer", "original"),
        (["explain", DIGITS, SEVEN, "--batch-size", "0"], "--batch-size 0", "1 or more"),
        (["explain", DIGITS, SEVEN, "--on-error", "cry"], "cry", "--help"),
        (["explain", DIGITS, SEVEN, "--engine", "otr"], "otr", '"ort"'),
        (["explain", DIGITS, SEVEN, "--providers", "cpuu"], "cpuu", '"cpu"'),
        (["explain", DIGITS, SEVEN, "--prep", "imagnet"], "imagnet", '"imagenet"'),
        (["explain", DIGITS, SEVEN, "--mean", "a"], "--mean", "one number"),
        (["explain", DIGITS, SEVEN, "--format", "jpg"], "jpg", "png"),
        (["explain", DIGITS, SEVEN, "-o", "{stm}.png"], "stm", '"stem"'),
        (["explain", DIGITS, SEVEN, "-o", "map.jpg"], "written as PNG", "'map.png'"),
        (["explain", DIGITS, SEVEN, "-o", "{stem}.pdf"], "written as PNG", "'{stem}.png'"),
        (["explain", DIGITS, SEVEN, "-o", "nowhere/x.png"], "nowhere", "mkdir -p"),
        (["explain", DIGITS, SEVEN, SEVEN, "-o", "x.png"], "2 inputs", "{stem}"),
        (["explain", DIGITS, SEVEN, "-o", "x.png", "-m", "gamma,epsilon"], "2 methods", "{method}"),
        (["inspect", DIGITS, "-m", "gama"], "gama", '"gamma"'),
    ],
)
def test_2_usage(refused: Any, words: list[str], what: str, fix: str) -> None:
    said, hint = refused(2, *words)
    assert what in said
    assert fix in hint
    assert written() == []


def test_2_a_heatmap_never_replaces_an_input(refused: Any) -> None:
    before = (folder("in", range(2)) / "digit_1.png").read_bytes()
    what, _ = refused(2, "explain", DIGITS, "in", "-o", "in/{stem}.png", quiet=False)
    assert "would replace an input" in what
    assert Path("in/digit_1.png").read_bytes() == before


def test_2_no_runtime_installed() -> None:
    code = (
        "import sys\n"
        "sys.modules['onnxruntime'] = None\n"
        "from onnxlrp.cli import main\n"
        f"sys.exit(main(['explain', {DIGITS!r}, {SEVEN!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "onnxlrp[cpu]" in done.stderr
    assert "onnxlrp[cuda]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: "nothing.png", "no such file"),
        (lambda: Path("empty.png").write_bytes(b"") or "empty.png", "empty"),
        (lambda: Path("cut.png").write_bytes(Path(SEVEN).read_bytes()[:200]) or "cut.png", "cut"),
        (lambda: Path("text.png").write_text("hello there") or "text.png", "not a picture"),
        (lambda: np.save("shape.npy", np.zeros((2, 5))) or "shape.npy", "(2, 5)"),
        (lambda: np.save("nan.npy", np.full((1, 28, 28), np.nan)) or "nan.npy", "NaN"),
        (lambda: np.save("objects.npy", np.array([{}]), allow_pickle=True) or "objects.npy", "objects"),
        (lambda: Path("cut.npy").write_bytes(b"\x93NUMPY\x01") or "cut.npy", "cut"),
    ],
)
def test_3_input_rejected(refused: Any, make: Any, what: str) -> None:
    name = make()
    name = name if isinstance(name, str) else str(next(Path().iterdir()).name)
    said, _ = refused(3, "explain", DIGITS, name)
    assert said.startswith(name)
    assert what in said
    assert not [path for path in written() if path.endswith((".7.png", ".tmp"))]


@pytest.mark.parametrize("content", [b"", b"not a model", Path(DIGITS).read_bytes()[:5000], Path(SEVEN).read_bytes()])
def test_3_model_rejected(refused: Any, content: bytes) -> None:
    Path("model.onnx").write_bytes(content)
    said, _ = refused(3, "explain", "model.onnx", SEVEN)
    assert "model.onnx" in said


def test_3_a_missing_model(refused: Any) -> None:
    assert "nothing.onnx" in refused(3, "explain", "nothing.onnx", SEVEN)[0]


def test_3_arrays_are_told_how_to_fit(refused: Any) -> None:
    np.savez("all.npz", pictures=np.zeros((2, 28, 28)))
    what, fix = refused(3, "explain", DIGITS, "all.npz")
    assert "not a picture" in what
    assert "numpy.load('all.npz')['pictures']" in fix
    for shape, order in (((28, 28, 1), "2, 0, 1"), ((5, 28, 28, 1), "0, 3, 1, 2")):
        np.save("last.npy", np.zeros(shape))
        assert f"array.transpose({order})" in refused(3, "explain", DIGITS, "last.npy")[1]
        assert np.load("last.npy").transpose(*map(int, order.split(","))).shape[-3:] == (1, 28, 28)
    np.save("other.npy", np.zeros((1, 28, 27)))
    assert "transpose" not in refused(3, "explain", DIGITS, "other.npy")[1]


def test_3_skip_goes_on_and_fail_keeps_what_was_before(run: Any) -> None:
    folder("in", range(4))
    (Path("in") / "digit_2x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out, err = run(3, "explain", DIGITS, "in")
    assert "digit_2x.png" in err
    assert "--on-error skip" in err
    assert written() == [*(f"digit_{i}.{i}.png" for i in range(3)), "in"]
    out, err = run(3, "explain", DIGITS, "in", "--on-error", "skip")
    assert "1 of 5 inputs were skipped" in err
    assert written() == [*(f"digit_{i}.{i}.png" for i in range(4)), "in"]
    assert out.splitlines()[-1].startswith("wrote   4 files")


def test_4_an_operator_without_a_rule(run: Any, refused: Any, untaught: str) -> None:
    one_layer(untaught, shape=(3, 1, 1))
    np.save("x.npy", np.ones((3, 1, 1), np.float32))
    what, fix = refused(4, "explain", "odd.onnx", "x.npy")
    assert untaught in what
    assert "odd_node" in what
    assert "--rule 'odd_node=pass'" in fix
    assert "--on-unsupported" in fix
    run(0, "explain", "odd.onnx", "x.npy", "--rule", f"{untaught}=pass", "-t", "0")


def test_4_onnxruntime_names_the_node(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    class Broken(onnxruntime.InferenceSession):  # type: ignore[misc]
        def run(self, *_: Any) -> Any:
            raise RuntimeException(
                "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
                "Name:'layer1.conv' Status Message: Failed to allocate memory for requested buffer of size 9"
            )

    monkeypatch.setattr(onnxruntime, "InferenceSession", Broken)
    what, fix = refused(4, "explain", DIGITS, SEVEN, quiet=False)
    assert "'layer1.conv'" in what
    assert "--batch-size 1" in fix


def test_5_nothing_to_do(refused: Any) -> None:
    Path("empty").mkdir()
    assert "empty" in refused(5, "explain", DIGITS, "empty")[0]


def test_70_a_bug(refused: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("odd\nstate")

    monkeypatch.setattr("onnxlrp.commands.arguments.load", broken)
    what, fix = refused(70, "explain", DIGITS, SEVEN)
    assert "ValueError: odd" in what
    assert "report" in fix
    _, err = run(70, "explain", DIGITS, SEVEN, "-vv")
    assert "Traceback" in err


def test_130_interrupted_leaves_whole_files_alone(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder("in", range(3))
    replace, calls = os.replace, []

    def interrupted(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", interrupted)
    out, err = run(130, "explain", DIGITS, "in")
    assert err.splitlines()[0] == "error   interrupted"
    assert sorted(p.name for p in Path().iterdir()) == [
        "digit_0.0.png",
        "in",
    ]  # the second leaves nothing, hidden or not
    assert "digit_0.0.png" in out


# -- manners


def test_files_are_renamed_into_place(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []
    replace = os.replace

    def watch(source: Any, target: Any) -> None:
        seen.append((Path(target).name, Path(target).exists()))
        assert Path(source).parent.resolve() == Path(target).parent.resolve()
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", watch)
    run(0, "explain", DIGITS, SEVEN, "--format", "png,npz,json")
    run(0, "export", DIGITS, "-o", "e.onnx")
    assert seen == [(f"digit_7.7.{kind}", False) for kind in ("png", "npz", "json")] + [("e.onnx", False)]


def test_control_characters_of_names_are_escaped(refused: Any, run: Any) -> None:
    what, _ = refused(3, "explain", DIGITS, "evil\x1b[31m\u202e.png")
    assert "\x1b" not in what
    assert "\\x1b[31m\\u202e" in what
    shutil.copy(SEVEN, "a\x1b[31m.png")
    out, _ = run(0, "explain", DIGITS, "a\x1b[31m.png")
    assert "\x1b" not in out


def test_a_closed_pipe_is_no_error() -> None:
    folder("in", range(3))
    command = f"{sys.executable} -m onnxlrp explain {DIGITS} in | head -c 0; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["141"]
    assert done.stderr == ""


def test_an_ascii_terminal_gets_question_marks() -> None:
    done = spawn("explain", DIGITS, SEVEN, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "?R " in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")
@pytest.mark.parametrize("no_color", [False, True])
def test_colour_and_progress_on_a_terminal_alone(no_color: bool) -> None:
    import pty

    folder("in", range(3))
    ours, theirs = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm", "COLUMNS": "80"}
    env |= {"NO_COLOR": "1"} if no_color else {}
    command = [sys.executable, "-m", "onnxlrp", "explain", DIGITS, "in", "nothing.png", "--on-error", "skip"]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    said = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:
            break
        if not chunk:
            break
        said += chunk
    os.close(ours)
    assert process.wait() == 3
    assert b"] 0/4" in said
    assert (b"\x1b[1mprep" in said) is not no_color
    assert (b"\x1b[31merror" in said) is not no_color
    piped = spawn("explain", DIGITS, "in")
    assert "\x1b" not in piped.stdout
    assert piped.stderr == ""
