"""What somebody new runs into: all methods on any input, words of argparse, names, files of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxlrp.errors import UsageError
from onnxlrp.methods.registry import METHODS, MethodEntry, make
from support.command_line import DIGITS, SEVEN
from support.input_models import dense, weight
from support.paths import ROOT

FEW = ["--samples", "8", "--steps", "2"]


@pytest.fixture
def table() -> tuple[str, str]:
    onnx.save(dense((7,)), "table.onnx")
    np.save("rows.npy", np.stack([weight(7), -weight(7)]))
    return "table.onnx", "rows.npy"


@pytest.fixture
def signal() -> tuple[str, str]:
    np.save("signal.npy", np.random.default_rng(0).normal(size=(1, 2, 64)).astype(np.float32))
    return str(ROOT / "tests/golden/signal.onnx"), "signal.npy"


# -- all methods


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "signal"])
def test_all_methods_are_those_that_can_be_had(run: Any, kind: str, request: pytest.FixtureRequest) -> None:
    model, rows = request.getfixturevalue(kind)
    out, err = run(0, "explain", model, rows, "-m", "all", *FEW, "-o", "out/{stem}.{method}.json")
    for name in ("deep_taylor_bounded", "grad_cam", "layer_cam", "meaningful_perturbation"):
        (line,) = [line for line in err.splitlines() if f"note    {name} left out: " in line]
        assert len(line) > len(f"note    {name} left out: ")
        assert not list(Path("out").glob(f"*.{name}.json"))
    written = {path.name.split(".")[-2] for path in Path("out").iterdir()}
    assert {"epsilon", "gradient", "occlusion", "kernel_shap", "integrated_gradients"} <= written
    assert f"{len(list(Path('out').iterdir()))} files" in out or len(list(Path("out").iterdir())) == len(written)


def test_a_method_that_is_named_is_not_left_out(refused: Any, table: tuple[str, str]) -> None:
    refused(2, "explain", *table, "-m", "epsilon,deep_taylor_bounded", "-o", "{stem}.{method}.json")
    refused(2, "explain", *table, "-m", "epsilon,grad_cam", "-o", "{stem}.{method}.json")
    assert not list(Path().glob("*.json"))


def test_all_methods_are_evaluated_that_can_be_had(
    run: Any, table: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in METHODS if name not in ("epsilon", "grad_cam", "deep_taylor_bounded")]:
        monkeypatch.delitem(METHODS._rows, name)  # quick
    out, err = run(0, "evaluate", *table, "--methods", "all", "--metric", "pixel_flipping")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["epsilon"]
    assert "grad_cam left out: " in err
    assert "deep_taylor_bounded left out: " in err


@pytest.mark.parametrize("name", ["grad_cam", "layer_cam"])
def test_a_kind_is_proposed_only_where_it_helps(refused: Any, run: Any, signal: tuple[str, str], name: str) -> None:
    _, fix = refused(2, "explain", *signal, "-m", name, "-o", "x.json")
    assert "--kind" not in fix
    for other in re.findall(r"use (\w+) or (\w+)", fix)[0]:
        run(0, "explain", *signal, "-m", other, "-o", "x.json")


def test_a_kind_that_helps_is_proposed(refused: Any, run: Any) -> None:
    """The picture of the digits, said to be a volume."""
    np.save("x.npy", np.random.default_rng(0).uniform(size=(1, 1, 28, 28)).astype(np.float32))
    words = ["explain", DIGITS, "x.npy", "-m", "grad_cam", "-o", "x.json"]
    _, fix = refused(2, *words, "--kind", "vector")
    assert "--kind image" in fix
    run(0, *words, "--kind", "image")


# -- words of argparse


@pytest.mark.parametrize(
    ("words", "said", "fix"),
    [
        (["explain", DIGITS, SEVEN, "--batch-size", "abc"], '--batch-size "abc" is no whole number', "--batch-size 8"),
        (["explain", DIGITS, SEVEN, "--clip", "x"], '--clip "x" is no number', "--clip 99.5"),
        (["explain", DIGITS, SEVEN, "--on-error", "skp"], '--on-error "skp" is none of fail, skip', "--on-error skip"),
        (["explain", DIGITS, SEVEN, "--grid=3"], '--grid "3": --grid is a switch and takes no value', "--grid"),
        (["explain", DIGITS, SEVEN, "--engine"], "--engine needs a value", "--engine NAME"),
        (["explain", DIGITS, SEVEN, "-o"], "--out needs a value", "--out "),
        (["export", DIGITS], "onnxlrp export needs -o", "onnxlrp export MODEL -o FILE"),
        (["explain", DIGITS], "onnxlrp explain needs INPUT", "onnxlrp explain MODEL INPUT"),
        (["explain"], "onnxlrp explain needs MODEL and INPUT", "onnxlrp explain MODEL INPUT"),
        (["explain", DIGITS, SEVEN, "--cmop", "x"], 'no option "--cmop"', "--cmap"),
        (["explain", DIGITS, SEVEN, "-z"], 'no option "-z"', "--help"),
        (["prototype", DIGITS, "seven"], '"seven" is one word too many', "-t seven names a class"),
        (["prototype", DIGITS, "two words"], '"two words" is one word too many', "-t 'two words' names a class"),
        (["inspect", DIGITS, "more"], '"more" is one word too many', "onnxlrp inspect [MODEL]"),
        (["check", "."], ".: a folder, not a model", "name the model in it: "),
        (["export", DIGITS, "-o", "e.txt"], "e.txt: the explainer is an ONNX file", "-o 'e.onnx'"),
    ],
    ids=lambda value: " ".join(map(str, value[-2:])) if isinstance(value, list) else "",
)
def test_errors_are_in_our_words(refused: Any, words: list[str], said: str, fix: str) -> None:
    message, advice = refused(3 if words[0] == "check" else 2, *words)
    assert message == said
    assert fix in advice
    assert "argument" not in message


# -- names of files


@pytest.mark.parametrize("name", ["x.png", "{target}.json", "{method}.npz"])
def test_names_are_told_apart_before_the_first_is_written(run: Any, table: tuple[str, str], name: str) -> None:
    _, err = run(2, "explain", *table, "-o", name)
    assert f"-o {name}: one name for 2 samples" in err
    assert sorted(path.name for path in Path().iterdir()) == ["rows.npy", "table.onnx"]
    (fix,) = re.findall(r"-o '(.*)'", err)
    run(0, "explain", *table, "-o", fix)


@pytest.mark.few(3)
@pytest.mark.parametrize("kind", ["table", "signal"])
@pytest.mark.parametrize(
    ("flag", "word"), [("--smooth", "2"), ("--smooth", "pool:4"), ("--blend", "0.5"), ("--space", "original")]
)
def test_an_option_without_effect_is_said_once(
    run: Any, kind: str, flag: str, word: str, request: pytest.FixtureRequest
) -> None:
    words = ["explain", *request.getfixturevalue(kind), "-m", "epsilon,gradient"]
    _, plain = run(0, *words, "-o", "plain/{stem}.{method}.png")
    _, said = run(0, *words, flag, word, "-o", "asked/{stem}.{method}.png")
    assert "no effect" not in plain
    assert said.count(f"{flag} {word} has no effect: relevance is drawn as ") == 1
    for path in sorted(Path("plain").iterdir()):  # what is said is true
        assert path.read_bytes() == (Path("asked") / path.name).read_bytes()
    _, said = run(0, *words, flag, word, "-o", "asked/{stem}.{method}.npz")
    assert "no effect" not in said  # nothing is drawn


@pytest.mark.slow
def test_an_option_with_an_effect_is_not_said_to_have_none(run: Any) -> None:
    for flag, word in (("--smooth", "2"), ("--blend", "0.5"), ("--space", "original")):
        _, said = run(0, "explain", DIGITS, SEVEN, flag, word, "-o", "x.png")
        assert "no effect" not in said
    _, said = run(0, "explain", DIGITS, SEVEN, "--space", "original", "--grid", "-o", "x.png")
    assert "--space original has no effect: a grid shows" in said
    np.save("seven.npy", np.zeros((1, 1, 28, 28), np.float32) + 0.1)
    _, said = run(0, "explain", DIGITS, "seven.npy", "--blend", "0.5", "-o", "x.png")
    assert "--blend 0.5 has no effect: an array has no picture" in said


def test_a_note_of_many_inputs_is_one_with_their_number(run: Any) -> None:
    from PIL import Image

    Path("in").mkdir()
    for n in range(30):
        made = Image.open(SEVEN).convert("L")
        made.save(f"in/{n:02}.gif", save_all=True, append_images=[made.rotate(90)])
    _, err = run(0, "explain", DIGITS, "in", "-o", "out/{stem}.json")
    (line,) = [line for line in err.splitlines() if "several frames" in line]
    assert f"{Path('in/00.gif')} and 29 more: " in line
    notes = [line for line in err.splitlines() if line.startswith("note")]
    assert len(notes) == len(set(notes)) <= 3


# -- a file of their own


def own(folder: Path, body: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command behind a module that registers something."""
    folder.joinpath("own.py").write_text(
        f"{body}\nimport sys\nfrom onnxlrp.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    return subprocess.run([sys.executable, folder / "own.py", *words], capture_output=True, text=True, check=False)


LAYER = """
from onnxlrp.layers import LAYERS, layer
from onnxlrp.program.op import Op
{before}
@layer("{op}", kind="{kind}")
def shrink(node):
    x = node.operand(0)
    return Op("{kind}", (x,), node.result, lambda r: (r,), name=node.layer.label)
"""


def test_a_second_operator_of_a_name() -> None:
    """It is refused in words, so that a file in the folder of layers ends a command with 2."""
    from onnxlrp.layers import LAYERS, layer

    list(LAYERS)
    with pytest.raises(UsageError, match="two operators are called 'Relu'") as caught:
        layer("Relu", kind="activation")(lambda node: None)
    assert "another name" in caught.value.fix
    assert LAYERS["Relu"].build.__module__ == "onnxlrp.layers.activation"


@pytest.mark.slow
def test_a_kind_that_does_not_fit(tmp_path: Path) -> None:
    body = LAYER.format(before="list(LAYERS)\ndel LAYERS._rows['Relu']", op="Relu", kind="product")
    done = own(tmp_path, body, "explain", DIGITS, SEVEN, "-o", f"{tmp_path}/x.png")
    assert done.returncode == 2
    assert 'the operator Relu is registered as kind "product" and has 1 operand of 2 or more' in done.stderr
    assert "activation" in done.stderr.splitlines()[-1]


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> str:
    """A method with an option that is called like a flag of the command."""
    from dataclasses import dataclass
    from typing import ClassVar

    from onnxlrp.methods.registry import Attribution

    @dataclass(frozen=True)
    class Scaled:
        """R = scale·x."""

        name: ClassVar[str] = "scaled"
        scale: float = 1.0

        def __call__(self, problem: Any) -> Attribution:
            return Attribution(self.scale * problem.x)

    list(METHODS)
    monkeypatch.setattr(METHODS, "_rows", dict(METHODS._rows))
    METHODS.register("scaled", MethodEntry(Scaled, False, "1"), source=Scaled)
    return "scaled"


def test_an_option_that_is_called_like_a_flag(run: Any, refused: Any, scaled: str) -> None:
    words = ["explain", DIGITS, SEVEN, "-m", scaled, "-o", "x.npz"]
    said, fix = refused(2, *words, "--scale", "3")
    assert said == "--scale is an option of scaled and means something else to the command"
    assert "--scaled-scale" in fix
    maps = {}
    for value in ("1", "3"):
        run(0, *words, "--scaled-scale", value)
        with np.load("x.npz") as file:
            maps[value] = file["relevance"]
    np.testing.assert_allclose(maps["3"], 3 * maps["1"])
    run(0, *words, "--scale", "1/255", "--scaled-scale", "2")


def test_a_check_of_a_method_comes_before_its_work() -> None:
    from onnxlrp import load

    onnx.save(dense((7,)), "table.onnx")
    for name in ("grad_cam", "layer_cam", "meaningful_perturbation"):
        with pytest.raises(UsageError, match="picture"):
            load("table.onnx").prepare(method=make(name))
