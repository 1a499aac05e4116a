"""`onnxlrp prototype`: files, records, notes, resuming, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from onnxlrp.commands.console import Console
from support import input_models
from support.command_line import DIGITS, SEVEN, SHAPES, written
from support.paths import MODELS


@pytest.mark.slow
def test_the_bare_picture_is_of_its_class(execute: Callable[..., Any]) -> None:
    code, said = execute("prototype", SHAPES, "-t", "star", "--steps", 24, "--figure", "f.png")
    assert code == 0, said.err
    assert written() == ["f.png", "star.prototype.png"]
    assert "best class in 100%" in said.out
    assert Image.open("star.prototype.png").size == (64, 64)
    assert Image.open("f.png").width > 224
    code, said = execute("explain", SHAPES, "star.prototype.png", "--json")
    assert code == 0
    assert json.loads(said.out)["top"][0]["label"] == "star"


def test_files_of_every_format_and_several_pictures(execute: Callable[..., Any]) -> None:
    words = ("-t", 3, "-n", 2, "--steps", 3, "--format", "png,npz,json", "-o", "out/three.png", "--json")
    code, said = execute("prototype", DIGITS, *words, "--cutout", "cut.png")
    assert code == 0, said.err
    record = json.loads(said.out)
    assert sorted(p.name for p in Path("out").iterdir()) == ["three-2.png", "three.json", "three.npz", "three.png"]
    opacity = np.load("out/three.npz")["opacity"]
    for name, cut, alpha in zip(("three.png", "three-2.png"), ("cut.png", "cut-2.png"), opacity, strict=True):
        grey, shown = np.moveaxis(np.asarray(Image.open(cut)), -1, 0)
        np.testing.assert_array_equal(grey, np.asarray(Image.open(f"out/{name}")))
        np.testing.assert_allclose(shown / 255, alpha, atol=0.51 / 255)
    assert json.loads(Path("out/three.json").read_text())["scores"] == record["scores"]
    assert np.load("out/three.npz")["inputs"].shape == (2, 1, 28, 28)
    assert record["provenance"]["style"] == "fourier"


def test_real_pictures_are_compared_and_started_from(execute: Callable[..., Any]) -> None:
    words = ("--images", MODELS / "samples", "--from", SEVEN, "--steps", 30)
    code, said = execute("prototype", DIGITS, "-t", 7, *words)
    assert code == 0, said.err
    assert "your pictures" in said.out
    assert "no evidence" in said.err
    assert "estimated from" in said.out
    made, real = (np.asarray(Image.open(name).convert("L"), float).ravel() for name in ("7.prototype.png", SEVEN))
    assert np.corrcoef(made, real)[0, 1] > 0.5


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Let the run be stopped as by Ctrl-C after some steps."""
    from contextlib import contextmanager

    @contextmanager
    def passes(self: Any, name: str) -> Any:
        yield lambda done, total, said="": done < at

    monkeypatch.setattr(Console, "passes", passes)


def test_an_interrupted_run_goes_on(execute: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("prototype", DIGITS, "-t", 5, "--steps", 9, "-o", "five.png", "--format", "npz")
    assert execute(*words)[0] == 0
    whole = np.load("five.npz")["inputs"]
    with monkeypatch.context() as patched:
        interrupted(patched, 4)
        code, said = execute(*words)
    assert code == 130
    assert "--resume" in said.err
    assert written() == ["five.npz", "five.state.npz"]
    assert not np.array_equal(np.load("five.npz")["inputs"], whole)
    code, said = execute(*words, "--resume", "--seed", 3)
    assert code == 2
    assert "another seed: 0, now 3" in said.err
    assert execute(*words, "--resume")[0] == 0
    np.testing.assert_array_equal(np.load("five.npz")["inputs"], whole)
    assert written() == ["five.npz"]
    Path("five.state.npz").write_bytes(b"no archive")
    assert execute(*words, "--resume")[0] == 3


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("-t", "7", "--style", "fourrier"), 2, 'did you mean "fourier"'),
        (("-t", "11"), 2, "no such class"),
        ((), 2, "-t LABEL"),
        (("-t", "7", "--steps", "0"), 2, "steps=0"),
        (("-t", "7", "-o", "x.jpg"), 2, "format"),
        (("-t", "7", "--figure", "x.pdf"), 2, "--figure"),
        (("-t", "7", "--cutout", "x.jpg"), 2, "--cutout"),
        (("-t", "7", "--cutout", "x.png", "-o", "x.png"), 2, "another name"),
        (("-t", "7", "--low", "dark"), 2, "--low"),
        (("-t", "7", "--images", "nowhere"), 3, "nowhere"),
        (("-t", "7", "--from", "nowhere.png"), 3, "nowhere.png"),
        (("-t", "7", "--style", "yosinski", "--regularisers", "blurr"), 2, "blurr"),
    ],
)
def test_what_is_refused(execute: Callable[..., Any], words: Any, code: int, text: str) -> None:
    found, said = execute("prototype", DIGITS, *words)
    assert found == code, said.err
    assert text in said.err
    assert written() == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-o", "wave.png"), "wave.npz"),
        (("--format", "npz,png"), "class1.prototype.npz"),
        (("--cutout", "wave.png"), "leave it out"),
    ],
)
def test_a_picture_of_what_is_none_is_refused_before_the_search(
    execute: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words: Any, text: str
) -> None:
    onnx.save(input_models.convolution((2, 32), (5,)), "signal.onnx")
    with monkeypatch.context() as patched:
        patched.setattr("onnxlrp.commands.prototype.prototype", lambda *_, **__: pytest.fail("it was searched for"))
        code, said = execute("prototype", "signal.onnx", "-t", 1, *words)
    assert code == 2
    assert text in said.err
    assert written() == ["signal.onnx"]
    code, said = execute("prototype", "signal.onnx", "-t", 1, "--steps", 2, "--figure", "curves.png")
    assert code == 0, said.err
    assert written() == ["class1.prototype.npz", "curves.png", "signal.onnx"]
