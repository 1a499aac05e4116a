"""LIME against its definition, and against the lime package where that is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.methods.lime import coalitions, fit
from onnxlrp.methods.segments import segments
from support.problems import explain, problem


def brute_force(seen: Any, scores: Any, width: Any, alpha: Any) -> tuple[Any, Any]:
    """The ridge with an intercept that is not penalised, solved as one system; the kernel row by row."""
    kernel = []
    for z in seen.astype(float):
        norm = np.linalg.norm(z) * np.sqrt(len(z))
        cosine = z.sum() / norm if norm else 0.0
        kernel.append(np.sqrt(np.exp(-((1 - cosine) ** 2) / width**2)))
    z = np.column_stack([seen, np.ones(len(seen))])
    price = alpha * np.diag([1.0] * seen.shape[1] + [0.0])
    solved = np.linalg.solve(z.T @ np.diag(kernel) @ z + price, z.T @ (kernel * scores))
    mean = np.average(scores, weights=kernel)
    r2 = 1 - np.average((scores - z @ solved) ** 2, weights=kernel) / np.average((scores - mean) ** 2, weights=kernel)
    return solved[:-1], r2


@pytest.mark.parametrize(("width", "alpha"), [(0.25, 1.0), (0.8, 0.01)])
def test_the_fit_is_a_weighted_ridge(width: float, alpha: float) -> None:
    rng = np.random.default_rng(0)
    seen = coalitions(60, 7, 0)
    seen[3] = False  # nothing is seen
    scores = rng.random(60)
    expected, r2 = brute_force(seen, scores, width, alpha)
    found, share = fit(seen, scores, width, alpha)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(share, r2, rtol=1e-9)


def test_a_linear_score_is_found_exactly() -> None:
    seen, weights = coalitions(100, 6, 1), np.arange(6.0)
    found, r2 = fit(seen, seen @ weights + 2, alpha=0)
    np.testing.assert_allclose(found, weights, atol=1e-9)
    assert r2 == pytest.approx(1)


def test_a_score_that_never_changes_has_no_coefficients() -> None:
    found, r2 = fit(coalitions(10, 4, 0), np.full(10, 3.0))
    np.testing.assert_allclose(found, 0, atol=1e-12)
    assert r2 == 1


def test_relevance_is_the_coefficient_spread_over_the_segment() -> None:
    p = problem(samples=1)
    labels = np.arange(64).reshape(8, 8) // 16  # two rows each
    found = explain("lime", p, segments=labels, samples=80, baseline="grey")
    seen = coalitions(80, 4, 0)
    x = np.stack([np.where(np.isin(labels, np.flatnonzero(z)), p.x[0], p.baseline("grey")[0]) for z in seen])
    expected, r2 = brute_force(seen, p.scores(x, np.zeros(80, int), probability=True), 0.25, 1.0)
    sums = found.relevance[0].sum(axis=0).reshape(4, 16).sum(axis=1)
    np.testing.assert_allclose(sums, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.notes["R² of the fit"], [r2], rtol=1e-6)


def test_the_lime_package_finds_the_same() -> None:
    package = pytest.importorskip("lime.lime_image")
    p = problem(samples=1)
    labels = segments(p, "grid", 16)[0].labels
    asked = []

    def classify(pictures: Any) -> Any:
        """Pictures as lime makes them, [n, h, w, 3], its own black in what is hidden."""
        x = np.moveaxis(np.stack(pictures), 3, 1)
        asked.append(x)
        logits = p.logits(x, np.zeros(len(x), int))
        e = np.exp(logits)
        return e / e.sum(axis=1, keepdims=True)

    explainer = package.LimeImageExplainer(random_state=3)
    theirs = explainer.explain_instance(
        np.moveaxis(p.x[0], 0, 2),
        classify,
        labels=[int(p.ids[0])],
        top_labels=None,
        hide_color=0,
        num_samples=200,
        segmentation_fn=lambda picture: labels,
    )
    x = np.concatenate(asked)
    first = [np.argwhere(labels == n)[0] for n in range(16)]
    seen = np.stack([(x[:, :, i, j] != 0).any(axis=1) for i, j in first], axis=1)
    ours, r2 = fit(seen, p.scores(x, np.zeros(200, int), probability=True))
    expected = dict(theirs.local_exp[int(p.ids[0])])
    np.testing.assert_allclose(ours, [expected[n] for n in range(16)], rtol=1e-6, atol=1e-9)
    score = theirs.score if np.isscalar(theirs.score) else theirs.score[int(p.ids[0])]
    assert r2 == pytest.approx(score)
