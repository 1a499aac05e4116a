"""Metrics against their definitions: planted models, brute force, and what must come out of perfect and empty maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onnxlrp import load
from onnxlrp.errors import CheckFailed, UnsupportedError, UsageError
from onnxlrp.evaluation.context import Attributor, EvaluationContext
from onnxlrp.evaluation.metrics import registry
from onnxlrp.evaluation.metrics.perturbation import gaussian, ranked, regions_of
from onnxlrp.evaluation.metrics.randomization import evenly_spaced
from onnxlrp.evaluation.metrics.registry import METRICS
from onnxlrp.evaluation.metrics.shattering import autocorrelation
from onnxlrp.evaluation.results import summary
from onnxlrp.explanation.maps import ranks, spearman
from support.arrays import Array
from support.input_models import convolution, dense, embedding, in_other_units
from support.planted import LENGTH, inside, reader, unruled
from support.problems import convolutional

ALL = sorted(METRICS)


def constant(heat: Any) -> Callable[..., Any]:
    """Who explains everything by one map [H, W]."""

    def explain(model: Any, x: Any, ids: Any) -> Any:
        return np.broadcast_to(heat / x.shape[1], x.shape).copy()

    return explain


def bright(samples: int = 3) -> Any:
    """Noise that the reader takes for class 0; black where nothing is."""
    x = np.random.default_rng(1).uniform(0.6, 1, (samples, 2, LENGTH, LENGTH)).astype(np.float32)
    x[:, 1, 0, 0] = 0
    return x


def trial(model: Any, x: Any, method: Any, ids: Any = None, masks: Any = None, ledger: bool = False) -> Any:
    samples = model.read(x)
    ids = np.zeros(len(x), np.int64) if ids is None else ids
    by = Attributor("mine", method)
    return EvaluationContext(model, samples, ids, by, by(model, samples, ids, ledger=ledger), masks)


def on_reader(heat: Any, masks: Any = None) -> Any:
    return trial(reader(), bright(), constant(np.asarray(heat, np.float64)), masks=masks)


def values(name: Any, given: Any, **options: Any) -> Any:
    return registry.make(name, **options)(given).values


def random_samples(model: Any, n: int = 3, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, *model.graph.inputs[0].shape)).astype(np.float32)
    return x, rng.integers(model.classes, size=n)


# -- perturbation


@pytest.mark.parametrize(("cells", "steps", "fill"), [(4, 4, "auto"), (3, 9, "zero")])
def test_abpc_by_its_definition(cells: int, steps: int, fill: str) -> None:
    """Patch by patch, in loops: the mean score of least first less that of most first."""
    model = convolutional()
    x, ids = random_samples(model, 2)
    heat = np.random.default_rng(4).normal(size=x.shape[2:])
    given = trial(model, x, constant(heat), ids)
    found = values("abpc", given, cells=cells, steps=steps, baseline=fill)
    n = x.shape[2]
    part = np.arange(n) * cells // n
    patch = part[:, None] * cells + part[None, :]
    order = np.argsort([heat[patch == k].sum() for k in range(cells**2)])
    for i in range(2):
        hidden = slow_blur(x[i]) if fill == "auto" else np.zeros_like(x[i])
        areas = []
        for ranked_patches in (order, order[::-1]):
            scores = []
            for count in np.rint(np.linspace(0, cells**2, steps + 1)).astype(int):
                z = x[i].astype(np.float64).copy()
                for k in ranked_patches[:count]:
                    z[:, patch == k] = hidden[:, patch == k]
                scores.append(model.outputs(z[None].astype(np.float32))["logits"][0, ids[i]])
            areas.append(np.mean(scores))
        np.testing.assert_allclose(found[i], areas[0] - areas[1], rtol=1e-4, atol=1e-5)


def slow_blur(x: Any, sigma: float = 20.0, width: int = 51) -> Any:
    """A Gaussian by np.pad and loops; x [C, H, W]."""
    kernel = np.exp(-0.5 * ((np.arange(width) - width // 2) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (1, 2):
        wide = np.pad(x, [(width // 2,) * 2 if i == axis else (0, 0) for i in range(3)], mode="reflect")
        x = sum(k * np.take(wide, np.arange(x.shape[axis]) + i, axis) for i, k in enumerate(kernel))
    return x


@pytest.mark.parametrize("shape", [(2, 40, 8), (1, 1, 90), (3, 60, 60)])
def test_the_blur_reflects_edges_of_any_picture(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(1, *shape))
    np.testing.assert_allclose(gaussian(x, (2, 3))[0], slow_blur(x[0]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["pixel_flipping", "deletion", "insertion", "abpc"])
def test_a_perfect_map_beats_a_random_one_and_both_the_inverted_one(name: str) -> None:
    sign = 1 if METRICS[name].better == "higher" else -1
    noise = np.random.default_rng(0).normal(size=(LENGTH, LENGTH))
    perfect, guessed, inverted = (
        sign * values(name, on_reader(heat), score="logit", baseline="zero")
        for heat in (inside() * 1.0, noise, -1.0 * inside())
    )
    assert (perfect > guessed).all()
    assert (guessed > inverted).all()


def test_the_score_drops_at_once_where_the_true_feature_is_deleted() -> None:
    """The reader's logit is 20·mean - 10 of a square of 16 pixels, and the black that takes its place is 0."""
    found = registry.make("deletion", score="logit", steps=16)(on_reader(inside() * 1.0))
    curve = found.curves[""]
    square = bright()[:, 0][:, inside()]
    np.testing.assert_allclose(curve.x, np.arange(17) / 16)
    np.testing.assert_allclose(curve.y[:, 0], 20 * square.mean(axis=1) - 10, rtol=1e-5)
    np.testing.assert_allclose(curve.y[:, 1:], -10, atol=1e-4)
    np.testing.assert_allclose(found.values, (curve.y[:, 0] - 10) / 32 - 10 * 15 / 16, atol=1e-4)


def test_insertion_of_the_true_feature_alone_gives_the_whole_score() -> None:
    curve = registry.make("insertion", score="logit", steps=16, baseline="zero")(on_reader(inside() * 1.0)).curves[""]
    np.testing.assert_allclose(curve.y[:, 0], -10, atol=1e-4)
    np.testing.assert_allclose(curve.y[:, 1:], np.repeat(curve.y[:, -1:], 16, axis=1), rtol=1e-5)


def test_pixel_flipping_replaces_the_most_relevant_regions_first() -> None:
    found = registry.make("pixel_flipping", cells=4, steps=2, share=0.125, baseline="zero")(on_reader(inside() * 1.0))
    curve = found.curves[""]
    np.testing.assert_allclose(curve.x, [0, 1 / 16, 2 / 16])
    np.testing.assert_allclose(curve.y[:, 1:], -10, atol=1e-4)  # the square is one of the 16 regions
    np.testing.assert_allclose(found.values, (curve.y[:, 0] + 10) * 2 / 3, rtol=1e-5)


def test_samples_and_steps_may_be_batched_in_any_way() -> None:
    asked = registry.make("deletion", steps=5)
    whole = on_reader(np.random.default_rng(2).normal(size=(LENGTH, LENGTH)))
    parts = EvaluationContext(
        whole.model, whole.samples, whole.ids, whole.attributor, whole.explanation, None, batch_size=4
    )
    np.testing.assert_allclose(asked(parts).values, asked(whole).values, rtol=1e-12)


def test_ranks_and_regions() -> None:
    values = np.random.default_rng(0).integers(0, 4, (5, 40)) * 1.0
    ranks = ranked(values, seed=3)
    for row, places in zip(values, ranks, strict=True):
        assert sorted(places) == list(range(40))
        assert (np.diff(row[np.argsort(places)]) <= 0).all()
    assert not np.array_equal(ranks, ranked(values, seed=4))
    assert np.bincount(regions_of((8, 6), 3)).tolist() == [6, 6, 6, 6, 6, 6, 4, 4, 4]
    assert regions_of((3,), 16).tolist() == [0, 1, 2]


# -- localisation


def test_pointing_and_energy_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    heats = rng.normal(size=(3, 2, LENGTH, LENGTH))
    masks = [rng.random((LENGTH, LENGTH)) < 0.5, rng.random((LENGTH, LENGTH)) < 0.1, None]
    given = trial(reader(), bright(), lambda model, x, ids: heats, masks=masks)
    hits, shares, positive = [], [], []
    for n in range(2):
        best, place, held, whole, above, all_above = -np.inf, None, 0.0, 0.0, 0.0, 0.0
        for i in range(LENGTH):
            for j in range(LENGTH):
                r = heats[n, 0, i, j] + heats[n, 1, i, j]
                if r > best:
                    best, place = r, (i, j)
                whole, held = whole + abs(r), held + abs(r) * masks[n][i, j]
                all_above, above = all_above + max(r, 0), above + max(r, 0) * masks[n][i, j]
        hits.append(float(masks[n][place]))
        shares.append(held / whole)
        positive.append(above / all_above)
    np.testing.assert_array_equal(values("pointing_game", given), [*hits, np.nan])
    np.testing.assert_allclose(values("energy_in_mask", given), [*shares, np.nan], rtol=1e-12)
    np.testing.assert_allclose(values("energy_in_mask", given, of="positive"), [*positive, np.nan], rtol=1e-12)


def test_a_map_that_knows_nothing_points_by_chance() -> None:
    given = on_reader(np.ones((LENGTH, LENGTH)), [inside(), ~inside(), np.zeros_like(inside())])
    area = inside().mean()
    np.testing.assert_allclose(values("pointing_game", given), [area, 1 - area, np.nan])
    np.testing.assert_allclose(values("energy_in_mask", given), [area, 1 - area, np.nan])
    nothing = on_reader(np.zeros((LENGTH, LENGTH)), [inside()] * 3)
    assert (values("energy_in_mask", nothing) == 0).all()


def test_a_tolerance_grows_the_mask() -> None:
    heat = np.zeros((LENGTH, LENGTH))
    heat[2, 6] = 1  # two pixels from the corner of the square, diagonally
    given = on_reader(heat, [inside()] * 3)
    found = [values("pointing_game", given, tolerance=t)[0] for t in range(4)]
    assert found == [0, 0, 1, 1]


# -- stability


def test_max_sensitivity_of_a_constant_explanation_is_0() -> None:
    assert (values("max_sensitivity", on_reader(inside() * 1.0)) == 0).all()
    assert (values("max_sensitivity", on_reader(inside() * 0.0)) == 0).all()


def test_max_sensitivity_of_a_map_that_is_its_input() -> None:
    """R = x moves as far as x does: at most radius · range · √size, and nearly that over many points."""
    x = bright()
    found = values("max_sensitivity", trial(reader(), x, lambda model, x, ids: x * 1.0), radius=0.1, samples=5)
    limit = 0.1 * (x.max() - x.min()) * np.sqrt(x[0].size) / np.linalg.norm(x.reshape(3, -1), axis=1)
    assert (found < limit).all()
    assert (found > 0.5 * limit).all()  # a uniform point is at √(1/3) of it


def test_max_sensitivity_grows_with_the_radius_and_its_samples_are_nested() -> None:
    model = convolutional()
    given = trial(model, *random_samples(model)[:1], "gradient_x_input", random_samples(model)[1])
    near, far, more = (
        values("max_sensitivity", given, **how) for how in ({"radius": 0.001}, {"radius": 0.1}, {"samples": 20})
    )
    assert (near < far).all()
    assert (more >= values("max_sensitivity", given, samples=5)).all()


# -- randomisation


def test_the_map_of_random_weights_is_less_like_the_map_than_a_map_that_reads_no_weights() -> None:
    model = convolutional()
    x, ids = random_samples(model)
    own = registry.make("randomisation")(trial(model, x, "epsilon_plus", ids))
    blind = values("randomisation", trial(model, x, lambda model, x, ids: x * 1.0, ids))
    np.testing.assert_allclose(blind, 1)
    assert (own.values < 0.9).all()
    assert own.curves[""].y.shape == (3, 3)
    assert len(own.curves[""].ticks) == 3


def test_independent_randomisation_starts_as_the_cascade_does() -> None:
    model = convolutional()
    x, ids = random_samples(model)
    given = trial(model, x, "gradient", ids)
    cascade, alone = (registry.make("randomisation", order=o)(given).curves[""].y for o in ("cascading", "independent"))
    np.testing.assert_array_equal(cascade[:, 0], alone[:, 0])
    assert not np.allclose(cascade[:, 1], alone[:, 1])


def test_rank_correlation_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 6, (4, 30)) * 1.0
    b = rng.normal(size=(4, 30))
    for row in a:
        expected = [np.mean([1 + (row < v).sum() + k for k in range((row == v).sum())]) for v in row]
        np.testing.assert_allclose(ranks(row[None])[0] + 1, expected)
    np.testing.assert_allclose(spearman(a, np.exp(a)), 1)
    np.testing.assert_allclose(spearman(b, -(b**3)), -1)
    np.testing.assert_array_equal(spearman(a, np.ones_like(a)), 0)
    assert evenly_spaced(20, 4) == [0, 6, 13, 19]
    assert evenly_spaced(2, 6) == [0, 1]


def test_a_model_without_weights_is_refused_with_the_fix() -> None:
    given = on_reader(inside() * 1.0)
    graph = given.model.graph
    object.__setattr__(graph, "constants", {k: v.astype(np.int64) for k, v in graph.constants.items()})
    with pytest.raises(UnsupportedError) as caught:
        values("randomisation", given)
    assert caught.value.fix


# -- conservation


def test_the_ledger_closes_for_lrp_and_the_gradient_keeps_none() -> None:
    model = convolutional()
    x, ids = random_samples(model)
    assert (values("ledger", trial(model, x, "epsilon_plus", ids, ledger=True)) < 1e-6).all()
    assert np.isnan(values("ledger", trial(model, x, "gradient", ids, ledger=True))).all()


def test_conservation_is_the_distance_from_the_logit() -> None:
    model = convolutional(bias=False)
    x, ids = random_samples(model)
    assert (values("conservation", trial(model, x, "gradient_x_input", ids)) < 1e-5).all()
    halved = values("conservation", trial(model, x, lambda model, x, ids: half(model, x, ids), ids))
    np.testing.assert_allclose(halved, 0.5, rtol=1e-5)


def half(model: Any, x: Any, ids: Any) -> Any:
    return 0.5 * model.explain(x, ids, "gradient_x_input").relevance


# -- shattering


def test_autocorrelation_of_noise_of_a_line_and_of_nothing() -> None:
    rng = np.random.default_rng(0)
    noise = autocorrelation(rng.normal(size=(1, 64, 4000)), 8)
    assert noise[0, 0] == 1
    assert np.abs(noise[0, 1:]).max() < 0.03
    t = np.linspace(0, 1, 64)[None, :, None]
    expected = [sum((t[0, i, 0] - 0.5) * (t[0, i + k, 0] - 0.5) for i in range(64 - k)) for k in range(9)]
    np.testing.assert_allclose(autocorrelation(t, 8)[0], np.array(expected) / expected[0])
    np.testing.assert_array_equal(autocorrelation(np.ones((2, 16, 3)), 4), 1)


def test_a_smooth_map_is_not_shattered_and_noise_is() -> None:
    def noise(model: Any, x: Any, ids: Any) -> Array:
        seeds = [abs(hash(row.tobytes())) % 2**32 for row in x]
        return np.stack([np.random.default_rng(s).normal(size=x.shape[1:]) for s in seeds])

    smooth = values("shattering", trial(reader(), bright(), lambda model, x, ids: x * 1.0), points=16)
    shattered = values("shattering", trial(reader(), bright(), noise), points=16)
    still = values("shattering", on_reader(inside() * 1.0), points=16)
    np.testing.assert_array_equal(still, 1)
    assert (smooth > 0.5).all()
    assert (np.abs(shattered) < 0.2).all()


def test_the_curve_by_depth_ends_at_the_input() -> None:
    model = convolutional()
    x, ids = random_samples(model)
    found = registry.make("shattering", points=12)(trial(model, x, "epsilon_plus", ids))
    depth = found.curves["depth"]
    assert depth.ticks[-1] == "input"
    assert len(depth.ticks) == depth.y.shape[1] == 3  # two convolutions below the dense layer
    np.testing.assert_array_equal(depth.y[:, -1], found.values)
    assert "depth" not in registry.make("shattering", points=12)(trial(model, x, "sensitivity", ids)).curves


# -- all of them


@pytest.mark.parametrize("name", ALL)
def test_one_value_for_each_sample_and_the_same_for_the_same_seed(name: Any) -> None:
    model = convolutional()
    x, ids = random_samples(model, n=2)
    masks = [np.eye(8, dtype=bool)] * 2
    asked = registry.make(name)
    first, again = (asked(trial(model, x, "epsilon_plus", ids, masks, ledger=True)) for _ in range(2))
    assert first.values.shape == (2,)
    assert np.isfinite(first.values).all()
    np.testing.assert_array_equal(first.values, again.values)
    for curve in first.curves.values():
        assert curve.y.shape == (2, len(curve.x))


@pytest.mark.parametrize(
    "name", [n for n in ALL if "seed" in METRICS[n].options and n not in ("insertion", "deletion", "abpc")]
)
def test_another_seed_draws_otherwise(name: Any) -> None:
    model = convolutional()
    x, ids = random_samples(model, n=2)
    given = trial(model, x, "gradient_x_input", ids)
    assert not np.array_equal(values(name, given, seed=0), values(name, given, seed=1))


def test_models_that_no_rule_explains_are_judged_by_their_scores() -> None:
    model = unruled()
    x = np.random.default_rng(0).uniform(0.5, 1, (2, 1, LENGTH, LENGTH)).astype(np.float32)
    given = trial(model, x, constant(inside() * 1.0))
    assert (values("deletion", given, score="logit", baseline="black") < 4).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deletion", {"steps": 0}),
        ("insertion", {"score": "loss"}),
        ("pixel_flipping", {"share": 1.5}),
        ("pixel_flipping", {"cell": 3}),
        ("pointing_game", {"tolerance": -1}),
        ("energy_in_mask", {"of": "negative"}),
        ("max_sensitivity", {"samples": 0}),
        ("randomisation", {"order": "bottom"}),
        ("shattering", {"points": 4}),
        ("pointing", {}),
    ],
)
def test_bad_options_are_refused_with_the_fix(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        registry.make(name, **options)
    assert caught.value.fix


def test_maps_that_are_not_finite_are_refused() -> None:
    with pytest.raises(CheckFailed, match="NaN"):
        values("deletion", on_reader(np.full((LENGTH, LENGTH), np.nan)))


# -- intervals


def test_the_interval_is_that_of_the_bootstrap() -> None:
    values = np.random.default_rng(0).normal(3, 1, 400)
    mean, low, high = summary(np.append(values, np.nan), seed=0)
    assert mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(400)
    assert float(mean - low) == pytest.approx(half, rel=0.1)
    assert float(high - mean) == pytest.approx(half, rel=0.1)
    assert np.isnan(summary(np.array([np.nan]), seed=0)).all()
    np.testing.assert_array_equal(summary(np.ones((5, 2)), seed=0), np.ones((3, 2)))


# -- features of different units


@pytest.mark.few(3)
@pytest.mark.parametrize("name", ["max_sensitivity", "shattering"])
@pytest.mark.parametrize(
    ("file", "units"),
    [
        (dense((5,)), np.exp2([-10, 3, 0, 12, -4])),
        (convolution((3, 20), (5,)), np.exp2([[-10], [0], [9]])),
        (convolution((2, 4, 5, 6), (2, 2, 2)), np.exp2([[[[-6]]], [[[5]]]])),
    ],
    ids=["vector", "signal", "volume"],
)
def test_samples_are_moved_in_the_units_of_each_feature(name: str, file: Any, units: Any) -> None:
    model, other = load(file), load(in_other_units(file, units))
    x, ids = random_samples(model)
    want = values(name, trial(model, x, "gradient_x_input", ids))
    assert (want > 0).all()
    got = values(name, trial(other, (x * units).astype(np.float32), "gradient_x_input", ids))
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_features_without_deviation_are_moved_all_the_same() -> None:
    """Of one sample, or of equal ones, a feature has none: a radius of 0 would find every method stable."""
    model = load(dense((5,)))
    x = np.tile(random_samples(model, 1)[0], (2, 1))
    for rows in (x, x[:1]):
        found = values("max_sensitivity", trial(model, rows, "gradient_x_input", np.zeros(len(rows), int)), radius=0.5)
        assert (found > 0.05).all()


@pytest.mark.parametrize("name", ["max_sensitivity", "shattering"])
def test_token_ids_are_not_moved(name: str) -> None:
    model = load(embedding())
    with pytest.raises(UnsupportedError, match="token ids have no small steps"):
        values(name, trial(model, np.array([[1, 2, 3, 4]]), "occlusion", np.zeros(1, int)))
