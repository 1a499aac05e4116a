"""Sensitivity, paths and noise: against their definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxlrp.composites import Composite
from onnxlrp.errors import UsageError
from onnxlrp.methods.registry import make
from onnxlrp.rules.lrp import Epsilon, Pass
from support.arrays import Array
from support.problems import convolutional, explain, problem

SAMPLED = ("integrated_gradients", "expected_gradients", "smooth_grad", "var_grad")


def slopes(p: Any) -> Array:
    """∂score/∂x by central differences."""
    found = np.zeros(p.x.shape)
    for place in np.ndindex(*p.x.shape[1:]):
        moved = [p.x.copy(), p.x.copy()]
        for x, h in zip(moved, (1e-5, -1e-5), strict=True):
            x[(slice(None), *place)] += h
        ahead, behind = (p.scores(x, np.arange(len(x))) for x in moved)
        found[(slice(None), *place)] = (ahead - behind) / 2e-5
    return found


def test_sensitivity_is_the_squared_slope() -> None:
    p = problem()
    expected = slopes(p)
    np.testing.assert_allclose(explain("sensitivity", p).relevance, expected**2, rtol=1e-3, atol=1e-6)
    l2, linf = (explain("sensitivity", p, norm=norm).relevance for norm in ("l2", "linf"))
    np.testing.assert_allclose(l2.sum(axis=1), np.sqrt((expected**2).sum(axis=1)), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(linf.sum(axis=1), np.abs(expected).max(axis=1), rtol=1e-3, atol=1e-6)


def test_gradient_times_input_is_lrp_0_without_biases() -> None:
    p = problem(convolutional(bias=False))
    rules = Composite(
        (
            ("convolution", Epsilon(1e-12)),
            ("dense", Epsilon(1e-12)),
            ("activation", Pass()),
        )
    )
    expected = p.propagate(rules, p.x, np.arange(len(p.x)))["relevance"]
    np.testing.assert_allclose(explain("gradient_x_input", p).relevance, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("baseline", ["zero", "black", "blur"])
def test_integrated_gradients_are_complete(baseline: str) -> None:
    p = problem()
    found = explain("integrated_gradients", p, baseline=baseline, steps=300)
    everybody = np.arange(len(p.x))
    difference = p.scores(p.x, everybody) - p.scores(p.baseline(baseline), everybody)
    total = found.relevance.reshape(len(p.x), -1).sum(axis=1)
    np.testing.assert_allclose(found.notes["completeness error"], total - difference, atol=1e-9)
    assert (np.abs(total - difference) < 0.02 * np.abs(difference) + 0.02).all()


def test_expected_gradients_are_complete_on_average() -> None:
    p = problem()
    total = explain("expected_gradients", p, samples=1200).relevance.reshape(len(p.x), -1).sum(axis=1)
    names, everybody = ("black", "white", "grey", "mean", "blur", "noise"), np.arange(len(p.x))
    starts = [p.scores(p.baseline(name), everybody) for name in names]
    difference = p.scores(p.x, everybody) - np.mean(starts, axis=0)
    np.testing.assert_allclose(total, difference, rtol=0.1, atol=0.1)


def test_smooth_grad_without_noise_is_the_gradient() -> None:
    p = problem()
    slope = p.gradient(p.x, np.arange(len(p.x)))
    np.testing.assert_allclose(explain("smooth_grad", p, samples=3, sigma=0).relevance, slope, rtol=1e-9)
    np.testing.assert_allclose(explain("smooth_grad", p, sigma=0, times_input=True).relevance, p.x * slope, rtol=1e-9)
    np.testing.assert_allclose(explain("var_grad", p, samples=3, sigma=0).relevance, 0, atol=1e-12)


def test_var_grad_is_the_variance_of_the_samples_of_smooth_grad() -> None:
    p = problem(samples=1)
    means = [explain("smooth_grad", p, samples=n).relevance * n for n in (1, 2, 3, 4)]
    samples = np.diff([0 * means[0], *means], axis=0)
    np.testing.assert_allclose(explain("var_grad", p, samples=4).relevance, samples.var(axis=0), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", SAMPLED)
def test_a_seed_makes_it_repeatable_whatever_the_batches_are(name: str) -> None:
    first = explain(name, problem(batch_size=7)).relevance
    np.testing.assert_allclose(explain(name, problem(batch_size=1)).relevance, first, rtol=1e-9, atol=1e-12)
    if name != "integrated_gradients":
        assert not np.allclose(explain(name, problem(), seed=1).relevance, first)


@pytest.mark.parametrize("name", ["integrated_gradients", "smooth_grad"])
def test_what_is_done_when_the_user_stops_is_kept(name: str) -> None:
    seen = []

    def stop(done: Any, total: Any) -> Any:
        seen.append((done, total))
        return len(seen) < 3

    found = explain(name, problem(batch_size=4, progress=stop))
    assert seen[-1] == (12, 64)
    assert np.isfinite(found.relevance).all()
    assert (found.notes.get("steps") or found.notes.get("samples")) == 6


@pytest.mark.parametrize(
    ("name", "options"),
    [("sensitivity", {"norm": "l3"}), ("smooth_grad", {"samples": 0}), ("integrated_gradients", {"step": 3})],
)
def test_bad_options_are_refused_with_the_fix(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        make(name, **options)
    assert caught.value.fix


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(UsageError, match="baseline"):
        explain("integrated_gradients", baseline="blank")


@pytest.mark.parametrize("name", SAMPLED)
def test_a_sample_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    p = problem(samples=3)
    p.x[1] *= 5
    together = explain(name, p).relevance
    for i in range(3):
        alone = replace(p, x=p.x[i : i + 1], ids=p.ids[i : i + 1])
        np.testing.assert_allclose(explain(name, alone).relevance[0], together[i], rtol=1e-9, atol=1e-12)
