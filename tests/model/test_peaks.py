"""Peaks: labels of tokens and maps of detectors are explained where each class has its best score, found by numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import UnsupportedError
from support.arrays import Array
from support.small_nets import Net

WORDS, WIDTH, LENGTH = 20, 6, 5
LABELS = ["O", "B-PER", "I-PER", "B-LOC"]


def tagger(labels: list[str] | None = None, classes: int = 4) -> onnx.ModelProto:
    """Labels [T, C] of tokens: a table, a mean over the text, a product."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=size).astype(np.float32), name)
        for name, size in (("table", (WORDS, WIDTH)), ("w", (WIDTH, classes)))
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["m"], axes=[1], keepdims=1),
        helper.make_node("Add", ["e", "m"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("MatMul", ["t", "w"], ["logits"]),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", LENGTH])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", LENGTH, classes])
    graph = helper.make_graph(nodes, "tagger", [ids], [out], weights)
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    if labels:
        helper.set_model_props(made, {"onnxlrp.prep": json.dumps({"labels": labels})})
    return made


def ran(model: onnx.ModelProto, x: Array, output: str | None = None) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    name = session.get_inputs()[0].name
    return np.asarray(session.run(None if output is None else [output], {name: x})[0], np.float64)


def softmax(z: Array) -> Array:
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def texts(samples: int = 6) -> Array:
    return np.random.default_rng(3).integers(1, WORDS, (samples, LENGTH))


@pytest.mark.parametrize(
    ("labels", "left_out"), [(LABELS, 0), (["B-PER", "O", "I-PER", "B-LOC"], 1), (list("abcd"), None), (None, 0)]
)
def test_the_surest_label_of_a_token_is_the_default(labels: list[str] | None, left_out: int | None) -> None:
    file, x = tagger(labels), texts()
    z = ran(file, x)
    p = softmax(z)
    best = p.copy()
    if left_out is not None:
        best[..., left_out] = -1
    model = onnxlrp.load(file, engine="reference")
    found = model.explain(x, method="gradient_x_input")
    for n in range(len(x)):
        at, k = np.unravel_index(best[n].argmax(), best[n].shape)
        assert (found.target[n], found.notes["peak position"][n]) == (k, at)
        np.testing.assert_allclose(found.logit[n], z[n, at, k], rtol=1e-4)
        np.testing.assert_allclose(found.output[n], p[n].max(axis=0), rtol=1e-4)
    said = model.for_target().notes[0][0]
    assert ("left out of the best" in said) == (left_out is not None)
    for k in range(4):  # each class at its own peak
        one = model.explain(x, k, method="gradient_x_input")
        np.testing.assert_allclose(one.logit, z[np.arange(len(x)), p[..., k].argmax(axis=1), k], rtol=1e-4)
    asked = model.explain(x, "top1@peak", method="gradient_x_input")
    assert asked.target.tolist() == p.max(axis=1).argmax(axis=1).tolist()
    assert not [said for said, _ in model.for_target("1@peak").notes if "many places" in said]
    fixed = model.explain(x, "2@1", method="gradient_x_input")
    np.testing.assert_allclose(fixed.logit, z[:, 1, 2], rtol=1e-4)


def test_scores_of_all_words_are_those_of_the_next_token() -> None:
    model = onnxlrp.load(tagger(classes=WORDS), engine="reference").for_target()
    assert model.place is not None
    assert str(model.place) == "-1"


def test_what_moves_with_samples_is_refused_where_it_cannot_be() -> None:
    model = onnxlrp.load(tagger(LABELS), engine="reference")
    with pytest.raises(UnsupportedError, match="another position of each sample"):
        model.for_target().in_the_graph()
    with pytest.raises(UnsupportedError, match="peak"):
        model.for_target().refuse_maps()


def centres(names: tuple[str, str] = ("hm", "wh"), sizes: int = 2) -> onnx.ModelProto:
    """A map of the centres of 3 classes behind a Sigmoid, beside the sizes there."""
    n = Net(3, 8, 8, seed=2)
    y = n.op("Relu", n.conv("x", 3, 4, strides=[2, 2]))
    heat, size = n.op("Sigmoid", n.conv(y, 4, 3)), n.conv(y, 4, sizes)
    n.nodes += [helper.make_node("Identity", [a], [b]) for a, b in zip((heat, size), names, strict=True)]
    made = n.model(names[0])
    made.graph.output.append(helper.make_tensor_value_info(names[1], TensorProto.FLOAT, None))
    return onnx.shape_inference.infer_shapes(made)


@pytest.mark.parametrize(("names", "sizes"), [(("hm", "wh"), 2), (("a", "b"), 2), (("cls", "box"), 4)])
@pytest.mark.parametrize("engine", ["reference", "ort"])
def test_a_map_of_a_detector_is_explained_at_its_peak(names: tuple[str, str], sizes: int, engine: str) -> None:
    file = centres(names, sizes)
    x = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    p = ran(file, x, names[0])
    found = onnxlrp.load(file, engine=engine).explain(x, method="gradient")
    for n in range(3):
        k, row, column = np.unravel_index(p[n].argmax(), p[n].shape)
        assert found.target[n] == k
        assert (found.notes["peak y"][n], found.notes["peak x"][n]) == (row, column)
        np.testing.assert_allclose(found.logit[n], np.log(p[n, k, row, column] / (1 - p[n, k, row, column])), rtol=1e-3)
        np.testing.assert_allclose(found.output[n], p[n].max(axis=(1, 2)), rtol=1e-4)


def test_a_segmentation_beside_a_depth_is_none() -> None:
    model = onnxlrp.load(centres(("masks", "depth"), 1), engine="reference").for_target()
    assert str(model.place) == "predicted"
    file = centres(("masks", "depth"), 1)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    found = onnxlrp.load(file, engine="reference").explain(x, "1@peak", method="gradient")
    p = ran(file, x, "masks")[:, 1].reshape(2, -1).max(axis=1)
    np.testing.assert_allclose(found.output[:, 1], p, rtol=1e-4)


def test_the_command_says_where_a_peak_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, x = tagger(LABELS), texts(1)
    path, ids = tmp_path / "m.onnx", tmp_path / "ids.npy"
    path.write_bytes(file.SerializeToString())
    np.save(ids, x)
    words: list[Any] = ["explain", path, ids, "-m", "epsilon", "-o", tmp_path / "a.json"]
    assert main([str(word) for word in words]) == 0
    said = capsys.readouterr()
    p = softmax(ran(file, x))[0]
    p[:, 0] = -1
    at, k = np.unravel_index(p.argmax(), p.shape)
    assert f"peak at {at} ({x[0, at]}): " in said.out + said.err
    assert f"top-3   {LABELS[k]} " in said.out
    assert "class 0 means no label, and is left out of the best" in said.out + said.err
