"""Boxes of detectors as targets: against values that are cut out of the outputs by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import UnsupportedError, UsageError
from support.arrays import Array
from support.detector_models import CASES, CLASSES, SIDE, Detector, suppressed, v5, v8
from support.small_nets import Net

HOW = "score=0.1,iou=0.3"
each_case = pytest.mark.parametrize("name", CASES)


def drawn(samples: int = 2) -> Array:
    return np.random.default_rng(0).normal(size=(samples, 3, SIDE, SIDE)).astype(np.float32)


def best(case: Detector, x: Array, score: float = 0.1, iou: float = 0.3) -> list[list[tuple[int, int, float, Array]]]:
    """The boxes of each sample by the definition of suppression: anchor, class, score, corners; best first."""
    found = []
    for values in zip(*case.read(x), strict=True):
        corners, scores = case.corners(*values), case.scores(*values)
        left = [(float(s), a, k) for (a, k), s in np.ndenumerate(scores) if s > score]
        kept: list[tuple[int, int, float, Array]] = []
        for s, a, k in sorted(left, key=lambda one: -one[0]):
            if all(k != other or overlap(corners[a], box) <= iou for _, other, _, box in kept):
                kept.append((a, k, s, corners[a]))
        found.append(kept)
    return found


def overlap(a: Array, b: Array) -> float:
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    shared = sides[0] * sides[1]
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


def slope(case: Detector, x: Array, a: int, k: int, step: float = 1e-5) -> Array:
    """∂z/∂x of the explained number of one sample, by central differences."""
    moves = np.eye(x.size).reshape(x.size, *x.shape) * step
    found: Array = ((case.entry(x + moves, a, k) - case.entry(x - moves, a, k)) / (2 * step)).reshape(x.shape)
    return found


@each_case
@pytest.mark.few(2)
def test_boxes_are_those_of_the_outputs(name: str) -> None:
    case, x = CASES[name](), drawn()
    found = onnxlrp.load(case.file, engine="reference").explain(x, "box:2", method="gradient", boxes=HOW)
    assert found.boxes is not None
    for mine, theirs in zip(found.boxes, best(case, x), strict=True):
        assert len(mine.found) == len(theirs) > 3
        assert mine.chosen == 1
        for box, (_, k, score, corners) in zip(mine.found, theirs, strict=True):
            assert box.id == k
            np.testing.assert_allclose([*box[:4], box.score], [*corners, score], rtol=1e-5, atol=1e-5)


@each_case
@pytest.mark.parametrize("engine", ["reference", "ort"])
@pytest.mark.few(2)
def test_gradients_are_those_of_that_number(name: str, engine: str) -> None:
    case, x = CASES[name](), drawn()
    model, boxes = onnxlrp.load(case.file, engine=engine), best(CASES[name](), drawn())
    for number in (1, 3):
        found = model.explain(x, f"box:{number}", method="gradient", boxes=HOW)
        for n, kept in enumerate(boxes):
            a, k, *_ = kept[number - 1]
            assert found.target[n] == k
            np.testing.assert_allclose(found.logit[n], case.entry(x[n : n + 1], a, k)[0], rtol=1e-4, atol=1e-5)  # type: ignore[index]
        a, k, *_ = boxes[1][number - 1]
        np.testing.assert_allclose(found.relevance[1], slope(case, x[1].astype(np.float64), a, k), rtol=2e-3, atol=1e-4)


@each_case
@pytest.mark.few(2)
def test_rules_start_at_that_number(name: str) -> None:
    """Relevance of a box is that of a seed which is zero but for its number, put in by hand."""
    case, x = CASES[name](), drawn(1)
    model = onnxlrp.load(case.file, engine="reference")
    a, k, *_ = best(case, x)[0][0]
    tensor, at = case.explained
    found = model.explain(x, "box:1", method="epsilon_plus_flat", boxes=HOW)
    assert model.whole is not None
    mask = np.zeros((1, *model.whole.shapes[tensor]))
    mask[(0, *at(a, k))] = 1
    seeded = model.explain(x, output=tensor, seed=lambda z: z * mask, method="epsilon_plus_flat")
    assert np.abs(found.relevance).max() > 0
    np.testing.assert_allclose(found.relevance, seeded.relevance, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.logit, seeded.logit, rtol=1e-6)


@each_case
@pytest.mark.few(1)
def test_coordinates(name: str) -> None:
    case, x = CASES[name](), drawn(1)
    model = onnxlrp.load(case.file, engine="reference")
    a = best(case, x)[0][1][0]
    tensor, at, form = case.raw

    def read(rows: Array) -> Array:
        from support.evaluated import values_of

        p, q, r, s = np.moveaxis(np.asarray(values_of(case.file, tensor)(rows)[(slice(None), *at(a))]), -1, 0)
        x, y, w, h = (p, q, r, s) if form == "cxcywh" else ((p + r) / 2, (q + s) / 2, r - p, s - q)
        return np.stack([x, y, w, h, np.sqrt(w * h)])

    for i, word in enumerate(("x", "y", "w", "h", "size")):
        found = model.explain(x, f"box:2:{word}", method="gradient", boxes=HOW)
        np.testing.assert_allclose(found.output[0], read(x)[:, 0], rtol=1e-4)
        np.testing.assert_allclose(found.logit, read(x)[i], rtol=1e-4)
        moves = np.eye(x.size).reshape(x.size, *x.shape[1:]) * 1e-5
        expected = ((read(x + moves)[i] - read(x - moves)[i]) / 2e-5).reshape(x.shape)
        np.testing.assert_allclose(found.relevance, expected, rtol=2e-3, atol=1e-4)
        assert found.quantity == "value"
        assert found.title().startswith(f"{word} @box:2")
    assert found.boxes is not None
    assert found.boxes[0].chosen == 1


def test_other_classes_and_several() -> None:
    case, x = v8(), drawn()
    model, boxes = onnxlrp.load(case.file, engine="reference"), best(v8(), drawn())
    for k in range(CLASSES):
        found = model.explain(x, f"box:1:{k}", method="gradient", boxes=HOW)
        expected = [case.entry(x[n : n + 1], boxes[n][0][0], k)[0] for n in range(2)]
        np.testing.assert_allclose(found.logit, expected, rtol=1e-4, atol=1e-5)
    top = model.explain(x, "box:1:top2", method="gradient", boxes=HOW)
    (z,) = ([case.entry(x[n : n + 1], boxes[n][0][0], k)[0] for k in range(CLASSES)] for n in [0])
    assert top.target[:, 0].tolist() == np.argsort(-np.asarray(z))[:2].tolist()


@each_case
@pytest.mark.few(2)
def test_the_best_box_that_covers_a_point(name: str) -> None:
    case, x = CASES[name](), drawn(1)
    boxes = best(case, x)[0]
    model = onnxlrp.load(case.file, engine="reference")
    for y, at in ((3, 4), (12, 9)):
        inside = [n for n, (*_, c) in enumerate(boxes) if c[0] <= y < c[2] and c[1] <= at < c[3]]
        found = model.explain(x, f"box@{y},{at}", method="gradient", boxes=HOW)
        assert found.boxes is not None
        assert found.boxes[0].chosen == inside[0]
    with pytest.raises(UsageError, match="covers the point"):
        model.explain(x, "box@900,900", boxes=HOW)


@pytest.mark.parametrize("one", [True, False], ids=["joined", "beside"])
def test_behind_suppression_the_number_before_it_is_explained(one: bool) -> None:
    """What the untouched file chooses is found again, and it is the default."""
    case, x = suppressed(one), drawn(1)
    model = onnxlrp.load(case.file, engine="reference")
    assert model.graph.opaque is None
    found = model.explain(x, method="gradient")
    session = onnxruntime.InferenceSession(case.file.SerializeToString())
    rows = session.run(None, {"x": x})[0].astype(int)  # sample, class, box
    (scores,) = (case.scores(*values) for values in zip(*case.read(x), strict=True))
    rows = rows[np.argsort(-scores[rows[:, 2], rows[:, 1]], kind="stable")]
    assert found.boxes is not None
    assert [box.id for box in found.boxes[0].found] == rows[:, 1].tolist()
    expected = [scores[a, k] for _, k, a in rows]
    np.testing.assert_allclose([box.score for box in found.boxes[0].found], expected, rtol=1e-5)
    np.testing.assert_allclose(found.logit, case.entry(x, rows[0, 2], rows[0, 1]), rtol=1e-5)
    again = model.explain(x, "box:1", method="gradient", boxes="score=0.2")
    assert again.boxes is not None
    assert len(again.boxes[0].found) > len(rows)


CERTAIN = ("v8", "v8_merged", "v8_transposed", "v5", "v5_transposed", "x", "ssd", "detr")


@pytest.mark.parametrize("name", CERTAIN)
@pytest.mark.few(3)
def test_the_best_box_is_the_default_where_the_graph_shows_boxes(name: str) -> None:
    case, x = CASES[name](), drawn()
    model = onnxlrp.load(case.file, engine="reference").choose(boxes=None)
    boxes = best(case, x, 0.25, 0.45)
    assert model.detects == "certain"
    cases: list[tuple[dict[str, Any], Any]] = [({}, None), ({"target": "top1"}, None), ({"target": 3}, 3)]
    for words, number in (*cases, ({"target": [2, 1]}, (2, 1))):
        found = model.explain(x, **words, method="gradient")
        classes = [k for kept in boxes for _, k, *_ in kept[:1]] if number is None else np.broadcast_to(number, 2)
        assert found.target.tolist() == list(classes)
        expected = [case.entry(x[n : n + 1], boxes[n][0][0], k)[0] for n, k in enumerate(classes)]
        np.testing.assert_allclose(found.logit, expected, rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]
        assert found.title().endswith("@box:1") or "@box:1 ·" in found.title()
    (said, fix) = model.for_target().notes[0]
    assert "box:1" in said
    assert "-t box:2" in fix
    assert not [note for note in model.for_target("box:1").notes if "the model gives boxes" in note[0]]
    everywhere = model.explain(x, "top1@all", method="gradient")
    assert everywhere.boxes is None
    second = model.for_target("box:2").explain(x, method="gradient", boxes=HOW)
    assert second.boxes is not None
    assert second.boxes[0].chosen == 1


@pytest.mark.parametrize("name", ["retina"])
def test_where_boxes_are_a_guess_a_note_names_their_target(name: str) -> None:
    model = onnxlrp.load(CASES[name]().file, engine="reference")
    assert model.detects == "possible"
    chosen = model.for_target()
    assert chosen.placed is None or chosen.placed.detector is None
    assert ["-t box:1" in fix for said, fix in chosen.notes if "may be boxes" in said] == [True]
    assert not [said for said, _ in model.for_target("top1@all").notes if "may be boxes" in said]
    stated = model.choose(boxes=HOW).for_target()
    assert stated.placed is not None
    assert stated.placed.detector is not None


def test_what_is_no_detector_for_certain_is_explained_as_before() -> None:
    """The same lengths, without the Sigmoid, without a picture, or beside scores of classes; maps and classifiers."""
    from support import small_nets

    assert onnxlrp.load(small_nets.plain()).detects == "none"
    n = Net(3, SIDE, SIDE)
    maps = n.conv("x", 3, 5)
    assert onnxlrp.load(n.model(maps)).detects == "none"

    def joined(n: Net, y: str, function: str) -> str:
        four, rest = n.ops("Split", y, np.array([4, 5]), axis=1, results=2)
        return n.op("Concat", four, n.op(function, rest), axis=1)

    for function, says in (("Sigmoid", "certain"), ("Abs", "possible")):
        n = Net(3, SIDE, SIDE)
        y = n.op("Reshape", n.conv("x", 3, 9), np.array([0, 9, -1]))
        made = n.model(joined(n, y, function))
        assert onnxlrp.load(made).detects == says
    vector = Net(20)
    y = vector.op("Reshape", vector.op("MatMul", "x", np.ones((20, 90), np.float32)), np.array([0, 9, 10]))
    assert onnxlrp.load(vector.model(joined(vector, y, "Sigmoid"))).detects == "none"

    beside = v8().file
    mean = helper.make_node("GlobalAveragePool", ["x"], ["pooled"])
    beside.graph.node.extend([mean, helper.make_node("Flatten", ["pooled"], ["scores"])])
    beside.graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3]))
    model = onnxlrp.load(beside)
    assert model.detects == "possible"
    assert model.for_target().placed is None
    assert onnxlrp.load(v8().file).choose(output=v8().file.graph.output[0].name).detects == "none"


def test_an_explainer_of_a_detector_needs_a_place(tmp_path: Path) -> None:
    model = onnxlrp.load(v8().file)
    with pytest.raises(UnsupportedError, match="differs between samples") as error:
        model.export(tmp_path / "e.onnx", "epsilon")
    assert "input@all" in error.value.fix
    x = drawn()
    session = onnxruntime.InferenceSession(str(model.export(tmp_path / "e.onnx", "epsilon", "input@all")))
    session.run(None, {"x": x, "target": np.array([0, 6])})


@pytest.mark.parametrize(("name", "says"), [("v8", "[default target: box:1]"), ("retina", "-t box:1 explains")])
def test_inspect_and_explain_say_boxes(
    name: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]()
    path, picture = tmp_path / "m.onnx", tmp_path / "noise.npy"
    path.write_bytes(case.file.SerializeToString())
    np.save(picture, drawn(1)[0])
    assert main(["inspect", str(path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("boxes")]
    assert says in line
    assert main(["inspect", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["boxes"]
    assert (told["certain"], told["target"]) == (name == "v8", "box:1")
    words = ["explain", str(path), str(picture), "-m", "gradient", "-o", str(tmp_path / "{target}.npz")]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "-t box:2 explains" in said.err + said.out if name == "v8" else "-t box:1 explains" in said.err + said.out
    assert bool(list(tmp_path.glob("box1.*.npz"))) == (name == "v8")


@pytest.mark.parametrize("name", ["v8", "detr"])
@pytest.mark.parametrize("target", ["box:1", "box:1:w"])
def test_names_of_classes_in_the_file_fit_boxes_of_pictures(name: str, target: str, tmp_path: Path) -> None:
    """The names are those of classes where coordinates are explained, and of all but the class that means none."""
    case, labels = CASES[name](), list("abcde")
    prep = {
        "labels": labels,
        "scale": "1/255",
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
        "color": "RGB",
        "resize": "stretch",
    }
    helper.set_model_props(case.file, {"onnxlrp.prep": json.dumps(prep)})
    path, picture = tmp_path / "m.onnx", tmp_path / "noise.png"
    path.write_bytes(case.file.SerializeToString())
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(picture)
    found = onnxlrp.load(path, engine="reference").explain(picture, target, method="gradient", boxes=HOW)
    assert found.boxes is not None
    x = (np.asarray(Image.open(picture), np.float32) / 255).transpose(2, 0, 1)[np.newaxis]
    a, k, *_ = best(case, x)[0][0]
    assert found.boxes[0].box.label == labels[k]
    if target == "box:1":
        np.testing.assert_allclose(found.logit, case.entry(x, a, k), rtol=1e-4, atol=1e-5)


def test_what_optimises_a_picture_names_a_target_without_boxes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(v8().file.SerializeToString())
    assert main(["prototype", str(path), "-t", "2", "-o", str(tmp_path / "p.npz")]) == 4
    with pytest.raises(UnsupportedError, match="differs between samples") as error:
        onnxlrp.load(path).for_target(2).refuse_maps()
    assert "CLASS@all" in error.value.fix


def test_the_box_stays_while_parts_are_hidden() -> None:
    case, x = v8(), drawn()
    a, k, *_ = best(case, x)[1][0]
    model = onnxlrp.load(case.file, engine="reference")
    how: dict[str, Any] = {"window": 4, "stride": 4, "baseline": "zero", "score": "logit"}
    found = model.explain(x, "box:1", method="occlusion", boxes=HOW, **how)
    hidden = x[1:].copy()
    hidden[:, :, 4:8, 8:12] = 0
    drop = case.entry(x[1:], a, k) - case.entry(hidden, a, k)
    np.testing.assert_allclose(found.kind.summed(found.relevance)[1, 5, 9], drop[0], rtol=1e-3, atol=1e-5)


def test_a_pair_that_may_be_either_way_round_is_refused_until_it_is_stated() -> None:
    from support.detector_models import detr

    case, x = detr(classes=3), drawn(1)
    model = onnxlrp.load(case.file, engine="reference")
    with pytest.raises(UsageError, match="may be boxes and scores"):
        model.explain(x, "box:1")
    for target in (0, "top1"):
        with pytest.raises(UsageError, match="no box is explained"):
            model.explain(x, target, boxes="score=0.1")
    boxes, scores = case.tensors
    found = model.explain(x, "box:1", boxes=f"{HOW},boxes={boxes},scores={scores}", method="gradient")
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes[0].box[:4], best(case, x)[0][0][3], rtol=1e-5)


def test_what_is_assumed_is_said_and_can_be_stated() -> None:
    def notes(case: Detector, target: str = "box:1", **more: str) -> str:
        model = onnxlrp.load(case.file, engine="reference").choose(**more).for_target(target)  # type: ignore[arg-type]
        return " ".join(f"{text} {fix}" for text, fix in model.notes)

    assert "format=xyxy" in notes(CASES["retina"]())
    assert "assumption" not in notes(v8()) + notes(v5()) + notes(CASES["x"]())
    assert "background=0" in notes(CASES["ssd"]())
    other = onnxlrp.load(CASES["ssd"]().file, engine="reference")
    x = drawn(1)
    stated = other.explain(x, "box:1", boxes=f"{HOW},background=none", method="gradient")
    assert stated.boxes is not None
    assert 0 in [box.id for box in stated.boxes[0].found]
    with pytest.raises(UsageError, match="are above or left of the first"):
        onnxlrp.load(v8().file, engine="reference").explain(x, "box:1", boxes=f"{HOW},format=xyxy")


@pytest.mark.parametrize("form", ["xyxy", "yxyx"])
def test_formats_that_are_stated_turn_corners(form: str) -> None:
    case, x = CASES["retina"](), drawn(1)
    model = onnxlrp.load(case.file, engine="reference")
    found = model.explain(x, "box:1", boxes=f"{HOW},format={form}", method="gradient")
    *_, corners = best(case, x)[0][0]
    expected = corners if form == "xyxy" else corners[[1, 0, 3, 2]]
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes[0].box[:4], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "boxes", "says"),
    [
        ("box:0", HOW, "count from 1"),
        ("box:900", HOW, "lower it"),
        ("box:1", "score=2", "from 0 to 1"),
        ("box:1", "skore=0.5", "did you mean"),
        ("box:1", "format=xywh", "xyxy"),
        ("box:1", "boxes=nobody", "outputs:"),
        ("box:1", "background=x", "class id"),
        ("box:1:77", HOW, "give an id"),
    ],
)
def test_what_does_not_fit_is_refused(target: str, boxes: str, says: str) -> None:
    model = onnxlrp.load(CASES["ssd"]().file, engine="reference")
    with pytest.raises(UsageError) as error:
        model.explain(drawn(1), target, boxes=boxes)
    assert says in f"{error.value.message} {error.value.fix}"


def test_one_output_without_a_concatenation_needs_a_word_of_the_user() -> None:
    n = Net(6, seed=3)
    z = n.op("Reshape", n.op("MatMul", "x", n.rng.uniform(0.1, 1, size=(6, 70))), np.array([0, 10, 7]))
    model = onnxlrp.load(n.model(n.op("Abs", z)), engine="reference")
    x = np.random.default_rng(0).normal(size=(1, 6)).astype(np.float32)
    with pytest.raises(UsageError, match="may hold some") as error:
        model.explain(x, "box:1")
    assert "layout=4+C" in error.value.fix
    y = model.outputs(x)["logits"].reshape(10, 7)
    for layout, scores in (("4+C", y[:, 4:]), ("5+C", y[:, 5:] * y[:, 4:5])):
        found = model.explain(x, "box:1", boxes=f"layout={layout},score=0,iou=1", method="gradient")
        assert found.boxes is not None
        np.testing.assert_allclose(found.boxes[0].box.score, scores.max(), rtol=1e-6)


def test_classifiers_have_no_boxes() -> None:
    from support import small_nets

    model = onnxlrp.load(small_nets.plain(), engine="reference")
    x = np.random.default_rng(0).normal(size=(1, *model.graph.inputs[0].shape)).astype(np.float32)
    with pytest.raises(UsageError, match="no boxes were found"):
        model.explain(x, "box:1")
    with pytest.raises(UnsupportedError, match="differs between samples"):
        onnxlrp.load(v8().file).export("never.onnx", "epsilon", "box:1")


@pytest.mark.slow
def test_figure_json_and_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = v8()
    path, picture = tmp_path / "v8.onnx", tmp_path / "noise.png"
    path.write_bytes(case.file.SerializeToString())
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(picture)
    words = ["explain", str(path), str(picture), "--prep", "0-1", "-m", "gradient", "--boxes", HOW, "-t", "box:1"]
    assert main([*words, "-o", str(tmp_path / "out.png")]) == 0
    said = capsys.readouterr()
    assert "boxes" in said.out + said.err
    drawn_with = np.asarray(Image.open(tmp_path / "out.png"))
    model = onnxlrp.load(path, prep={"scale": "1/255", "mean": "0,0,0", "std": "1,1,1"})
    found = model.explain(picture, "box:1", method="gradient", boxes=HOW)
    without = onnxlrp.Explanation(
        relevance=found.relevance, output=found.output, target=found.target, images=found.images, kind=found.kind,
        head=found.head, logit=found.logit, labels=found.labels, provenance=found.provenance,
    )  # fmt: skip
    assert drawn_with.shape == np.asarray(without.figure()).shape
    assert (np.asarray(found.figure()) != np.asarray(without.figure())).any(axis=2).mean() > 0.01
    data = found.to_dict()["samples"][0]
    assert data["box"] == data["boxes"][0]
    assert set(data["box"]) == {"y0", "x0", "y1", "x1", "score", "id", "label"}
    assert main([*words, "--json", "-o", str(tmp_path / "out.json")]) == 0
    assert json.loads(capsys.readouterr().out)["box"]["id"] == found.target[0]
    assert found[0].boxes == found.boxes


@pytest.mark.slow
def test_evaluation_and_comparison_keep_the_box(tmp_path: Path) -> None:
    from onnxlrp.comparison.compare import CompareOptions, compare
    from onnxlrp.evaluation.evaluate import evaluate

    case, x = v8(), drawn()
    a = onnxlrp.load(case.file, engine="reference").choose(boxes=HOW)
    b = onnxlrp.load(case.file, engine="ort").choose(boxes=HOW)
    found = evaluate(a, x, ["gradient"], target="box:1", metrics=["insertion"])
    assert found is not None
    result = compare(a, b, [(f"{n}", one) for n, one in enumerate(x)], CompareOptions(target="box:1", boxes=HOW))
    assert result is not None


def test_names_of_files_tell_the_box_and_what_of_it(tmp_path: Path) -> None:
    case, x = v8(), drawn(1)
    model = onnxlrp.load(case.file, engine="reference")
    kept = best(case, x)[0]
    first, second = (k for _, k, *_ in kept[:2])
    z = [case.entry(x, kept[0][0], k)[0] for k in range(CLASSES)]
    next_best = int(next(k for k in np.argsort(np.negative(z)) if k != first))
    names = {
        "box:1": f"a.box1.{first}.box1.{first}.npz",
        "box:2": f"a.box2.{second}.box2.{second}.npz",
        "box:1:3": "a.box1.3.box1.3.npz",
        "box:1:w": "a.box1-w.box1-w.npz",
        "box:2:w": "a.box2-w.box2-w.npz",
        "box:2:size": "a.box2-size.box2-size.npz",
        "box:1:top2": f"a.box1.{first}-{next_best}.box1.{first}-{next_best}.npz",
    }
    for target, name in names.items():
        found = model.explain(x, target, method="gradient", boxes=HOW)
        assert [path.name for path in found.save(tmp_path / "a.{target}.{label}.npz")] == [name]
    drawn_ones = model.explain(x, "box:1:top2", method="gradient", boxes=HOW).save(tmp_path / "b.{target}.png")
    assert [path.name for path in drawn_ones] == [f"b.box1.{first}.png", f"b.box1.{next_best}.png"]


def test_a_box_at_a_point_is_named_by_its_number(tmp_path: Path) -> None:
    case, x = v8(), drawn()
    found = onnxlrp.load(case.file, engine="reference").explain(x, "box@3,4", method="gradient", boxes=HOW)
    expected = []
    for kept in best(case, x):
        number = next(n for n, (*_, c) in enumerate(kept) if c[0] <= 3 < c[2] and c[1] <= 4 < c[3])
        expected.append(f"box{number + 1}.{kept[number][1]}.json")
    written = {path.name for path in found.save(tmp_path / "{target}.json")}
    assert written == set(expected)
