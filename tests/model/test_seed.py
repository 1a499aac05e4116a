"""A seed at the output, in the place of a class: against matrices and differences that numpy computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import InputError, OnnxLrpError, UsageError
from onnxlrp.methods.gradient import SmoothGrad
from support import small_nets
from support.arrays import Array
from support.dense_models import CASES, Case
from support.evaluated import values_of
from support.paths import ROOT
from support.small_nets import Net

ENGINES = ("reference", "ort", "emulator")
each_engine = pytest.mark.parametrize("engine", ENGINES)
CLASSES = 5


def dense() -> tuple[onnxlrp.Model, Array, Array]:
    """A linear classifier of 12 values, its matrix [5, 12], and two samples."""
    n = Net(12, seed=3)
    weights = n.rng.normal(size=(12, CLASSES))
    file = n.model(n.op("Softmax", n.op("MatMul", "x", weights.astype(np.float32)), axis=-1))
    x = np.random.default_rng(4).normal(size=(2, 12)).astype(np.float32)
    return onnxlrp.load(file, engine="reference"), weights.T.astype(np.float32), x


def slope(f: Callable[[Array], Array], x: Array, step: float = 1e-5) -> Array:
    """∂f/∂x of one sample by central differences; f gives a number for each row."""
    moves = np.eye(x.size).reshape(x.size, *x.shape) * step
    found: Array = ((f(x + moves) - f(x - moves)) / (2 * step)).reshape(x.shape)
    return found


def test_rules_start_with_the_seed_as_relevance() -> None:
    model, w, x = dense()
    seed = np.random.default_rng(5).normal(size=(2, CLASSES))
    found = model.explain(x, seed=seed, method="epsilon", epsilon=1e-12)
    z = x @ w.T
    expected = np.einsum("nk,ki,ni->ni", seed / z, w, x)
    np.testing.assert_allclose(found.relevance, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.logit, seed.sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.output[:, 0], (seed * z).sum(axis=1), rtol=1e-5)


def test_one_seed_for_all_samples_and_a_function_of_the_logits() -> None:
    model, w, x = dense()
    z = x @ w.T
    one = model.explain(x, seed=np.arange(CLASSES), method="epsilon", epsilon=1e-12, batch_size=1)
    each = model.explain(x, seed=np.tile(np.arange(CLASSES), (2, 1)), method="epsilon", epsilon=1e-12)
    np.testing.assert_allclose(one.relevance, each.relevance, rtol=1e-12)
    seen = []

    def function(logits: Array) -> Array:
        seen.append(logits.copy())
        logits[:] = logits * np.arange(CLASSES)  # the model's own values are safe
        return logits

    found = model.explain(x, seed=function, method="epsilon", epsilon=1e-12)
    np.testing.assert_allclose(seen[0], z, rtol=1e-5)
    np.testing.assert_allclose(
        found.relevance, np.einsum("k,ki,ni->ni", np.arange(CLASSES), w, x), rtol=1e-4, atol=1e-5
    )


@each_engine
@pytest.mark.few(4)
@pytest.mark.parametrize("name", ["residual", "everything", "maxpool"])
def test_a_class_is_a_seed_that_has_its_logit(name: str, engine: str) -> None:
    try:
        model = onnxlrp.load(getattr(small_nets, name)(), engine=engine)
        model.prepare(method="epsilon")
    except OnnxLrpError as error:
        pytest.skip(error.message)
    x = np.random.default_rng(0).normal(size=(3, *model.graph.inputs[0].shape)).astype(np.float32)
    for method in ("epsilon", "epsilon_plus_flat"):
        one = model.explain(x, 2, method=method)
        found = model.explain(x, seed=lambda z: z * (np.arange(4) == 2), method=method)
        np.testing.assert_allclose(found.relevance, one.relevance, rtol=1e-3, atol=1e-5)
    one = model.explain(x, 2, method="gradient")
    found = model.explain(x, seed=np.eye(4)[2], method="gradient")
    np.testing.assert_allclose(found.relevance, one.relevance, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gradients_of_all_values_of_a_map(case: Case) -> None:
    made = case.make()
    model, of = onnxlrp.load(made, engine="reference"), values_of(made, case.logits)
    x = np.random.default_rng(0).normal(size=(1, *model.graph.inputs[0].shape)).astype(np.float32)
    z = of(x)
    seed = np.random.default_rng(1).normal(size=z.shape[1:])
    expected = slope(lambda rows: (of(rows) * seed).reshape(len(rows), -1).sum(axis=1), x[0].astype(np.float64))
    gradient = model.explain(x, seed=seed, method="gradient")
    np.testing.assert_allclose(gradient.relevance[0], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(gradient.logit, [(z * seed).sum()], rtol=1e-4)
    product = model.explain(x, seed=seed, method="gradient_x_input")
    np.testing.assert_allclose(product.relevance[0], expected * x[0], rtol=1e-3, atol=1e-4)


def test_methods_that_hide_parts_explain_the_weighted_sum() -> None:
    model, w, x = dense()
    seed = np.random.default_rng(6).normal(size=(2, CLASSES))
    found = model.explain(x, seed=seed, method="occlusion", window=1, stride=1, baseline="zero")
    np.testing.assert_allclose(found.relevance, (seed @ w) * x, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.logit, (seed * (x @ w.T)).sum(axis=1), rtol=1e-5)


def test_paths_keep_the_seed_of_the_sample() -> None:
    """Along a path from zero the seed that a function gave stays; a linear model then gives w·x exactly."""
    model, w, x = dense()
    z = x @ w.T
    found = model.explain(x, seed=lambda logits: logits, method="integrated_gradients", baseline="zero")
    np.testing.assert_allclose(found.relevance, (z @ w) * x, rtol=1e-3, atol=1e-5)


def test_all_values_of_a_layer() -> None:
    net = small_nets.residual()
    model = onnxlrp.load(net, engine="reference")
    layer = next(layer for layer in model.graph.layers if layer.op == "Relu").label
    x = np.random.default_rng(0).normal(size=(2, *model.graph.inputs[0].shape)).astype(np.float32)
    inner = model.outputs(x, activations=[layer])[f"activation/{layer}"]
    seed = np.random.default_rng(2).normal(size=inner.shape)
    found = model.explain(x, output=layer, seed=seed, method="gradient")

    def score(rows: Array) -> Array:
        values = model.outputs(rows, activations=[layer])[f"activation/{layer}"]
        return np.asarray((values * seed[0]).reshape(len(rows), -1).sum(axis=1))

    np.testing.assert_allclose(found.relevance[0], slope(score, x[0].astype(np.float64)), rtol=1e-3, atol=1e-5)
    with pytest.raises(UsageError, match="one number"):
        model.explain(x, output=f"{layer}:1", seed=seed)


def test_ledger_units_and_conditions_work_with_a_seed() -> None:
    model = onnxlrp.load(small_nets.plain(), engine="reference")
    x = np.random.default_rng(0).normal(size=(2, *model.graph.inputs[0].shape)).astype(np.float32)
    layer = next(layer for layer in model.graph.layers if layer.op == "Conv").label
    found = model.explain(x, seed=lambda z: z, method="epsilon", ledger=True, record=(layer,), conditions={layer: [0]})
    assert found.ledger is not None
    np.testing.assert_allclose(found.ledger[0].arrived, found.logit)
    plain = model.explain(x, seed=lambda z: z, method="epsilon", ledger=True)
    assert plain.ledger is not None
    assert max(row.error for row in plain.ledger) < 1e-9
    assert layer in found.layers


def test_seeds_of_text() -> None:
    model = onnxlrp.load(ROOT / "models" / "questions.onnx", engine="reference")
    ids = np.random.default_rng(0).integers(1, 20, size=(2, 24))
    seed = np.random.default_rng(1).normal(size=(2, 6))
    logits = model.outputs(ids)["logits"]
    cases: list[tuple[str, dict[str, Any]]] = [("attention", {}), ("gradient_x_input", {})]
    for method, more in [*cases, ("occlusion", {"score": "logit"})]:
        found = model.explain(ids, seed=seed * logits if method == "attention" else seed, method=method, **more)
        # Rules are linear in what they start with, z_k of a class.
        parts = [model.explain(ids, k, method=method, **more).relevance * seed[:, k, None] for k in range(6)]
        np.testing.assert_allclose(found.relevance, np.sum(parts, axis=0), rtol=1e-4, atol=1e-5)


def test_the_provenance_and_the_title_say_it() -> None:
    model, _, x = dense()
    found = model.explain(x, seed=np.arange(CLASSES), method="gradient")
    said = found.provenance["put_in"]
    assert said["at"] == model.head.logits
    assert (said["shape"], said["sum"]) == ([2, CLASSES], 20)
    assert found.title().startswith("seed")
    other = model.explain(x, seed=np.arange(CLASSES) + 1, method="gradient")
    assert other.provenance["put_in"]["sha256"] != said["sha256"]
    assert "put_in" not in model.explain(x, 1).provenance
    assert found.to_dict()["samples"][0]["targets"][0]["label"] == "seed"


def test_a_whole_number_is_the_seed_of_random_numbers() -> None:
    model, _, x = dense()
    first, again, other = (model.explain(x, 0, "smooth_grad", seed=seed, samples=2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.relevance, again.relevance)
    assert first.provenance["options"]["seed"] == 1 != other.provenance["options"]["seed"]
    both = model.explain(x, seed=np.eye(CLASSES)[0], method=SmoothGrad(samples=2, seed=1))
    np.testing.assert_allclose(both.relevance, first.relevance, rtol=1e-6)


@pytest.mark.parametrize(
    ("seed", "says"),
    [
        (np.ones(4), "shape"),
        (np.ones((3, CLASSES)), "shape"),
        (lambda z: z[:, :2], "shape"),
        (np.full(CLASSES, np.nan), "NaN"),
        (["a"] * CLASSES, "list"),
        (lambda z: None, "NoneType"),
        (np.ones(CLASSES) * 1j, "real"),
    ],
)
def test_seeds_that_do_not_fit_are_refused(seed: object, says: str) -> None:
    model, _, x = dense()
    with pytest.raises(InputError, match=says):
        model.explain(x, seed=seed)


def test_what_a_seed_does_not_go_with() -> None:
    model, _, x = dense()
    seed = np.ones(CLASSES)
    for more in ({"target": 2}, {"targets": [1, 2]}, {"target": "0@1"}):
        with pytest.raises(UsageError, match="beside a target"):
            model.explain(x, seed=seed, **more)
    with pytest.raises(UsageError, match="two classes"):
        model.explain(x, seed=seed, method="contrastive")
    with pytest.raises(UsageError, match="random numbers"):
        onnxlrp.ExplainOptions(seed=3)
