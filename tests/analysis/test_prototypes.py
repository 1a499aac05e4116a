"""Prototypes: closed forms, every kind of input, dead starts, evidence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.analysis.ascent import domain
from onnxlrp.analysis.ascent.objectives import OBJECTIVES, Score
from onnxlrp.analysis.prototypes.files import record
from onnxlrp.analysis.prototypes.styles import STYLES
from onnxlrp.errors import UnsupportedError, UsageError
from support.paths import MODELS

SHAPES, DIGITS = MODELS / "shapes.onnx", MODELS / "digits.onnx"


def model_of(shape: Any, weight: Any, dtype: int = TensorProto.FLOAT, before: str = "", **load: Any) -> Any:
    """y = W x (and a ReLU before it or behind): scores of as many classes as W has columns."""
    nodes, flat = [], "x"
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [flat], ["f"], to=TensorProto.FLOAT))
        flat = "f"
    if before == "Relu":
        nodes += [helper.make_node("Sub", [flat, "half"], ["s"]), helper.make_node("Relu", ["s"], ["r"])]
        flat = "r"
    nodes.append(helper.make_node("Flatten", [flat], ["v"]))
    nodes.append(helper.make_node("Gemm", ["v", "w"], ["y"]))
    if before == "last":
        nodes[-1].output[0] = "z"
        nodes.append(helper.make_node("Relu", ["z"], ["y"]))
    arrays = {"w": np.asarray(weight, np.float32), "half": np.asarray(9, np.float32)}
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", weights[0].dims[1]])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxlrp.load(made.SerializeToString(), **load)


def test_a_linear_models_prototype_is_its_closed_form() -> None:
    """arg max <w, x> - λ‖z - ½‖², x = low + z (high - low): z = ½ + w (high - low) / 2λ, clipped to the range."""
    w = np.random.default_rng(0).normal(size=(12, 2)) * 2e-4
    found = model_of((12,), w).prototype(1, style="pixels", steps=400, low=-1.0, high=3.0)
    weight = 1e-3  # of the style, for a vector: λ Σ over the places, one here
    expected = np.clip(0.5 + w[:, 1] * 4 / (2 * weight), 0, 1)
    np.testing.assert_allclose(found.pictures[0], expected, atol=2e-2)
    np.testing.assert_allclose(found.inputs[0], -1 + 4 * found.pictures[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "kind", "style"),
    [
        ((13, 8, 8), "image:NCHW", "fourier"),
        ((8, 8, 2), "image:NHWC", "maco"),
        ((3, 40), "signal", "fourier"),
        ((40, 2), "signal:NLC", "yosinski"),
        ((1, 6, 7, 8), "volume", "fourier"),
        ((5,), "vector", "pixels"),
    ],
)
def test_every_kind_of_input(shape: Any, kind: str, style: str) -> None:
    w = np.random.default_rng(1).normal(size=(int(np.prod(shape)), 3))
    model = model_of(shape, w).choose(kind=kind)
    found = model.prototype(2, style=style, steps=24, n=2)
    assert found.inputs.shape == (2, *shape)
    assert found.inputs.dtype == np.float32
    assert kind == "vector" or (found.evidence["best"] == 2).all()
    assert "assumed" in found.about["range"]
    assert not found.dead.any()
    json.dumps(record(found), allow_nan=False)
    if kind == "volume":
        with pytest.raises(UnsupportedError, match="figure"):
            found.figure()
    else:
        assert min(found.figure().size) > 100


def test_pictures_lie_in_the_models_own_layout() -> None:
    """A class that sums channel 1 is raised in channel 1, wherever the channels are."""
    for shape, kind in (((4, 6, 6), "image:NCHW"), ((6, 6, 4), "image:NHWC")):
        hot = np.zeros(shape)
        where = (1, ...) if kind.endswith("CHW") else (..., 1)
        hot[where] = 1
        model = model_of(shape, np.stack([hot.ravel(), -hot.ravel()], axis=1)).choose(kind=kind)
        found = model.prototype(0, style="pixels", steps=30)
        assert found.pictures[0, 1].min() > 0.8
        np.testing.assert_allclose(found.inputs[0][where], -2 + 4 * found.pictures[0, 1], rtol=1e-5)


def test_whole_numbers_are_rounded() -> None:
    w = np.random.default_rng(1).normal(size=(36, 3)) / 255
    found = model_of((4, 3, 3), w, TensorProto.UINT8).prototype(0, style="pixels", steps=20)
    assert found.inputs.dtype == np.uint8
    assert found.inputs.max() > 250
    assert found.evidence["best"][0] == 0
    assert found.evidence["relaxed"]["score"] == pytest.approx(found.scores, rel=1e-2)
    with pytest.raises(UsageError, match="range"):
        model_of((4, 9), w, TensorProto.INT32).choose(kind="signal").prototype(0, style="pixels", steps=2)
    given = (
        model_of((4, 9), w, TensorProto.INT32)
        .choose(kind="signal")
        .prototype(0, style="pixels", steps=20, low=0, high=[9, 9, 9, 4])
    )
    assert given.inputs.max() == 9
    assert given.inputs[0, 3].max() <= 4


def test_objectives_are_their_equations() -> None:
    """z_k, log p_k and their sum, with the gradients W e_k and W (e_k - p)."""
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(12, 5)), rng.normal(size=(9, 12)).astype(np.float32)
    model, k = model_of((12,), w), 2
    z = x.astype(float) @ w
    last = z[:, k] == z.min(axis=1)
    assert 0 < last.sum() < 5
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected: Any = {
        "logit": (z[:, k], np.repeat(w[None, :, k], 9, axis=0)),
        "log-probability": (np.log(p[:, k]), (np.eye(5)[k] - p) @ w.T),
    }
    both = zip(expected["logit"], expected["log-probability"], strict=True)
    expected["logit+log-probability"] = [one + other for one, other in both]
    assert tuple(expected) == OBJECTIVES
    for objective, (values, slope) in expected.items():
        found = Score(model, k, objective=objective)(x)
        np.testing.assert_allclose(found[0], values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[1][~last], slope[~last], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[1][last], expected["logit"][1][last], rtol=1e-5)


def test_the_objective_is_recorded_and_has_a_default_by_style() -> None:
    model = onnxlrp.load(DIGITS)
    found = model.prototype(3, steps=4, objective="log-probability")
    assert found.about["objective"] == "log-probability"
    assert found.scores[0] == pytest.approx(model.outputs(found.inputs)["logits"][0, 3], rel=1e-5)
    assert model.prototype(3, steps=1).about["objective"] == STYLES["fourier"].objective
    assert model.prototype(3, steps=1, style="pixels").about["objective"] == "logit"
    layer = model.graph.layers[1].label
    assert model.prototype(unit=f"{layer}:1", steps=1).about["objective"] == "activation"
    for wrong in ({"target": 3, "objective": "chance"}, {"unit": f"{layer}:1", "objective": "log-probability"}):
        with pytest.raises(UsageError):
            model.prototype(**wrong, steps=1)
    values = model_of((4, 5), np.ones((20, 3))).choose(task="regression", kind="signal")
    assert values.prototype(0, steps=1).about["objective"] == "logit"
    with pytest.raises(UsageError, match="no probability"):
        values.prototype(0, steps=1, objective="log-probability")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_dead_class_is_redirected_though_its_rivals_live(objective: str) -> None:
    """Behind the last ReLU class 0 is dead at the start, and class 1 alive, whose gradient would hide it."""
    w = np.abs(np.random.default_rng(1).normal(size=(16, 2))) * [-1, 1]
    w[:3, 0] *= -1  # places that raise it
    start = np.full((1, 16), 0.5, np.float32)
    model = model_of((16,), w, before="last")
    how: Any = {"style": "pixels", "steps": 80, "low": -2.0, "high": 1.0, "start": start}
    found = model.prototype(0, objective=objective, **how)
    assert found.about["redirected"] > 0
    assert found.scores[0] > 0


@pytest.mark.parametrize("before", ["Relu", "last"])
def test_a_dead_start_is_redirected(before: str) -> None:
    """Behind the ReLU nothing is alive at the start: the plain gradient is zero everywhere."""
    w = np.abs(np.random.default_rng(1).normal(size=(16, 2))) * (1 if before == "Relu" else -1)
    model = model_of((16,), w, before=before)
    how: Any = {"low": 0.0, "high": 10.0} if before == "Relu" else {"low": -2.0, "high": 1.0}
    start = np.full((1, 16), 5.0 if before == "Relu" else 0.5, np.float32)
    assert not model.outputs(start, model.composite("gradient"), ids=np.zeros(1, int))["relevance"].any()
    found = model.prototype(0, style="pixels", steps=60, start=start, **how)
    assert not found.dead.any()
    assert found.scores[0] > 0


def test_no_gradient_at_all_is_said() -> None:
    found = model_of((9,), np.zeros((9, 2))).prototype(0, style="pixels", steps=3)
    assert found.dead.all()


def test_tokens_and_missing_classes_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="tokens"):
        model_of((5,), np.ones((5, 2)), TensorProto.INT64).choose(kind="tokens").prototype(0)
    model = model_of((5,), np.ones((5, 2)))
    for wrong in ({}, {"target": "top1"}, {"target": 9}, {"target": 0, "style": "oil"}, {"target": 0, "stepps": 3}):
        with pytest.raises(UsageError):
            model.prototype(**wrong)
    with pytest.raises(UsageError, match="axes of space"):
        model.prototype(0)
    with pytest.raises(UsageError, match="channels"):
        model.prototype(0, style="pixels", low=[0, 0], high=1)


@pytest.mark.parametrize("style", ["fourier", "maco", "yosinski", "pixels"])
def test_a_run_is_repeatable(style: str) -> None:
    model = onnxlrp.load(DIGITS)
    first, again, other = (model.prototype(3, style=style, steps=4, seed=seed).inputs for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["fourier", "maco"])
@pytest.mark.parametrize("path", [SHAPES, DIGITS], ids=["shapes", "digits"])
def test_the_model_sees_its_own_class_in_disturbed_prototypes(path: Any, style: str) -> None:
    model = onnxlrp.load(path)
    found = [model.prototype(k, style=style, steps=64) for k in range(model.classes)]
    shares = [one.evidence["transformed"]["own class"][0] for one in found]
    assert np.mean(shares) >= 0.95
    for k, one in enumerate(found):
        assert one.evidence["read again"]["best"][0] == k


@pytest.mark.slow
def test_evidence_is_what_the_model_says_of_the_picture(tmp_path: Any) -> None:
    model = onnxlrp.load(SHAPES)
    found = model.prototype("star", steps=24, n=2, images=MODELS / "samples")
    (path, second) = found.save(tmp_path / "star.png")
    assert second.name == "star-2.png"
    again = model.explain([path, second], target="star")
    np.testing.assert_allclose(again.logit, found.evidence["read again"]["score"], rtol=1e-4)
    np.testing.assert_allclose(found.scores, found.evidence["score"], rtol=1e-4)
    assert found.scores[0] >= found.scores[1]
    logits = model.explain(sorted((MODELS / "samples").glob("*.png")), target="star").logit
    assert found.evidence["pictures"]["score"] == pytest.approx(logits.max(), rel=1e-4)
    assert found.evidence["pictures"]["above"] == (found.scores > logits.max()).sum()
    assert "estimated" in found.about["colours"]


def test_inputs_and_pictures_belong_together() -> None:
    model = onnxlrp.load(SHAPES)
    where = domain.decide(model)
    z = np.random.default_rng(0).random((2, *where.shape)).astype(np.float32)
    np.testing.assert_allclose(where.from_input(where.to_input(z)), z, atol=1e-5)
    read = model.read([where.picture(one) for one in z]).values
    np.testing.assert_allclose(read, where.to_input(np.rint(z * 255) / 255), atol=1e-5)
    s = np.random.default_rng(1).standard_normal((2, *model.graph.inputs[0].shape)).astype(np.float32)
    left = ((where.to_input(z) - where.to_input(np.zeros_like(z))) * s).sum()
    assert left == pytest.approx((z * where.pullback(s)).sum(), rel=1e-4)


@pytest.mark.few(2)
@pytest.mark.parametrize("unit", ["blocks.1.relu2:3", "blocks.1.relu2:3@4,5", "blocks.3.relu1:7", "flatten:2"])
def test_a_units_prototype_raises_the_unit(unit: str) -> None:
    model = onnxlrp.load(SHAPES)
    found = model.prototype(unit=unit, steps=20)
    assert unit in found.name
    assert found.target is None
    scores = model.choose(output=unit).explain(sorted((MODELS / "samples").glob("scene*.png"))).logit
    assert found.scores[0] > scores.max()
    assert "probability" not in found.evidence
    json.dumps(record(found), allow_nan=False)


def test_units_that_are_not_there_are_refused() -> None:
    model = onnxlrp.load(SHAPES)
    for wrong in ({"unit": "block9:1"}, {"unit": "blocks.1.relu2:300"}, {"unit": "blocks.1.relu2:3", "target": 1}):
        with pytest.raises(UsageError):
            model.prototype(**wrong)
