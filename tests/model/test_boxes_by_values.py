"""Boxes whose format and background nothing states: values decide, it is said, and a word of the user overrules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import UsageError
from onnxlrp.graph.outputs.boxes_by_values import told
from onnxlrp.graph.outputs.detectors import Detector
from support.arrays import Array
from support.small_nets import Net

SIDE, ANCHORS, CLASSES = 12, 36, 4


def pair(shift: Array, columns: Array, names: tuple[str, str] = ("scores", "boxes")) -> onnx.ModelProto:
    """Logits [36, 4] raised by `shift`, beside four numbers at each anchor: `columns` [36, 4] and a little of x."""
    n = Net(3, SIDE, SIDE, seed=3)
    y = n.op("Relu", n.conv("x", 3, 6, strides=[2, 2]))

    def rows(count: int) -> str:
        flat = n.op("Reshape", n.conv(y, 6, count), np.array([0, count, -1]))
        return n.op("Transpose", flat, perm=[0, 2, 1])

    logits = n.op("Add", rows(CLASSES), shift)
    four = n.op("Add", n.op("Mul", rows(4), np.array(1e-3)), columns)
    n.nodes += [helper.make_node("Identity", [a], [b]) for a, b in zip((logits, four), names, strict=True)]
    made = n.model(names[0])
    made.graph.output.append(helper.make_tensor_value_info(names[1], TensorProto.FLOAT, None))
    return onnx.shape_inference.infer_shapes(made)


def outputs(model: onnx.ModelProto, x: Array) -> list[Array]:
    return [np.asarray(y) for y in onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})]


def drawn() -> Array:
    return np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)


def centres() -> Array:
    """Centres and sizes as shares: a grid of 6 x 6, each a sixth wide; most second numbers are below the first."""
    at = (np.arange(6) + 0.5) / 6
    grid = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    return np.concatenate([grid, np.full((ANCHORS, 2), 1 / 6)], axis=1)


def softmax(z: Array) -> Array:
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def told_of(model: onnxlrp.Model, x: Array, **words: Any) -> tuple[onnxlrp.Explanation, str]:
    found = model.explain(x, method="gradient", **words)
    return found, found.provenance["boxes_read"].get("told_by_values", "")


def test_centres_and_sizes_are_told_from_corners() -> None:
    made, x = pair(np.zeros(CLASSES), centres()), drawn()
    z, four = outputs(made, x)
    found, said = told_of(onnxlrp.load(made, engine="reference"), x)
    assert said == "format=cxcywh"
    a, k = np.unravel_index(z[0].argmax(), z[0].shape)
    cx, cy, w, h = four[0, a]
    assert found.boxes is not None
    box = found.boxes[0].box
    np.testing.assert_allclose(box[:4], np.array([cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2]) * SIDE, rtol=1e-5)
    assert box.id == found.target[0] == k
    np.testing.assert_allclose(found.logit, z[0, a, k], rtol=1e-5)
    stated = onnxlrp.load(made, engine="reference").explain(x, method="gradient", boxes="format=cxcywh")
    assert "told_by_values" not in stated.provenance["boxes_read"]
    with pytest.raises(UsageError, match="read as xyxy"):  # the user's word is taken as it is
        onnxlrp.load(made, engine="reference").explain(x, boxes="format=xyxy")


@pytest.mark.parametrize("none", [0, CLASSES - 1])
def test_a_class_that_wins_nearly_everywhere_is_none(none: int) -> None:
    shift = np.where(np.arange(CLASSES) == none, 12.0, 0.0)
    made, x = pair(shift, centres()), drawn()
    z = outputs(made, x)[0][0]
    found, said = told_of(onnxlrp.load(made, engine="reference"), x)
    assert set(said.split(",")) == {"format=cxcywh", f"background={none}", "activation=softmax"}
    p = softmax(z)
    p[:, none] = -1
    a, k = np.unravel_index(p.argmax(), p.shape)
    assert found.target[0] == k
    np.testing.assert_allclose(found.logit, z[a, k], rtol=1e-5)
    assert found.boxes is not None
    assert len(found.boxes[0].found) == 1  # below the threshold: the best of all
    np.testing.assert_allclose(found.boxes[0].box.score, p[a, k], rtol=1e-5)
    kept, said = told_of(onnxlrp.load(made, engine="reference"), x, boxes="background=none,activation=sigmoid")
    assert "background" not in said
    assert kept.target[0] == none
    with pytest.raises(UsageError, match="no box passes"):  # asked for, it is an error
        onnxlrp.load(made, engine="reference").explain(x, "box:1", boxes="activation=softmax")


def test_separate_classes_below_zero_have_no_background() -> None:
    """The first class is the best nearly everywhere, and the model says no to it: a detector with Sigmoids."""
    made, x = pair(np.array([-4.0, -16, -16, -16]), centres()), drawn()
    assert told_of(onnxlrp.load(made, engine="reference"), x)[1] == "format=cxcywh"


def test_offsets_of_anchors_are_not_drawn() -> None:
    four = np.random.default_rng(1).normal(size=(ANCHORS, 4))
    made, x = pair(np.zeros(CLASSES), four), drawn()
    z = outputs(made, x)[0][0]
    model = onnxlrp.load(made, engine="reference")
    found, said = told_of(model, x)
    assert (said, found.boxes) == ("format=offsets", None)
    np.testing.assert_allclose(found.logit, z.max(), rtol=1e-5)
    order = np.sort(z.ravel())[::-1]
    np.testing.assert_allclose(model.explain(x, "box:3", method="gradient").logit, order[2], rtol=1e-5)
    for target, says in (("box@3,4", "offsets of anchors"), ("box:1:w", "have no size or place")):
        with pytest.raises(UsageError, match=says):
            model.explain(x, target, method="gradient", boxes="format=offsets")


def test_what_was_assumed_of_a_softmax_is_corrected() -> None:
    detector = Detector("b", 1, "z", 1, 0, 3, 5, "Softmax", None, 0, "xyxy", guesses=("format=xyxy", "background=0"))
    corners = np.tile([0.1, 0.2, 0.3, 0.4], (1, 5, 1))
    z = np.tile([0.0, 0, 5], (1, 5, 1))
    assert told(detector, corners, z) == {"background": "2"}
    assert told(detector, corners, z[..., ::-1]) == {}
    assert told(detector._replace(guesses=()), corners[..., ::-1], z) == {}
    assert told(detector, corners[..., ::-1], z[..., ::-1]) == {"format": "cxcywh"}


def test_the_command_says_what_values_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, picture = tmp_path / "m.onnx", tmp_path / "a.png"
    path.write_bytes(pair(np.array([12.0, 0, 0, 0]), centres()).SerializeToString())
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(picture)
    assert main(["explain", str(path), str(picture), "-m", "gradient", "-o", str(tmp_path / "a.npz")]) == 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert "the values contradict what was assumed; boxes are read as format=cxcywh,background=0" in text
    assert "--boxes format=cxcywh,background=0,activation=softmax states it" in text
    assert "no box has a score above 0.25; the best of all is explained" in text
