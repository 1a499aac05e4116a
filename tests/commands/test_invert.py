"""`onnxlrp invert` and `onnxlrp prototype --generator`: files, records, notes, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxlrp.commands.console import Console
from support.command_line import DIGITS, SEVEN, SHAPES, written
from support.paths import MODELS

DECODER, GENERATOR = MODELS / "digits_decoder.onnx", MODELS / "digits_generator.onnx"


def test_the_bare_picture_has_the_models_size_and_class(execute: Callable[..., Any]) -> None:
    code, said = execute("invert", DIGITS, SEVEN, "--layer", "relu2", "--steps", 60, "--figure", "f.png")
    assert code == 0, said.err
    assert written() == ["digit_7.inverted.png", "f.png"]
    assert "layer error" in said.out
    assert "of a plain picture of its own mean colour" in said.out
    picture = Image.open("digit_7.inverted.png")
    assert (picture.size, picture.mode) == ((28, 28), "L")
    assert json.loads(picture.text["onnxlrp.provenance"])["layer"] == "relu2"  # type: ignore[attr-defined]
    assert Image.open("f.png").width > 2 * 224
    code, said = execute("explain", DIGITS, "digit_7.inverted.png", "--json")
    assert json.loads(said.out)["top"][0]["label"] == "7"


def test_files_of_every_format(execute: Callable[..., Any]) -> None:
    x = np.random.default_rng(0).random((2, 3, 64, 64)).astype(np.float32)
    np.save("two.npy", x)
    words = ("--layer", "blocks.0", "--steps", 2, "--format", "npz,json", "-o", "out/two.png", "--json")
    code, said = execute("invert", SHAPES, "two.npy", *words)
    assert code == 0, said.err
    record = json.loads(said.out)
    assert sorted(p.name for p in Path("out").iterdir()) == ["two.json", "two.npz"]
    assert json.loads(Path("out/two.json").read_text())["layer error"] == record["layer error"]
    assert np.load("out/two.npz")["inputs"].shape == x.shape


def test_a_decoder_draws_at_once(execute: Callable[..., Any]) -> None:
    code, said = execute("invert", DIGITS, SEVEN, "--decoder", DECODER, "--images", MODELS / "samples", "-o", "d.png")
    assert code == 0, said.err
    assert "by digits_decoder.onnx" in said.out
    assert "of the mean of" in said.out
    assert written() == ["d.png"]


def test_a_picture_further_than_the_mean_is_said(execute: Callable[..., Any]) -> None:
    code, said = execute("invert", DIGITS, SEVEN, "--layer", "dense2", "--steps", 30)
    assert code == 0, said.err
    assert "further from the original" in said.err


def test_the_first_interrupt_keeps_the_best_so_far(
    execute: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import contextlib

    @contextlib.contextmanager
    def passes(self: Console, name: str) -> Any:
        yield lambda done, total, said="": done < 3

    monkeypatch.setattr(Console, "passes", passes)
    code, said = execute("invert", DIGITS, SEVEN, "--layer", "relu2")
    assert code == 130
    assert "3 of 200 steps" in said.out
    assert written() == ["digit_7.inverted.png"]


def test_what_is_refused_names_the_fix(execute: Callable[..., Any]) -> None:
    shutil.copy(SEVEN, "seven.png")
    layer = ("--layer", "relu2")
    for words, code, said in (
        (("--layer", "relu22"), 2, 'did you mean "relu2"'),
        ((), 2, "--layer NAME"),
        ((*layer, "--decoder", DECODER), 2, "--layer relu3"),
        ((*layer, "-o", "seven.png"), 2, "would replace the picture itself"),
        ((*layer, "-o", "x.jpg"), 2, ".png"),
        ((*layer, "--figure", "x.jpg"), 2, "a figure is a .png"),
        ((*layer, "--pixels", "0,1"), 2, "--decoder FILE"),
        (("--decoder", DECODER, "--pixels", "1,1"), 2, "--pixels=0,1"),
        ((*layer, "--steps", "0"), 2, "steps=0"),
        ((*layer, "--regularisation", "-1"), 2, "regularisation"),
        (("--decoder", "nothing.onnx"), 3, "no such file"),
        ((*layer, "--low", "x"), 2, "no number"),
    ):
        found, printed = execute("invert", DIGITS, "seven.png", *words)
        assert found == code, (words, printed.err)
        assert said in printed.err, (words, printed.err)
    assert written() == ["seven.png"]


@pytest.mark.slow
def test_prototypes_through_a_generator(execute: Callable[..., Any]) -> None:
    words = ("--generator", GENERATOR, "--code-layer", "relu4", "--images", MODELS / "samples", "-o", "g.png")
    code, said = execute("prototype", DIGITS, "-t", 3, *words, "--steps", 40)
    assert code == 0, said.err
    assert "generator, 40 of 40 steps" in said.out
    assert "0 to mean + 3 σ of" in said.out
    assert written() == ["g.png"]
    code, said = execute("explain", DIGITS, "g.png", "--json")
    assert json.loads(said.out)["top"][0]["label"] == "3"


def test_what_is_refused_of_a_generator(execute: Callable[..., Any]) -> None:
    for words, said in (
        (("--code-layer", "relu4"), "--generator FILE"),
        (("--pixels", "0,1"), "--generator FILE"),
        (("--generator", GENERATOR, "--style", "maco"), "leave out --style"),
        (("--generator", GENERATOR, "--code-layer", "relu3"), "--code-layer relu4"),
        (("--generator", DIGITS), "the generator draws 10, the model takes 1x28x28"),
    ):
        code, printed = execute("prototype", DIGITS, "-t", 3, *words)
        assert code == 2, (words, printed.err)
        assert said in printed.err, (words, printed.err)
    assert written() == []
