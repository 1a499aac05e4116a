"""KernelSHAP against Shapley values by their definition."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest

from onnxlrp.methods.shap import coalitions, fit
from support.arrays import Array
from support.problems import explain, problem


def shapley(value: Any, count: Any) -> Array:
    """Σ over coalitions S without j of |S|! (M - |S| - 1)! / M! (v(S ∪ j) - v(S))."""
    phi = np.zeros(count)
    for j in range(count):
        others = [i for i in range(count) if i != j]
        for size in range(count):
            for S in combinations(others, size):
                weight = factorial(size) * factorial(count - size - 1) / factorial(count)
                phi[j] += weight * (value({*S, j}) - value(set(S)))
    return phi


def game(p: Any, labels: Any, baseline: Any, probability: bool = False) -> Callable[..., Any]:
    known = {}

    def value(S: Any) -> Any:
        key = frozenset(S)
        if key not in known:
            x = np.where(np.isin(labels, list(S)), p.x, p.baseline(baseline))
            known[key] = p.scores(x, np.zeros(1, int), probability=probability)[0]
        return known[key]

    return value


@pytest.mark.parametrize("count", [1, 2, 4, 7])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_all_coalitions_give_the_shapley_values(count: int, score: str) -> None:
    p = problem(samples=1)
    labels = np.random.default_rng(2).permutation(64).reshape(8, 8) % count
    found = explain("kernel_shap", p, segments=labels, samples=2**count + 1, baseline="mean", score=score)
    expected = shapley(game(p, labels, "mean", score == "probability"), count)
    heat = found.relevance[0].sum(axis=0)
    np.testing.assert_allclose(np.bincount(labels.ravel(), heat.ravel()), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("samples", [2, 9, 30, 300])
def test_relevance_sums_to_the_difference_of_the_scores(samples: int) -> None:
    p = problem(samples=3)
    found = explain("kernel_shap", p, segments="grid", features=16, samples=samples, baseline="black")
    everybody = np.arange(3)
    expected = p.scores(p.x, everybody) - p.scores(p.baseline("black"), everybody)
    np.testing.assert_allclose(found.relevance.sum(axis=(1, 2, 3)), expected, rtol=1e-9)
    assert ("too few" in found.notes) == (samples < 15)


def test_samples_come_near_the_shapley_values() -> None:
    p = problem(samples=1)
    labels = np.arange(64).reshape(8, 8) // 6  # 11 segments, 2048 coalitions
    exact, drawn = (
        explain("kernel_shap", p, segments=labels, samples=n, baseline="grey").relevance for n in (2048, 1200)
    )
    assert np.linalg.norm(drawn - exact) < 0.1 * np.linalg.norm(exact)


def test_coalitions_are_drawn_from_the_kernel_in_pairs() -> None:
    seen, weights = coalitions(20000, 20, 0)
    assert np.array_equal(seen[0::2], ~seen[1::2])
    assert (weights == 1).all()
    sizes = np.arange(1, 20)
    expected = 1 / (sizes * (20 - sizes))
    counted = np.bincount(seen.sum(axis=1), minlength=21)[1:20] / len(seen)
    np.testing.assert_allclose(counted, expected / expected.sum(), atol=0.01)
    np.testing.assert_allclose(seen.mean(axis=0), 0.5, atol=1e-12)


def test_where_they_fit_all_coalitions_are_there_once() -> None:
    seen, weights = coalitions(64, 6, 0)
    assert len(np.unique(seen, axis=0)) == len(seen) == 62
    size = seen.sum(axis=1)
    kernel = [5 / (factorial(6) / factorial(s) / factorial(6 - s) * s * (6 - s)) for s in size]
    np.testing.assert_allclose(weights, kernel)


@pytest.mark.parametrize("samples", [10, 300])
def test_an_additive_game_is_found_exactly(samples: int) -> None:
    weights = np.random.default_rng(0).normal(size=8)
    seen, kernel = coalitions(samples, 8, 0)
    if np.linalg.matrix_rank(seen - seen.mean(axis=1, keepdims=True)) == 7:
        np.testing.assert_allclose(fit(seen, kernel, seen @ weights, weights.sum()), weights, atol=1e-9)
    else:
        assert fit(seen, kernel, seen @ weights, weights.sum()).sum() == pytest.approx(weights.sum())
