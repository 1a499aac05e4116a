"""`--kind`, and where the kind of input is told and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support.command_line import DIGITS, SEVEN


def flattened(path: str = "flat.onnx", shape: tuple[int, ...] = (1, 24, 16)) -> str:
    """A dense layer on all values at once: the graph does not tell what they are."""
    rng = np.random.default_rng(0)
    width = int(np.prod(shape))
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"], name="dense")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(rng.normal(size=(width, 3)).astype(np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    np.save("x.npy", rng.normal(size=(1, *shape)).astype(np.float32))
    return path


def test_inspect_prints_the_kind_and_who_tells(run: Any) -> None:
    out, _ = run(0, "inspect", DIGITS)
    assert "kind    image, channels axis 0 of [1, 28, 28]  [graph: conv1 takes axis 0 as channels]" in out
    told = json.loads(run(0, "inspect", flattened(), "--kind", "vector", "--json")[0])["kind"]
    assert told == {
        "name": "vector",
        "shape": [1, 24, 16],
        "channel_axis": None,
        "spatial_axes": [],
        "source": "--kind",
    }


def test_the_kind_is_kept_in_every_file(run: Any) -> None:
    run(0, "explain", DIGITS, SEVEN, "--format", "npz,json,png", "-o", "seven")
    expected = {"name": "image", "shape": [1, 28, 28], "channel_axis": 0, "spatial_axes": [1, 2]}
    with np.load("seven.npz") as stored:
        kept = json.loads(str(stored["provenance"]))["kind"]
    assert {key: kept[key] for key in expected} == expected
    assert json.loads(Path("seven.json").read_text())["provenance"]["kind"] == kept


def test_a_guess_is_said_with_the_word_that_settles_it(run: Any) -> None:
    model = flattened()
    _, err = run(0, "explain", model, "x.npy", "-m", "gradient")
    assert "input taken for image, channels axis 0 of [1, 24, 16]: assumed from the shape" in err
    assert "--kind image" in err
    _, err = run(0, "explain", model, "x.npy", "-m", "gradient", "--kind", "image", "-o", "again.png")
    assert "assumed" not in err


def test_the_users_word_decides_what_is_hidden_and_drawn(run: Any) -> None:
    """As features, every value is hidden by itself; as an image, squares are."""
    model = flattened()
    for kind in ("image", "vector"):
        run(0, "explain", model, "x.npy", "-m", "occlusion", "--kind", kind, "--format", "json,npz,png", "-o", kind)
    windows = {k: json.loads(Path(f"{k}.json").read_text())["notes"]["windows"] for k in ("image", "vector")}
    assert windows["vector"].startswith(str(24 * 16))
    assert windows["image"] != windows["vector"]
    run(0, "report", ".", "-o", "report.html")
    assert Path("report.html").stat().st_size > 0


def test_a_word_that_does_not_fit(run: Any) -> None:
    _, err = run(2, "explain", flattened(), "x.npy", "--kind", "imgae")
    assert 'did you mean "image"' in err
    _, err = run(2, "explain", "flat.onnx", "x.npy", "--kind", "image:NHW")
    assert "--kind image:NCHW" in err


def test_check_takes_it_from_its_settings(run: Any) -> None:
    flattened()
    Path("onnxlrp.toml").write_text('model = "flat.onnx"\nsamples = ["x.npy"]\nkind = "vector"\nmasks = "."\n')
    out, _ = run(0, "check", "-c", "onnxlrp.toml")
    assert "vector" in out


def test_texts_are_explained_in_words(run: Any) -> None:
    from support.paths import MODELS

    Path("asked.txt").write_text("cup ? the ball is red . now the cup is blue .\nhat ? the hat is green .\n")
    out, err = run(0, "explain", MODELS / "questions.onnx", "asked.txt", "--format", "png,json,html")
    assert "blue" in out
    assert "green" in out
    assert out.count("\ntokens ") == 2
    assert "prep    text as token ids" in out
    assert "[onnxlrp.tokens in the metadata]" in out
    assert sorted(path.suffix for path in Path().glob("asked*.*.*")) == [
        ".html",
        ".html",
        ".json",
        ".json",
        ".png",
        ".png",
    ]
    assert "default" in out
    assert not [line for line in err.splitlines() if line.startswith("error")]


def test_a_word_that_is_none_of_the_vocabulary_is_refused(run: Any) -> None:
    from support.paths import MODELS

    Path("asked.txt").write_text("cup ? the sofa is red .\n")
    _, err = run(3, "explain", MODELS / "questions.onnx", "asked.txt")
    assert '"sofa" is no word' in err
