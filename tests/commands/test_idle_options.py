"""Options of `onnxlrp explain` that would change nothing are refused before a file is written, and fixes hold."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.methods.registry import METHODS
from support.attention_models import ROWS, Transformer
from support.small_nets import NETS, Net

OTHERS = ("gradient_x_input", "occlusion", "attention_rollout", "rise")  # methods without rules for layers


@pytest.fixture
def transformers() -> None:
    """A transformer of patches (vit) and one of token ids (ids), each with a sample."""
    rng = np.random.default_rng(0)
    onnx.save(Transformer().proto(), "vit.onnx")
    onnx.save(Transformer(ids=True).proto(), "ids.onnx")
    np.save("vit.npy", rng.normal(size=(3, 8, 12)).astype(np.float32))
    np.save("ids.npy", rng.integers(ROWS, size=(1, 5)))


def words(name: str, *more: object) -> list[object]:
    return ["explain", f"{name}.onnx", f"{name}.npy", "-t", "0", "-o", "out/{method}.npz", *more]


def retyped(command: list[object], fix: str) -> list[object]:
    """The command with the method that a fix names."""
    found = re.search(r"-m ([\w,]+)", fix)
    assert found, fix
    at = command.index("-m")
    return [*command[: at + 1], found[1], *command[at + 2 :]]


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("name", ["vit", "ids"])
@pytest.mark.parametrize("option", [("--positions",), ("--condition", "gemm:0"), ("--rule", "MatMul=zero")])
@pytest.mark.few(3)
def test_what_composites_alone_take_is_refused_beside_others(refused: Any, name: str, option: tuple[str, ...]) -> None:
    for other in OTHERS:
        for methods in (f"attention,{other}", f"{other},attention", other, f"epsilon,{other},attention"):
            what, fix = refused(2, *words(name, "-m", methods, *option))
            assert what == f"{option[0]}: {other} has no rules for layers"
            assert f"leave out {option[0]}" in fix
    what, _ = refused(2, *words(name, "-m", ",".join(("attention", *OTHERS)), *option))
    assert " and ".join(OTHERS) in what
    assert not Path("out").exists()


@pytest.mark.usefixtures("transformers")
@pytest.mark.parametrize("name", ["vit", "ids"])
@pytest.mark.parametrize(
    "more",
    [
        ("-m", "occlusion", "--positions"),
        ("-m", "attention,gradient_x_input", "--positions"),
        ("-m", "epsilon_plus_flat", "--positions"),
        ("-m", "gradient", "--positions"),
        ("-m", "gradient", "--positions", "--rule", "position=epsilon"),
        ("-m", "guided_backprop", "--positions", "--rule", "position=epsilon"),
        ("-m", "occlusion", "--rule", "MatMul=zero"),
        ("-m", "occlusion,epsilon", "--rule", "MatMul=zero"),
    ],
)
@pytest.mark.few(4)
def test_the_fix_runs_on_that_model(run: Any, name: str, more: tuple[str, ...]) -> None:
    command = words(name, *more)
    _, err = run(2, *command)
    out, _ = run(0, *retyped(command, err))
    assert ("positions " in out) == ("--positions" in more)


@pytest.mark.usefixtures("transformers")
def test_the_ledger_of_a_method_without_layers_is_no_error(run: Any) -> None:
    run(0, *words("vit", "-m", "epsilon,gradient_x_input", "--ledger"))


@pytest.mark.slow
@pytest.mark.usefixtures("transformers")
def test_of_all_methods_those_that_cannot_are_left_out_with_a_note(run: Any) -> None:
    out, err = run(0, *words("vit", "-m", "all", "--positions"))
    written = {path.stem for path in Path("out").iterdir()}
    assert "attention" in written
    assert all(METHODS[name].is_composite for name in written)
    for name in OTHERS:
        assert f"{name} left out: {name} propagates through no layers: positions is not for it" in err
    assert "gradient left out: gradient gives gradients" in err
    assert all(f"method  {name} " in out for name in written)


@pytest.mark.slow
def test_where_all_methods_are_left_out_the_error_is_that_of_a_composite(run: Any) -> None:
    onnx.save(NETS["plain"](), "plain.onnx")
    np.save("plain.npy", np.zeros((2, 5, 5), np.float32))
    _, err = run(4, *words("plain", "-m", "all", "--positions"))
    assert "adds no position embeddings" in err.splitlines()[-2]
    assert err.splitlines()[-1].endswith("leave out --positions")


@pytest.mark.slow
def test_options_of_another_option_or_target(run: Any, refused: Any) -> None:
    onnx.save(NETS["plain"](), "plain.onnx")
    np.save("plain.npy", np.ones((2, 5, 5), np.float32))
    for word in ("dot", "cosine"):
        what, fix = refused(2, *words("plain", "--similarity", word))
        assert (what, fix) == (f"--similarity {word} without --similar-to", "name the other sample: --similar-to FILE")
    unit = onnx.load("plain.onnx").graph.node[0].output[0] + ":0"
    for more in (["-t", "0"], ["--similar-to", "plain.npy"], ["--output", unit]):
        command = ["explain", "plain.onnx", "plain.npy", "-o", "out.npz", *more]
        what, fix = refused(2, *command, "--boxes", "score=0.1")
        assert "no box is explained" in what
        assert "leave out --boxes" in fix
        assert not Path("out.npz").exists()
        run(0, *command)
        Path("out.npz").unlink()
    what, _ = refused(2, "compare", "plain.onnx", "plain.onnx", "plain.npy", "--boxes", "score=0.1")
    assert "no box is explained" in what
    what, _ = refused(2, "evaluate", "plain.onnx", "plain.npy", "--boxes", "score=0.1")
    assert "no box is explained" in what


# -- --lines


@pytest.fixture
def embedder() -> list[str]:
    """An embedding of pictures of 6 x 8, two of them, and arrays of them."""
    n = Net(3, 6, 8, seed=3)
    weights = n.rng.normal(size=(144, 5)).astype(np.float32)
    onnx.save(n.model(n.op("MatMul", n.op("Flatten", "x"), weights)), "e.onnx")
    rng = np.random.default_rng(5)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(f"{name}.png")
        np.save(f"{name}.npy", rng.normal(size=(3, 6, 8)).astype(np.float32))
    with tarfile.open("one.tar", "w") as archive:
        archive.add("a.png")
    return ["--prep", "0-1", "--size", "6x8", "--resize", "stretch", "-o", "out.npz", "-m", "epsilon"]


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ("a.npy", "b.npy", "the first (a) and the second (b) are"),
        ("a.png", "b.npy", "and the second (b) is"),
        ("a.npy", "b.png", "and the first (a) is"),
    ],
)
def test_lines_of_arrays_are_refused_before_anything_is_written(
    run: Any, refused: Any, embedder: list[str], first: str, second: str, named: str
) -> None:
    command = ["explain", "e.onnx", first, *embedder, "--similar-to", second]
    what, fix = refused(4, *command, "--lines", "lines.png")
    assert f"{named} no picture file" in what
    assert "leave out --lines" in fix
    assert not Path("out.npz").exists()
    run(0, *command)


@pytest.mark.parametrize(
    ("code", "more", "said"),
    [
        (2, ["--lines", "lines.jpg"], "lines.jpg: no such kind of file"),
        (2, ["--lines", "lines"], "lines: no such kind of file"),
        (2, ["--lines", "b.png"], "would replace an input"),
        (2, ["--lines", "out.npz"], "two files of this run"),
        (2, ["--lines", "lines.png", "-m", "epsilon,gamma"], "--lines of 2 methods"),
        (2, ["--lines", "lines.png", "-m", "occlusion"], "is no composite"),
        (2, ["--lines", "lines.png", "-m", "gradient"], "gives gradients"),
        (2, ["--lines", "lines.png", "--condition", "Flatten:0"], "--condition beside --lines"),
    ],
)
def test_what_lines_cannot_be_of_is_refused_before_anything_is_written(
    run: Any, embedder: list[str], code: int, more: list[str], said: str
) -> None:
    before = Path("b.png").read_bytes()
    _, err = run(code, "explain", "e.onnx", "a.png", *embedder, "--similar-to", "b.png", *more)
    assert said in err
    assert not Path("out.npz").exists()
    assert not Path("lines.png").exists()
    assert Path("b.png").read_bytes() == before


@pytest.mark.parametrize("first", ["a.png", "one.tar"])
def test_lines_are_written_beside_the_heatmap(run: Any, embedder: list[str], first: str) -> None:
    run(0, "explain", "e.onnx", first, *embedder, "--similar-to", "b.png", "--lines", "lines.npz")
    assert Path("out.npz").exists()
    prep = {"preset": "0-1", "size": "6x8", "resize": "stretch"}
    found = onnxlrp.load("e.onnx", prep=prep).bilrp("a.png", "b.png", "epsilon")
    np.testing.assert_allclose(np.load("lines.npz")["relevance"], found.relevance, rtol=1e-5, atol=1e-7)
