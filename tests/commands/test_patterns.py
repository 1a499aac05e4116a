"""`onnxlrp patterns`, and the methods that read what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxlrp.commands.console import Console
from onnxlrp.patterns import load
from support.paths import MODELS

SHAPES = MODELS / "shapes.onnx"
SCENES = sorted(p for p in (MODELS / "samples").glob("scene_*.png") if "mask" not in p.name)


@pytest.mark.slow
def test_patterns_are_written_and_read(execute: Callable[..., Any], tmp_path: Path) -> None:
    code, said = execute("patterns", SHAPES, *SCENES, "-o", "shapes.patterns.npz", "--json", "--batch-size", 4)
    assert code == 0, said.err
    stated = json.loads(said.out)
    assert (stated["samples"], stated["estimator"]) == (len(SCENES), "positive")
    convolutions = sum(node.op_type in ("Conv", "Gemm") for node in onnx.load(SHAPES).graph.node)
    assert len(stated["layers"]) == convolutions
    assert load(Path("shapes.patterns.npz")).about["samples"] == len(SCENES)
    assert [p.name for p in tmp_path.iterdir()] == ["shapes.patterns.npz"]

    methods = "pattern_net,pattern_attribution"
    words = [SCENES[0], "-m", methods, "--patterns", "shapes.patterns.npz", "--format", "npz", "-o", "{method}"]
    code, said = execute("explain", SHAPES, *words)
    assert code == 0, said.err
    found = [np.load(f"{name}.npz")["relevance"] for name in methods.split(",")]
    assert all(np.isfinite(r).all() and r.any() for r in found)
    assert not np.allclose(*found)

    code, said = execute("explain", MODELS / "digits.onnx", MODELS / "samples" / "digit_7.png", *words[1:])
    assert code == 2
    assert "another model" in said.err
    assert "onnxlrp patterns" in said.err


@pytest.mark.slow
def test_export_carries_the_patterns(execute: Callable[..., Any]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert execute("patterns", SHAPES, *SCENES, "-o", "p.npz", "-q")[0] == 0
    code, said = execute(
        "export", SHAPES, "-m", "pattern_attribution", "--patterns", "p.npz", "-o", "e.onnx", "-t", "top1"
    )
    assert code == 0, said.err
    session = onnxruntime.InferenceSession("e.onnx")
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    relevance = session.run(["relevance"], {session.get_inputs()[0].name: x})[0]
    assert relevance.shape == x.shape
    assert relevance.any()


@pytest.mark.slow
def test_the_default_name_is_the_model_s(execute: Callable[..., Any], tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    model.write_bytes(SHAPES.read_bytes())
    code, said = execute("patterns", model, *SCENES[:3], "--estimator", "linear")
    assert code == 0, said.err
    assert (tmp_path / "net.patterns.npz").is_file()
    assert "--patterns" in said.out


def test_stopping_early_keeps_what_is_done(execute: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    @contextmanager
    def stopped(self: Console, name: Any) -> Iterator[Callable[..., Any]]:
        yield lambda done, total: calls.append((done, total)) and False

    monkeypatch.setattr(Console, "passes", stopped)
    code, said = execute("patterns", SHAPES, *SCENES, "-o", "p.npz", "--batch-size", 2)
    assert code == 0, said.err
    assert load(Path("p.npz")).about["samples"] == 2
    assert calls == [(2, len(SCENES))]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "p.txt"], ".npz"),
        (["--estimator", "best"], "two_component"),
        (["--batch-size", "0"], "1 or more"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(
    execute: Callable[..., Any], tmp_path: Path, words: list[str], said: str
) -> None:
    code, out = execute("patterns", SHAPES, SCENES[0], *words)
    assert code == 2
    assert said in out.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_image_that_cannot_be_read(execute: Callable[..., Any], tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    code, said = execute("patterns", SHAPES, *SCENES[:3], bad, "-o", "p.npz")
    assert code == 3
    assert "--on-error skip" in said.err
    assert not Path("p.npz").exists()
    code, said = execute("patterns", SHAPES, *SCENES[:3], bad, "-o", "p.npz", "--on-error", "skip")
    assert code == 3
    assert load(Path("p.npz")).about["samples"] == 3


def test_a_method_without_its_file_names_the_command(execute: Callable[..., Any]) -> None:
    code, said = execute("explain", SHAPES, SCENES[0], "-m", "pattern_net")
    assert code == 2
    assert "onnxlrp patterns" in said.err
