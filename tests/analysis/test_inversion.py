"""Inversion: closed forms, finite differences, every kind of input, decoders that fit and that do not."""

from __future__ import annotations

import json
from typing import Any

import handwriting
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.analysis.ascent import domain
from onnxlrp.analysis.inversion.files import record
from onnxlrp.analysis.inversion.result import doubts
from onnxlrp.analysis.inversion.search import Distance, Inversion, error_of, invert, rate, represent, strength_at
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.graph.outputs.units import unit
from support import input_models
from support.paths import MODELS

DIGITS, SAMPLES = MODELS / "digits.onnx", MODELS / "samples"
SEVEN = SAMPLES / "digit_7.png"


def of_nodes(shape: Any, nodes: list[Any], dtype: int = TensorProto.FLOAT, **weights: Any) -> Any:
    """A model of x [N, *shape] whose output y has two values."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxlrp.load(made.SerializeToString())


def linear(shape: Any, w: Any) -> Any:
    """h = W x, y = V h."""
    node = helper.make_node
    nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["h"]), node("MatMul", ["h", "v"], ["y"])]
    return of_nodes(shape, nodes, w=w, v=np.random.default_rng(9).normal(size=(w.shape[1], 2)))


def test_a_linear_layer_without_regulariser_is_inverted_exactly() -> None:
    rng = np.random.default_rng(0)
    w = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    x = rng.uniform(-1, 1, (2, 12)).astype(np.float32)
    found = linear((12,), w).invert(x, "h", regularisation=0.0, steps=800, low=-2, high=2)
    assert (found.errors < 1e-4).all()
    np.testing.assert_allclose(found.inputs, x, atol=0.03)


@pytest.mark.slow
def test_a_regularised_inversion_of_a_linear_layer_is_its_closed_form() -> None:
    """With α = β = 2 the objective is quadratic: its minimum is the solution of linear equations."""
    rng = np.random.default_rng(1)
    length, strength = 10, 0.3
    w = rng.normal(size=(length, 4)) / 3
    x = rng.uniform(-0.8, 0.8, (1, 1, length)).astype(np.float32)
    model = linear((1, length), w).choose(kind="signal")
    found = model.invert(x, "h", regularisation=strength, alpha=2, beta=2, steps=1500, low=-1, high=1)
    z, b = (x.reshape(-1).astype(float) + 1) / 2, 1.3 * float(((x + 1) / 2).std(dtype=np.float64))
    # x = 2 z - 1: the terms are quadratic in z, Σ of each below is (A, c) of zᵀ A z - 2 cᵀ z.
    target = x.reshape(-1) @ w
    share = 1 / np.square(target).sum()
    a, c = 4 * share * w @ w.T, share * 2 * w @ (target + w.sum(axis=0))
    a, c = a + strength / (length * b**2) * np.eye(length), c + strength / (length * b**2) * 0.5 * np.ones(length)
    steps = np.diff(np.eye(length), axis=0)
    a += strength / (length * (b / 6.5) ** 2) * steps.T @ steps
    expected = np.linalg.solve(a, c)
    assert expected.min() > 0
    assert expected.max() < 1
    assert np.abs(expected - z).max() > 0.05  # the regulariser shows
    np.testing.assert_allclose(found.pictures.reshape(-1), expected, atol=5e-3)


@pytest.mark.parametrize("layer", ["relu1", "relu3", "dense1"])
def test_the_gradient_of_the_distance_is_its_finite_difference(layer: str) -> None:
    model = onnxlrp.load(DIGITS, "reference")
    chosen, rng = unit(model.graph, layer), np.random.default_rng(2)
    target = represent(model, chosen, model.read(SEVEN).values)
    x = rng.uniform(0, 1, (2, 1, 28, 28)).astype(np.float32)
    distance = Distance(model, chosen, np.concatenate([target] * 2))
    values, slope = distance(x)
    reached = represent(model, chosen, x)
    np.testing.assert_allclose(-values, [((r - target[0]) ** 2).sum() / (target**2).sum() for r in reached], rtol=1e-4)
    direction = rng.normal(size=x.shape).astype(np.float32)
    step = 1e-4
    ends = [distance((x + sign * step * direction).astype(np.float32))[0] for sign in (1, -1)]
    np.testing.assert_allclose(
        (slope * direction).reshape(2, -1).sum(axis=1), (ends[0] - ends[1]) / (2 * step), rtol=2e-2
    )


@pytest.mark.parametrize(
    ("shape", "kind", "kernel"),
    [((13, 8, 8), "image:NCHW", (3, 3)), ((2, 24), "signal", (5,)), ((1, 5, 6, 7), "volume", (3, 3, 3))],
)
def test_every_kind_of_input(shape: Any, kind: str, kernel: Any) -> None:
    model = onnxlrp.load(input_models.convolution(shape, kernel).SerializeToString()).choose(kind=kind)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    found = model.invert(x, "h", steps=100, restarts=2, regularisation=1e-4)
    assert found.inputs.shape == x.shape
    assert found.inputs.dtype == x.dtype
    assert (found.errors < 0.3).all()
    assert found.about["errors of the restarts"].shape == (2, 2)
    json.dumps(record(found), allow_nan=False)


def test_channels_last_and_whole_numbers() -> None:
    node = helper.make_node
    nodes = [
        node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        node("Transpose", ["float"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "k"], ["h"], strides=[2, 2]),
        node("GlobalAveragePool", ["h"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "v"], ["y"]),
    ]
    rng = np.random.default_rng(3)
    model = of_nodes((8, 8, 3), nodes, TensorProto.UINT8, k=rng.normal(size=(16, 3, 2, 2)), v=rng.normal(size=(16, 2)))
    x = rng.integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    found = model.invert(x, "h", regularisation=0.0, steps=300)
    assert found.inputs.dtype == np.uint8
    assert found.errors[0] < 0.01
    assert np.abs(found.inputs.astype(float) - x).mean() < 8


def test_the_best_restart_is_kept() -> None:
    found = onnxlrp.load(DIGITS).invert(SEVEN, "relu3", steps=10, restarts=3)
    tried = found.about["errors of the restarts"]
    assert tried.shape == (3, 1)
    assert found.relaxed[0] == pytest.approx(tried.min(), rel=1e-3)


@pytest.mark.slow
def test_the_error_rises_with_depth_and_one_seed_gives_one_result() -> None:
    model = onnxlrp.load(DIGITS)
    found = [model.invert(SEVEN, layer, steps=60) for layer in ("relu1", "relu2", "relu3")]
    errors = [one.errors[0] for one in found]
    pixels = [one.picture_errors[0] for one in found]
    assert errors == sorted(errors)
    assert pixels == sorted(pixels)
    assert pixels[1] < found[1].mean_errors[0]
    np.testing.assert_array_equal(model.invert(SEVEN, "relu3", steps=60).pictures, found[2].pictures)


def test_the_errors_are_those_of_the_written_picture(tmp_path: Any) -> None:
    model = onnxlrp.load(DIGITS)
    found = model.invert(SEVEN, "relu2", steps=20)
    (path,) = found.save(tmp_path / "seven.png")
    x, x0 = model.read(path).values, model.read(SEVEN).values
    np.testing.assert_array_equal(x, found.inputs)
    chosen = unit(model.graph, "relu2")
    again, target = represent(model, chosen, x), represent(model, chosen, x0)
    assert found.errors[0] == pytest.approx(((again - target) ** 2).sum() / (target**2).sum(), rel=1e-4)
    assert found.picture_errors[0] == pytest.approx(np.square(x - x0).mean(), rel=1e-4)
    assert found.mean_errors[0] == pytest.approx(x0.var(), rel=1e-4)


def test_a_run_that_is_stopped_keeps_the_best_so_far() -> None:
    found = onnxlrp.load(DIGITS).invert(SEVEN, "relu2", steps=50, progress=lambda at: at.done < 5)
    assert found.stopped
    assert found.about["done"] == 5
    assert found.errors[0] < 1


def test_the_rate_falls_in_five_stages() -> None:
    rates = [rate(step, 100) for step in range(100)]
    assert len(set(rates)) == 5
    assert rates[0] == pytest.approx(8 / 255)
    assert rates[-1] == pytest.approx(0.5 / 255)
    assert rates == sorted(rates, reverse=True)


def test_the_regulariser_grows_with_depth() -> None:
    graph = onnxlrp.load(DIGITS).graph
    strengths = [strength_at(unit(graph, layer), graph) for layer in ("conv1", "relu2", "dense2")]
    assert 0.003 < strengths[0] < strengths[1] < strengths[2] == pytest.approx(0.1)


# -- decoders


def decoder(shape: Any = (32, 5, 5), drawn: Any = (1, 28, 28), **metadata: str) -> Any:
    """A linear decoder of random weights."""
    node = helper.make_node
    w = np.random.default_rng(0).normal(size=(int(np.prod(shape)), int(np.prod(drawn)))) / 100
    nodes = [
        node("Flatten", ["c"], ["f"]),
        node("MatMul", ["f", "w"], ["m"]),
        node("Reshape", ["m", "s"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", *drawn])],
        [numpy_helper.from_array(w.astype(np.float32), "w"), numpy_helper.from_array(np.array([-1, *drawn]), "s")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(made, metadata)
    return made.SerializeToString()


def held_out(count: int) -> Any:
    pictures, labels = handwriting.digits(held_out=True)
    return (pictures[:count, None] / 255).astype(np.float32), labels[:count]


def test_the_shipped_decoder_is_better_than_the_mean_picture() -> None:
    x, _ = held_out(100)
    trained, _ = handwriting.digits(held_out=False)
    model = onnxlrp.load(DIGITS)
    mean = (trained[:, None] / 255).astype(np.float32)
    found = model.invert(x, "relu3", decoder=MODELS / "digits_decoder.onnx", images=mean)
    assert found.mean_source == "the mean of 1437 pictures"
    expected = np.square(mean.mean(axis=0) - x).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found.mean_errors, expected, rtol=1e-4)
    assert (found.picture_errors < found.mean_errors).all()
    assert found.picture_errors.mean() < found.mean_errors.mean() / 10


def test_a_decoder_draws_what_it_computes() -> None:
    model, made = onnxlrp.load(DIGITS), decoder()
    x, _ = held_out(3)
    w = numpy_helper.to_array(onnx.load_from_string(made).graph.initializer[0])
    target = represent(model, unit(model.graph, "relu3"), x)
    found = model.invert(x, "relu3", decoder=made, pixels=(-1.0, 1.0))
    expected = np.clip((target.reshape(3, -1) @ w + 1) / 2, 0, 1).reshape(3, 1, 28, 28)
    np.testing.assert_allclose(found.pictures, expected, atol=0.5 / 255 + 1e-5)
    larger = decoder(drawn=(1, 30, 31))
    assert model.invert(x, "relu3", decoder=larger).pictures.shape == (3, 1, 28, 28)


def test_a_decoder_of_another_layer_or_shape_is_refused() -> None:
    model = onnxlrp.load(DIGITS)
    shipped = MODELS / "digits_decoder.onnx"
    with pytest.raises(UsageError, match="made for the layer relu3, not relu2") as caught:
        model.invert(SEVEN, "relu2", decoder=shipped)
    assert caught.value.fix == "--layer relu3"
    assert model.invert(SEVEN, decoder=shipped).layer.label == "relu3"
    with pytest.raises(UsageError, match="takes 32x5x5, the layer relu2 has 32x14x14") as caught:
        model.invert(SEVEN, "relu2", decoder=decoder())
    assert caught.value.fix == "of this shape: --layer relu3"
    with pytest.raises(UsageError, match="draws 1x8x8, the model takes 1x28x28"):
        model.invert(SEVEN, "relu3", decoder=decoder(drawn=(1, 8, 8)))
    with pytest.raises(UsageError, match="draws 3x28x28, the model takes 1x28x28"):
        model.invert(SEVEN, "relu3", decoder=decoder(drawn=(3, 28, 28)))
    with pytest.raises(UsageError, match="this model has none"):
        model.invert(SEVEN, "relu3", decoder=decoder(**{"onnxlrp.decoder": '{"layer": "relu9"}'}))
    with pytest.raises(UsageError, match="does not say which layer"):
        model.invert(SEVEN, decoder=decoder())
    with pytest.raises(UsageError, match=r"its metadata onnxlrp\.decoder"):
        model.invert(SEVEN, "relu3", decoder=decoder(**{"onnxlrp.decoder": '{"pixels": [1, 1]}'}))


def test_bad_questions_are_refused() -> None:
    model = onnxlrp.load(DIGITS)
    with pytest.raises(UsageError, match='called "relu9"'):
        model.invert(SEVEN, "relu9")
    with pytest.raises(UsageError, match="part of a layer"):
        model.invert(SEVEN, "relu3:2")
    with pytest.raises(UsageError, match="no layer is named"):
        model.invert(SEVEN)
    with pytest.raises(UsageError, match="steps"):
        model.invert(SEVEN, "relu3", steps=0)
    with pytest.raises(UsageError, match='no option "stepps"'):
        model.invert(SEVEN, "relu3", stepps=5)
    made = input_models.dense((4,))
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((4, 6), np.float32), "w"))
    silent = onnxlrp.load(made.SerializeToString())
    with pytest.raises(UnsupportedError, match="nothing to invert"):
        silent.invert(np.ones((1, 4), np.float32), "r", low=0, high=2)


def test_the_figure_shows_each_sample_beside_its_inversion() -> None:
    found = onnxlrp.load(DIGITS).invert([SEVEN, SAMPLES / "digit_3.png"], "relu1", steps=5)
    figure = found.figure()
    assert figure.width > 2 * 224
    assert figure.height > 2 * 224
    assert len(found.images) == 2
    with pytest.raises(UsageError, match=r"\.png, \.npz or \.json"):
        found.save("x.jpg")


def test_errors_are_normalised_by_the_target() -> None:
    target = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(error_of(np.array([[1, 1, 1], [0, 0, 0]]), target), [0, 1])
    model = onnxlrp.load(DIGITS)
    where = domain.decide(model, model.read(SEVEN))
    chosen = unit(model.graph, "relu1")
    target = represent(model, chosen, model.read(SEVEN).values)
    found = invert(model, chosen, target, where, 0.3, Inversion(steps=3))
    assert found.z.shape == (1, 1, 28, 28)


def test_arrays_within_the_stated_pixels_have_their_range() -> None:
    model = onnxlrp.load(DIGITS)
    x, _ = held_out(2)
    where = domain.decide(model, model.read(0.4 * x))
    assert where.high.item() == pytest.approx(1)
    assert where.preprocessing is not None
    beyond = domain.decide(model, model.read(3 * x))
    assert beyond.guessed
    assert beyond.high.item() == pytest.approx(3 * x.max())
    faint = model.invert(0.4 * x, decoder=MODELS / "digits_decoder.onnx")
    assert (faint.errors < 0.2).all()
    with pytest.raises(UsageError, match="what these are to the model is not known"):
        model.invert(3 * x, decoder=MODELS / "digits_decoder.onnx")


def test_a_layer_without_gradient_is_said() -> None:
    node = helper.make_node
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("MatMul", ["f", "w"], ["m"]),
        node("Sign", ["m"], ["h"]),
        node("MatMul", ["h", "v"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    model = of_nodes((6,), nodes, w=rng.normal(size=(6, 4)), v=rng.normal(size=(4, 2)))
    found = model.invert(rng.normal(size=(1, 6)).astype(np.float32), "h", steps=3)
    assert found.about["no gradient"].all()
    assert "no gradient" in next(iter(doubts(found)))[0]


def test_restarts_keep_the_other_inputs_of_each_sample() -> None:
    node = helper.make_node
    graph = helper.make_graph(
        [node("Mul", ["x", "scale"], ["s"]), node("MatMul", ["s", "w"], ["h"]), node("Relu", ["h"], ["y"])],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", "scale")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    scale = np.array([[1, 1, 1, 1], [2, 2, 2, 2]], np.float32)
    x = np.array([[0.2, 0.4, 0.6, 0.8], [0.8, 0.1, 0.3, 0.5]], np.float32)
    model = onnxlrp.load(made.SerializeToString()).choose(input="x", given={"scale": scale})
    found = model.invert(x, "h", regularisation=0.0, steps=400, restarts=2, low=0, high=1)
    np.testing.assert_allclose(found.inputs, x, atol=0.02)
