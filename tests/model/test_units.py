"""Explanations of units, and relevance that starts at several tensors, against finite differences and cut files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.utils
import pytest

import onnxlrp
from onnxlrp.engines.factory import make_engine
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.graph.outputs.units import Start, start, unit
from onnxlrp.model import Model
from onnxlrp.rules import parse
from support import small_nets, unit_models
from support.arrays import Array
from support.evaluated import values_of
from support.paths import MODELS

ENGINES = ("reference", "ort", "emulator")
each_engine = pytest.mark.parametrize("engine", ENGINES)
each_case = pytest.mark.parametrize("case", unit_models.CASES.values(), ids=unit_models.CASES)


def loaded(made: onnx.ModelProto, engine: str = "reference") -> Model:
    try:
        return Model(small_nets.load(made), make_engine(engine))
    except UsageError as error:
        pytest.skip(error.message)


def drawn(model: Model, samples: int = 3, seed: int = 0) -> Array:
    x = np.random.default_rng(seed).normal(size=(samples, *model.graph.inputs[0].shape))
    return x if model.engine.name == "reference" else x.astype(np.float32)


def picked(values: Array, case: unit_models.Case, channel: int, position: tuple[int, ...] | None) -> Array:
    """A unit of values [N, …], the sum of what is left."""
    rows = np.moveaxis(values, 1 + case.axis, 1)[:, channel]
    weights = np.ones(rows.shape[1:])
    if position is not None:
        weights = np.zeros(rows.shape[1:])
        weights[position] = 1
    return np.asarray((rows * weights).reshape(len(rows), -1).sum(axis=1))


def differences(f: Any, x: Array, step: float = 1e-5) -> Array:
    """∂f/∂x by central differences, of f: [N, …] → [N]."""
    slope = np.zeros(x.shape)
    for place in np.ndindex(*x.shape[1:]):
        moved = np.zeros(x.shape[1:])
        moved[place] = step
        slope[(slice(None), *place)] = (f(x + moved) - f(x - moved)) / (2 * step)
    return slope


@pytest.mark.few(4)
@each_engine
@each_case
def test_the_gradient_of_a_unit_is_its_slope(case: unit_models.Case, engine: str) -> None:
    made = case.make()
    model = loaded(made, engine)
    x, f = drawn(model), values_of(made, case.tensor)
    tolerance = 1e-6 if engine == "reference" else 2e-5
    for channel, position in ((1, None), (2, case.position or None)):
        word = f"{case.tensor}:{channel}" + (f"@{','.join(map(str, position))}" if position else "")
        slope = differences(lambda z, c=channel, p=position: picked(f(z), case, c, p), x)
        assert np.abs(slope).max() > 0.1
        found = model.explain(x, output=word, method="gradient")
        np.testing.assert_allclose(found.relevance, slope, atol=tolerance)
        np.testing.assert_allclose(found.output[:, 0], picked(f(x), case, channel, position), atol=tolerance)
        begun = model.outputs(x, model.composite("gradient"), starts=[start(model.graph, word)])
        np.testing.assert_allclose(begun["relevance"], slope, atol=tolerance)
        np.testing.assert_allclose(begun["value/0"], found.output[:, 0], atol=tolerance)
        assert "logits" not in begun


def cut(made: onnx.ModelProto, tensor: str, folder: Path) -> onnx.ModelProto:
    """The file up to a tensor, by onnx's own cut."""
    made = onnx.shape_inference.infer_shapes(made)
    onnx.save(made, folder / "whole.onnx")
    onnx.utils.extract_model(str(folder / "whole.onnx"), str(folder / "cut.onnx"), ["x"], [tensor])
    return onnx.load(folder / "cut.onnx")


@pytest.mark.few(8)
@each_engine
@each_case
@pytest.mark.parametrize("method", ["epsilon_plus_flat", "epsilon", "deep_taylor", "guided_backprop"])
def test_lrp_of_a_unit_is_that_of_the_file_cut_there(
    case: unit_models.Case, method: str, engine: str, tmp_path: Path
) -> None:
    """The cut file's output is the tensor; relevance starts there at the unit's activation (gradients: at 1)."""
    made = case.make()
    model, short = loaded(made, engine), loaded(cut(made, case.tensor, tmp_path), engine)
    x = drawn(model)
    activation = values_of(made, case.tensor)(x)
    hot = np.zeros_like(activation)
    np.moveaxis(hot, 1 + case.axis, 1)[:, 2] = 1
    begin = {"guided_backprop": hot, "deep_taylor": hot * np.maximum(activation, 0)}.get(method, hot * activation)
    expected = short.outputs(x, short.composite(method), seed=begin)["relevance"]
    found = model.explain(x, output=f"{case.tensor}:2", method=method)
    close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5 * max(1.0, float(np.abs(expected).max()))}
    np.testing.assert_allclose(found.relevance, expected, **close)
    begun = model.outputs(x, model.composite(method), starts=[start(model.graph, f"{case.tensor}:2")])
    np.testing.assert_allclose(begun["relevance"], expected, **close)
    assert np.abs(expected).max() > 0


def test_a_unit_is_an_output_for_every_kind_of_method() -> None:
    """Hiding parts, paths of gradients, several targets: one number for each sample, whose name is the unit's."""
    model = loaded(unit_models.maps())
    x = drawn(model)
    asked: list[tuple[str, dict[str, Any]]] = [("occlusion", {}), ("integrated_gradients", {"steps": 3})]
    for method, options in asked:
        found = model.explain(x, output="relu3:2", method=method, **options)
        assert found.relevance.shape == x.shape
        assert np.abs(found.relevance).max() > 0
    found = model.explain(x, output="relu3:2", method="epsilon", ledger=True, record=("relu1",))
    assert found.title().startswith("relu3:2 · ")
    assert found.is_value
    assert found.labels == ("relu3:2",)
    assert found.provenance["output"] == "relu3:2"
    assert found.ledger[0].layer == "relu3"
    np.testing.assert_allclose(found.ledger[0].arrived, found.logit)
    assert max(row.error for row in found.ledger) < 1e-9
    assert found.layers["relu1"].shape == (3, 4, 6, 6)
    several = model.explain(x, targets=[0], output="relu3:2", method="epsilon")
    np.testing.assert_allclose(several.relevance[0], found.relevance)
    with pytest.raises(UsageError, match="which has no classes"):
        model.explain(x, target=2, output="relu3:2")
    assert onnxlrp.Model is Model


def test_relevance_of_a_unit_s_score_is_shared_by_its_activations() -> None:
    """A seed in the place of the activation: relevance r of Σ w ⊙ a starts as r w ⊙ a / Σ w ⊙ a."""
    whole = loaded(unit_models.maps())
    model, x = whole.choose(output="relu3:2"), drawn(whole)
    activation = model.outputs(x)["logits"]
    plain = model.explain(x, method="epsilon").relevance
    seeded = model.outputs(x, model.composite("epsilon"), seed=3 * activation)["relevance"]
    np.testing.assert_allclose(seeded, 3 * plain, rtol=1e-5, atol=1e-9)


def test_the_exported_explainer_of_a_unit_runs_anywhere(tmp_path: Path) -> None:
    import onnxruntime

    model = loaded(unit_models.maps(), "ort")
    x = drawn(model)
    path = model.export(tmp_path / "unit.onnx", method="epsilon", target="top1", output="relu3:2@3,4")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    scores, relevance = session.run(["relu3:2@3,4", "relevance"], {"x": x})
    found = model.explain(x, output="relu3:2@3,4", method="epsilon")
    np.testing.assert_allclose(relevance, found.relevance, atol=1e-6)
    np.testing.assert_allclose(scores.reshape(-1), found.output[:, 0], atol=1e-6)


# -- several starts


@pytest.mark.parametrize("engine", ["reference", "ort", pytest.param("emulator", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ["gradient", "epsilon_plus"])
def test_several_starts_add_up_to_what_each_gives(engine: str, method: str) -> None:
    """At two depths, at the logits, with values for each sample, with weights; in batches too."""
    model = loaded(unit_models.maps(), engine)
    x, rng = drawn(model, 5), np.random.default_rng(1)
    composite = model.composite(method)
    starts = [
        start(model.graph, "relu1:2", weight=2.0),
        Start("relu3", "seed", rng.normal(size=(5, 5, 6, 6))),
        Start("relu3", "activation", rng.normal(size=(5, 5, 1, 1)), rng.normal(size=5)),
        Start("gemm6", "activation", np.eye(4)[2]),
        Start("relu3", "difference", rng.normal(size=(5, 6, 6)), rng.normal(size=5)),
    ]
    each = [model.outputs(x, composite, starts=[one]) for one in starts]
    together = model.outputs(x, composite, starts=starts, batch_size=2)
    scale = max(float(np.abs(one["relevance"]).max()) for one in each)
    tolerance = (1e-9 if engine == "reference" else 3e-5) * scale
    np.testing.assert_allclose(together["relevance"], sum(one["relevance"] for one in each), atol=tolerance)
    for k, one in enumerate(each):
        np.testing.assert_allclose(together[f"value/{k}"], one["value/0"], rtol=1e-4, atol=1e-4)
    ids = np.full(5, 2)
    np.testing.assert_allclose(each[3]["relevance"], model.outputs(x, composite, ids=ids)["relevance"], atol=tolerance)


@each_engine
def test_the_difference_from_a_representation_is_the_slope_of_its_square(engine: str) -> None:
    """½ w ‖a(x) − a₀‖² and its gradient, by finite differences; a₀ and w of each sample."""
    made = unit_models.maps()
    model = loaded(made, engine)
    x, rng = drawn(model), np.random.default_rng(2)
    goal, weight, f = rng.normal(size=(3, 5, 6, 6)), rng.uniform(0.5, 2, size=3), values_of(made, "conv2")

    def half(z: Array) -> Array:
        return np.asarray(0.5 * weight * ((f(z) - goal) ** 2).reshape(3, -1).sum(axis=1))

    found = model.outputs(x, model.composite("gradient"), starts=[Start("conv2", "difference", goal, weight)])
    tolerance = 1e-6 if engine == "reference" else 1e-3
    np.testing.assert_allclose(found["value/0"], half(x), rtol=1e-5)
    np.testing.assert_allclose(found["relevance"], differences(half, x), atol=tolerance)


def test_starts_of_other_units_share_a_program() -> None:
    """A program is compiled for a tensor and a mode: the unit is an input of it."""
    model = loaded(unit_models.maps())
    x, composite = drawn(model), model.composite("gradient")
    for channel in range(4):
        model.outputs(x, composite, starts=[start(model.graph, f"relu3:{channel}")])
    assert len(model._programs.kept) == 1


def test_nothing_behind_the_starts_is_computed() -> None:
    class Recording:
        name = "recording"

        def prepare(self, forward: Any, program: Any) -> Any:
            kinds.extend(node.op_type for node in forward.model(np.float32, program.tensors).graph.node)
            return make_engine("reference").prepare(forward, program)

    kinds: list[str] = []
    model = Model(small_nets.load(unit_models.maps()), Recording())
    found = model.outputs(drawn(model), model.composite("gradient"), starts=[Start("relu1", "activation", 1.0)])
    assert kinds == ["Conv", "Relu"]
    found = model.outputs(
        drawn(model), model.composite("gradient"), starts=[Start("relu1", "activation", 1.0)], activations=["relu3"]
    )
    assert kinds[2:] == ["Conv", "Relu", "Conv", "Relu"]  # what is asked for is computed all the same
    assert found["activation/relu3"].shape == (3, 5, 6, 6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"starts": [Start("rleu3", "seed", 1.0)]}, "rleu3"),
        ({"starts": [Start("relu3", "sed", 1.0)]}, "mode"),
        ({"starts": [Start("relu3", "seed", np.ones((4, 1, 1)))]}, "shape"),
        ({"starts": [Start("relu3", "seed", np.ones((2, 5, 1, 1)))]}, "shape"),
        ({"starts": [Start("relu3", "seed", 1.0, np.ones(2))]}, "weight"),
        ({"starts": [Start("relu3", "seed", 1.0)], "ids": np.zeros(3, np.int64)}, "starts"),
        ({"starts": [Start("relu3", "seed", 1.0)], "record": ["gemm6"]}, "no relevance reaches"),
        ({"ids": np.zeros(3, np.int64), "record": ["rleu3"]}, "rleu3"),
    ],
)
def test_starts_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    model = loaded(unit_models.maps())
    with pytest.raises(UsageError, match=message):
        model.outputs(drawn(model), model.composite("gradient"), **given)
    with pytest.raises(UsageError, match="composite"):
        model.outputs(drawn(model), starts=[Start("relu3", "seed", 1.0)])


# -- records and activations of units


@each_engine
@each_case
def test_records_and_activations_of_units_are_parts_of_the_whole(case: unit_models.Case, engine: str) -> None:
    model = loaded(case.make(), engine)
    x, at = drawn(model), ",".join(map(str, case.position))
    words = [case.tensor, f"{case.tensor}:1"] + [f"{case.tensor}:1@{at}", f"{case.tensor}@{at}"] * bool(at)
    ids = np.zeros(3, np.int64)
    found = model.outputs(x, model.composite("epsilon"), ids=ids, record=words, activations=words)
    for what in ("record", "activation"):
        whole = np.moveaxis(found[f"{what}/{case.tensor}"], 1 + case.axis, 1)
        np.testing.assert_array_equal(found[f"{what}/{case.tensor}:1"], whole[:, 1])
        if at:
            here = whole.reshape(*whole.shape[:2], -1)[:, :, np.ravel_multi_index(case.position, whole.shape[2:])]
            np.testing.assert_array_equal(found[f"{what}/{case.tensor}:1@{at}"], here[:, 1])
            np.testing.assert_array_equal(found[f"{what}/{case.tensor}@{at}"], here)
    np.testing.assert_array_equal(
        model.outputs(x, activations=words)[f"activation/{case.tensor}:1"], found[f"activation/{case.tensor}:1"]
    )


def test_a_direction_is_the_product_with_every_position(tmp_path: Path) -> None:
    model = loaded(unit_models.maps())
    x, vector = drawn(model), np.random.default_rng(3).normal(size=5)
    np.save(tmp_path / "cav.npy", vector)
    word = f"relu3:{tmp_path / 'cav.npy'}"
    found = model.outputs(x, activations=["relu3", word])
    expected = np.tensordot(found["activation/relu3"], vector, axes=(1, 0))
    np.testing.assert_allclose(found[f"activation/{word}"], expected, rtol=1e-6, atol=1e-9)
    explained = model.explain(x, output=word, method="gradient")
    np.testing.assert_allclose(explained.output[:, 0], expected.sum(axis=(1, 2)), rtol=1e-6)
    parts = [model.explain(x, output=f"relu3:{c}", method="gradient").relevance * v for c, v in enumerate(vector)]
    np.testing.assert_allclose(explained.relevance, sum(parts), rtol=1e-5, atol=1e-7)


# -- preprocessing, errors, the command


def test_preprocessing_is_that_of_the_model_whatever_is_explained() -> None:
    model = onnxlrp.load(MODELS / "shapes.onnx")
    inner = model.choose(output="blocks.4.relu2:3")
    assert inner.preprocessing.describe() == model.preprocessing.describe()
    assert inner.labels == ("blocks.4.relu2:3",)
    assert unit(model.graph, "blocks.4.relu2:3").channels > 3


def test_layers_behind_the_explained_unit_are_not_asked_for_a_rule() -> None:
    model = loaded(unit_models.maps())
    composite = onnxlrp.Composite([("convolution", parse("epsilon")), ("activation", parse("pass"))])
    with pytest.raises(UnsupportedError, match="gemm6"):
        model.explain(drawn(model), method=composite)
    assert np.abs(model.explain(drawn(model), output="relu3:1", method=composite).relevance).max() > 0


@pytest.mark.slow
def test_the_command_explains_a_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    from onnxlrp.cli import main

    sample, out = MODELS / "samples" / "marked_star.png", tmp_path / "unit.png"
    words = ["explain", str(MODELS / "shapes.onnx"), str(sample), "--output", "blocks.4.relu2:3@1,2", "-o", str(out)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "channel 3 of" in said.out
    about = json.loads(Image.open(out).info["onnxlrp.provenance"])
    assert about["output"] == "blocks.4.relu2:3@1,2"
    assert Image.open(out).info["Title"].startswith("blocks.4.relu2:3@1,2")
    assert main([*words, "-t", "star"]) == 2
    assert "leave out" in capsys.readouterr().err
    assert main([*words[:4], "blocks.4.rleu2:3", *words[5:]]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert main([*words[:4], "blocks.4.relu2", *words[5:]]) == 0
    assert "explains one channel" in capsys.readouterr().err
