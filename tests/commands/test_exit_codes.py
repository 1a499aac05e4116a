"""Every exit code but 0: what is wrong, the fix, and the files that are left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.command_line import DIGITS, SEVEN, folder, one_layer, written


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
        (["explain"], "needs MODEL and INPUT", "onnxlrp explain MODEL INPUT"),
        (["explain", DIGITS], "needs INPUT", "onnxlrp explain MODEL INPUT"),
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
        (["explain", DIGITS, SEVEN, "--gamma", "1"], "which has no such option", "-m gamma"),
        (["explain", DIGITS, SEVEN, "--epsilon", "much"], '"much"', "--epsilon"),
        (["explain", DIGITS, SEVEN, "--epsilon", "1,2"], "several", "--epsilon 1"),
        (["explain", DIGITS, SEVEN, "--clip", "x"], "--clip", "--clip 99.5"),
        (["explain", DIGITS, SEVEN, "--clip", "0"], "percentile", "99.5"),
        (["explain", DIGITS, SEVEN, "--cmap", "sesmic"], "sesmic", '"seismic"'),
        (["explain", DIGITS, SEVEN, "--space", "outer"], "outer", "original"),
        (["explain", DIGITS, SEVEN, "--batch-size", "0"], "--batch-size 0", "1 or more"),
        (["explain", DIGITS, SEVEN, "--on-error", "cry"], "cry", "--on-error fail"),
        (["explain", DIGITS, SEVEN, "--engine", "otr"], "otr", '"ort"'),
        (["explain", DIGITS, SEVEN, "--providers", "cpuu"], "cpuu", '"cpu"'),
        (["explain", DIGITS, SEVEN, "--prep", "imagnet"], "imagnet", '"imagenet"'),
        (["explain", DIGITS, SEVEN, "--mean", "a"], "--mean", "one number"),
        (["explain", DIGITS, SEVEN, "--format", "jpg"], "jpg", "png"),
        (["explain", DIGITS, SEVEN, "-o", "{stm}.png"], "stm", '"stem"'),
        (["explain", DIGITS, SEVEN, "-o", "map.jpg"], "written as PNG", "'map.png'"),
        (["explain", DIGITS, SEVEN, "-o", "{stem}.pdf"], "written as PNG", "'{stem}.png'"),
        (["explain", DIGITS, SEVEN, SEVEN, "-o", "x.png"], "2 samples", "{stem}"),
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


@pytest.mark.slow
def test_2_no_runtime_for_what_needs_it() -> None:
    code = (
        "import sys\n"
        "sys.modules['onnxruntime'] = None\n"
        "from onnxlrp.cli import main\n"
        f"sys.exit(main(['explain', {DIGITS!r}, {SEVEN!r}, '--engine', 'ort']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install onnxruntime" in done.stderr  # a form that works before the package is on an index
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


def test_3_a_skipped_input_is_reported_in_its_place(run: Any) -> None:
    folder("in", range(4))
    (Path("in") / "digit_1x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out, _ = run(3, "explain", DIGITS, "in", "--on-error", "skip", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    names = [Path(line["input"]).stem for line in lines]
    assert names == ["digit_0", "digit_1", "digit_1x", "digit_2", "digit_3"]
    assert ["error" in line for line in lines] == [False, False, True, False, False]


def test_globs_name_inputs(run: Any, refused: Any) -> None:
    folder("in", range(3))
    run(0, "explain", DIGITS, "in/*_[12].png")
    assert written() == ["digit_1.1.png", "digit_2.2.png", "in"]
    assert "matches no picture" in refused(5, "explain", DIGITS, "in/*.jpg")[0]


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

    monkeypatch.setattr(os, "replace", interrupted)
    out, err = run(130, "explain", DIGITS, "in")
    assert err.splitlines()[0] == "error   interrupted"
    assert sorted(p.name for p in Path().iterdir()) == [
        "digit_0.0.png",
        "in",
    ]  # the second leaves nothing, hidden or not
    assert "digit_0.0.png" in out
