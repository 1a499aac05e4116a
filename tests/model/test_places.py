"""Outputs with scores at many positions, explained at a place: against sums and differences that numpy computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.errors import InputError, OnnxLrpError, UnsupportedError, UsageError
from support import dense_models
from support.arrays import Array
from support.dense_models import CASES, Case
from support.evaluated import values_of
from support.small_nets import Net

ENGINES = ("reference", "ort", "emulator")
each_engine = pytest.mark.parametrize("engine", ENGINES)
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
MAPS = {name: case for name, case in CASES.items() if len(case.space) == 2}
each_map = pytest.mark.parametrize("case", MAPS.values(), ids=MAPS)


def loaded(case: Case, engine: str = "reference") -> onnxlrp.Model:
    try:
        return onnxlrp.load(case.make(), engine=engine)
    except OnnxLrpError as error:
        pytest.skip(error.message)


def drawn(case: Case, samples: int = 2) -> Array:
    shape = onnxlrp.load(case.make(), engine="reference").graph.inputs[0].shape
    return np.random.default_rng(0).normal(size=(samples, *shape)).astype(np.float32)


def logits_of(case: Case) -> Callable[[Array], Array]:
    """x → logits [N, K, *space], as onnx's evaluator computes them."""
    run = values_of(case.make(), case.logits)

    def of(x: Array) -> Array:
        z = run(x)
        return z[:, np.newaxis] if case.axis is None else np.moveaxis(z, 1 + case.axis, 1)

    return of


def places(case: Case) -> list[tuple[str, tuple[Any, ...]]]:
    """Places as targets name them, with what numpy takes for them."""
    if len(case.space) == 1:
        return [("@3", (3,)), ("@-1", (-1,)), ("@1,4", (slice(1, 4),)), ("@all", (slice(None),))]
    region = (slice(1, 4), slice(2, 7))
    return [("@2,5", (2, 5)), ("@-1,0", (-1, 0)), ("@1,2,4,7", region), ("@all", (slice(None),) * 2)]


def score(z: Array, where: tuple[Any, ...]) -> Array:
    """The mean logit [N, K] over a place."""
    picked = z[(slice(None), slice(None), *where)]
    return picked.reshape(*z.shape[:2], -1).mean(axis=2)


def slope(f: Callable[[Array], Array], x: Array, step: float = 1e-5) -> Array:
    """∂f/∂x of one sample by central differences; f gives a number for each row."""
    moves = np.eye(x.size).reshape(x.size, *x.shape) * step
    found: Array = ((f(x + moves) - f(x - moves)) / (2 * step)).reshape(x.shape)
    return found


@each_case
@each_engine
@pytest.mark.few(4)
def test_scores_and_gradients_at_places(case: Case, engine: str) -> None:
    model, x, of = loaded(case, engine), drawn(case), logits_of(case)
    k = case.classes - 1
    for word, where in places(case):
        found = model.explain(x, f"{k}{word}", method="gradient")
        assert found.logit is not None
        np.testing.assert_allclose(found.logit, score(of(x), where)[:, k], rtol=1e-4, atol=1e-5)
        expected = slope(lambda rows, where=where: score(of(rows), where)[:, k], x[0].astype(np.float64))  # type: ignore[misc]
        np.testing.assert_allclose(found.relevance[0], expected, rtol=1e-3, atol=1e-4)


@each_case
def test_best_class_at_a_place_is_that_of_the_scores(case: Case) -> None:
    model, x = loaded(case), drawn(case)
    for word, where in places(case):
        found = model.explain(x, f"top1{word}", method="gradient_x_input")
        assert found.target.tolist() == score(logits_of(case)(x), where).argmax(axis=1).tolist()


def predicted(case: Case, z: Array) -> Array:
    """Where each class is predicted, [N, K, *space]."""
    if case.classes == 1 or case.make is dense_models.separate:
        return z > 0
    return z.argmax(axis=1)[:, np.newaxis] == np.arange(case.classes).reshape(1, -1, *[1] * len(case.space))


each_predicted = pytest.mark.parametrize("name", [name for name in MAPS if name != "depth"])


@each_predicted
@each_engine
@pytest.mark.few(3)
def test_where_a_class_is_predicted(name: str, engine: str) -> None:
    case = CASES[name]
    model, x, z = loaded(case, engine), drawn(case), logits_of(case)(drawn(case))
    inside = predicted(case, z)
    counts = inside.reshape(*z.shape[:2], -1).sum(axis=2)
    means = (z * inside).reshape(*z.shape[:2], -1).sum(axis=2) / np.maximum(counts, 1)
    best = counts.argmax(axis=1)
    found = model.explain(x, method="gradient")
    assert found.target.tolist() == best.tolist(), "the class of most positions"
    np.testing.assert_allclose(found.logit, means[[0, 1], best], rtol=1e-4)
    assert found.notes["positions"].tolist() == counts[[0, 1], best].tolist()
    assert found.shares is not None
    np.testing.assert_allclose(found.shares, counts / np.prod(case.space))
    mask = inside[0, best[0]] / counts[0, best[0]]
    expected = slope(lambda rows: (logits_of(case)(rows)[:, best[0]] * mask).sum(axis=(1, 2)), x[0].astype(np.float64))
    np.testing.assert_allclose(found.relevance[0], expected, rtol=1e-3, atol=1e-4)


@each_map
def test_a_mask_of_a_file(case: Case, tmp_path: Path) -> None:
    model, x, z = loaded(case), drawn(case), logits_of(case)(drawn(case))
    mask = np.random.default_rng(1).random(case.space) > 0.6
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", mask)
    for name in ("mask.png", "mask.npy"):
        found = model.explain(x, f"0@{tmp_path / name}", method="gradient_x_input")
        np.testing.assert_allclose(found.logit, (z[:, 0] * mask).sum(axis=(1, 2)) / mask.sum(), rtol=1e-5)


def test_relevance_of_a_linear_model_is_known_exactly() -> None:
    n = Net(3, 6, 7, seed=8)
    made = n.model(n.conv("x", 3, 4, bias=False))
    of = values_of(made, "conv0")
    x = np.random.default_rng(2).normal(size=(2, 3, 6, 7)).astype(np.float32)
    mask = of(x).argmax(axis=1) == 2
    model = onnxlrp.load(made, engine="reference")
    # s = Σ_i w_i x_i: the relevance of ε → 0 is w_i x_i, where w is the score of the unit vectors.
    units = of(np.eye(126).reshape(126, 3, 6, 7))[:, 2]
    for target, inside in (("2", mask), ("2@predicted", mask), ("2@1,1,5,4", None), ("2@3,3", None)):
        found = model.explain(x, target, method="epsilon", epsilon=1e-12)
        for m in range(2):
            here = np.zeros((6, 7))
            if inside is not None:
                here = inside[m].astype(float)
            elif target == "2@3,3":
                here[3, 3] = 1
            else:
                here[1:5, 1:4] = 1
            weights = (units * here).sum(axis=(1, 2)).reshape(3, 6, 7) / here.sum()
            np.testing.assert_allclose(found.relevance[m], weights * x[m], atol=1e-6)


@each_engine
@pytest.mark.parametrize("name", ["softmax", "separate", "channels_last"])
def test_the_place_stays_while_parts_are_hidden(name: str, engine: str) -> None:
    case = CASES[name]
    model, x, of = loaded(case, engine), drawn(case), logits_of(case)
    found = model.explain(x, method="occlusion", window=2, stride=2, baseline="zero")
    k = int(found.target[1])
    inside = predicted(case, of(x))[1, k]
    z = of(x)[1, k]
    assert model.kind.is_image
    hidden = x[1:].copy()
    rows = (slice(2, 4), slice(2, 4))
    axes = model.kind.spatial_axes
    cut: list[Any] = [slice(None)] * 4
    for axis, piece in zip(axes, rows, strict=True):
        cut[1 + axis] = piece
    hidden[tuple(cut)] = 0
    before, after = ((map_ * inside).sum() / inside.sum() for map_ in (z, of(hidden)[0, k]))
    if name == "separate":  # occlusion takes the probability, where a class has one of its own
        before, after = (1 / (1 + np.exp(-s)) for s in (before, after))
    drop = before - after
    np.testing.assert_allclose(found.kind.summed(found.relevance)[1, 2, 2], drop, rtol=2e-3, atol=1e-4)


@each_predicted
def test_several_targets_have_each_their_place(name: str) -> None:
    case = CASES[name]
    model, x = loaded(case), drawn(case, 1)
    areas = predicted(case, logits_of(case)(x))[0].reshape(case.classes, -1).sum(axis=1)
    several = [int(k) for k in np.argsort(-areas, kind="stable") if areas[k]]
    found = model.explain(x, targets=several, method="epsilon")
    top = model.explain(x, f"top{len(several)}", method="epsilon")
    for t, k in enumerate(several):
        alone = model.explain(x, k, method="epsilon")
        np.testing.assert_allclose(found.relevance[t], alone.relevance, rtol=1e-6, atol=1e-9)
        assert found.notes["positions"][t] == [areas[k]]
    np.testing.assert_allclose(top.relevance.reshape(found.relevance.shape), found.relevance, rtol=1e-6, atol=1e-9)


def test_pairs_of_position_and_class() -> None:
    model, x = loaded(CASES["tokens"]), drawn(CASES["tokens"])
    z = logits_of(CASES["tokens"])(x)
    np.testing.assert_allclose(model.explain(x, (2, 7), method="gradient").logit, z[:, 7, 2], rtol=1e-5)
    np.testing.assert_allclose(model.explain(x, method="gradient").logit, z[:, :, -1].max(axis=1), rtol=1e-5)
    maps = loaded(CASES["logits"])
    z = logits_of(CASES["logits"])(drawn(CASES["logits"]))
    found = maps.explain(drawn(CASES["logits"]), ((2, 3), 1), method="gradient")
    np.testing.assert_allclose(found.logit, z[:, 1, 2, 3], rtol=1e-5)


def test_what_is_shown_is_what_the_model_says_there() -> None:
    for name in ("softmax", "one", "separate"):
        case = CASES[name]
        x = drawn(case)
        file = onnxruntime.InferenceSession(case.make().SerializeToString()).run(None, {"x": x})[0]
        found = loaded(case, "ort").explain(x, "0@2,3", method="gradient")
        np.testing.assert_allclose(found.probabilities, file[:, :, 2, 3], rtol=1e-4, atol=1e-6)


def test_a_place_that_was_not_named_is_said() -> None:
    said = {name: loaded(case).for_target().notes for name, case in CASES.items()}
    assert "the position -1 of 5 positions" in said["tokens"][-1][0]
    assert "predicted" in said["softmax"][-1][0]
    assert "predicted" in said["one"][-1][0]
    assert "all 6 x 7" in said["depth"][-1][0], "values have no predicted class"
    assert not loaded(CASES["softmax"]).for_target("2@3,4").notes


@pytest.mark.few(5)
@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("logits", "2@6,0", "outside of the output, which has 6 x 7"),
        ("logits", "2@-7,0", "outside"),
        ("logits", "2@3", "1 numbers; the output has 6 x 7"),
        ("logits", "2@1,1,1,4", "no region"),
        ("logits", "2@0,0,7,7", "no region"),
        ("logits", "4@2,2", "no such class"),
        ("logits", "dog", "names no classes"),
        ("logits", "2@nothing.png", "nothing.png"),
        ("tokens", "2@5", "the position is outside"),
        ("logits", "box:3:size", "no boxes were found"),
        ("depth", "box@2,3", "no boxes were found"),
        ("tokens", "11", "no such class"),
        ("depth", "0@predicted", "one value at each of 6 x 7 positions"),
        ("depth", "1@2,2", "no such class"),
    ],
)
def test_what_is_not_there_is_refused_with_the_way_out(name: str, target: str, words: str) -> None:
    for method in ("epsilon", "occlusion"):
        with pytest.raises(OnnxLrpError, match=words) as caught:
            loaded(CASES[name]).explain(drawn(CASES[name]), target, method=method)
        assert isinstance(caught.value, UsageError | InputError)
        assert caught.value.fix


def test_masks_of_another_size_and_without_a_pixel(tmp_path: Path) -> None:
    model, x = loaded(CASES["logits"]), drawn(CASES["logits"])
    Image.fromarray(np.ones((5, 7), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match=r"5 x 7 pixels, the output 6 x 7"):
        model.explain(x, f"1@{tmp_path / 'small.png'}")
    Image.fromarray(np.zeros((6, 7), np.uint8)).save(tmp_path / "black.png")
    with pytest.raises(InputError, match="empty"):
        model.explain(x, f"1@{tmp_path / 'black.png'}")


def test_a_class_that_is_predicted_nowhere() -> None:
    n = Net(3, 6, 7, seed=9)
    made = n.model(n.op("Add", n.conv("x", 3, 3), np.array([0, 0, -99.0]).reshape(1, 3, 1, 1)))
    model = onnxlrp.load(made)
    with pytest.raises(UsageError, match="no position of 6 x 7 is predicted as 2") as caught:
        model.explain(np.ones((1, 3, 6, 7), np.float32), 2)
    assert "@all" in caught.value.fix
    assert "%" in caught.value.fix
    with pytest.raises(UsageError, match="and"):
        model.explain(np.ones((1, 3, 6, 7), np.float32), targets=["1@2,3", "1@3,3"])


@pytest.mark.slow
def test_an_exported_explainer_finds_the_place_itself(tmp_path: Path) -> None:
    for name in ("softmax", "separate", "one"):
        case = CASES[name]
        model, x = loaded(case, "ort"), drawn(case)
        own = model.explain(x, method="epsilon")
        path = model.export(tmp_path / f"{name}.onnx", "epsilon", "input@predicted")
        file = onnxruntime.InferenceSession(str(path))
        feeds = {"x": x, "target": own.target.astype(np.int64)}
        found = dict(zip([o.name for o in file.get_outputs()], file.run(None, feeds), strict=True))
        np.testing.assert_allclose(found["relevance"], own.relevance, rtol=1e-4, atol=1e-6)
    with pytest.raises(UsageError, match="where classes are predicted"):
        model.export(tmp_path / "no.onnx", "epsilon", "top1@predicted")


def test_commands_of_one_score_say_what_stays() -> None:
    with pytest.raises(UnsupportedError, match="map of 4 x 6 x 7"):
        loaded(CASES["logits"]).refuse_maps()
    with pytest.raises(UnsupportedError, match="differs between samples"):
        loaded(CASES["logits"]).for_target().refuse_maps()
    loaded(CASES["logits"]).for_target("1@2,2").refuse_maps()


def test_grad_cam_reads_features_and_not_the_map_of_logits() -> None:
    model, x = loaded(CASES["softmax"]), drawn(CASES["softmax"])
    assert model.explain(x, method="grad_cam").notes["layer"] == "relu1"
