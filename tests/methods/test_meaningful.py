"""Meaningful perturbation: the gradient that it follows, and the planted object that it finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.errors import UsageError
from onnxlrp.methods.masks import upsampled, upsampling
from onnxlrp.methods.meaningful import MeaningfulPerturbation, _shifted, _variation_slope, gradient
from support.arrays import Array
from support.planted import inside, planted
from support.problems import explain, model, problem
from support.small_nets import Net


def slopes(f: Any, x: Any) -> Array:
    """∂f/∂x by central differences, f [N] of x [N, …]."""
    found = np.zeros(x.shape)
    for place in np.ndindex(*x.shape[1:]):
        ahead, behind = x.copy(), x.copy()
        ahead[(slice(None), *place)] += 1e-5
        behind[(slice(None), *place)] -= 1e-5
        found[(slice(None), *place)] = (f(ahead) - f(behind)) / 2e-5
    return found


@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize("head", ["", "Softmax", "Sigmoid"])
def test_the_gradient_of_the_score(score: str, head: str) -> None:
    def build(n: Net) -> Any:
        y = n.dense(n.relu(n.dense(n.op("Flatten", "x"), 2 * 9, 7)), 7, 4)
        return n.op(head, y) if head else y

    p = problem(model(build, 2, 3, 3))
    expected = slopes(lambda x: p.scores(x, np.arange(2), probability=score == "probability"), p.x)
    np.testing.assert_allclose(gradient(p, p.x, score), expected, rtol=1e-3, atol=1e-6)


def test_the_gradient_at_the_mask() -> None:
    p = problem(samples=2)
    reference, shift = p.baseline("blur"), np.array([1, -2])
    mask = np.random.default_rng(0).random((2, 3, 3))
    up = [upsampling(8, 3)] * 2

    def score(mask: Any) -> Any:
        fine = upsampled(mask, up)[:, None]
        x = _shifted(p, p.x, shift) * fine + _shifted(p, reference, shift) * (1 - fine)
        return p.scores(x, np.arange(2), probability=True)

    slope = MeaningfulPerturbation()._slope(p, reference, upsampled(mask, up), shift)
    found = upsampled(slope, [matrix.T for matrix in up])
    np.testing.assert_allclose(found, slopes(score, mask), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0])
def test_the_gradient_of_the_variation(beta: float) -> None:
    mask = np.random.default_rng(0).random((2, 4, 5))

    def variation(m: Any) -> Any:
        return sum((np.abs(np.diff(m, axis=axis)) ** beta).mean(axis=(1, 2)) for axis in (1, 2))

    np.testing.assert_allclose(_variation_slope(mask, beta), slopes(variation, mask), rtol=1e-4, atol=1e-8)


def test_pictures_move_with_their_edge() -> None:
    p = problem(samples=1)
    moved = _shifted(p, p.x, np.array([2, -1]))
    np.testing.assert_allclose(moved[:, :, 2:, :-1], p.x[:, :, :-2, 1:])
    np.testing.assert_allclose(moved[:, :, 0, :-1], p.x[:, :, 0, 1:])
    np.testing.assert_allclose(moved[:, :, 2:, -1], p.x[:, :, :-2, -1])


@pytest.mark.parametrize("game", ["deletion", "preservation"])
def test_the_mask_covers_what_the_model_reads(game: str) -> None:
    options = {"cells": 8, "jitter": 0, "tv": 0.1, "score": "logit", "l1": 3.0}
    found = explain("meaningful_perturbation", planted(), game=game, reference="black", **options)
    heat = found.relevance[0].sum(axis=0)
    within = inside()
    assert heat[within].mean() > 0.5
    near = np.zeros_like(within)
    near[1:11, 5:15] = True  # a cell is two pixels wide and reaches the centres of its neighbours
    assert heat[~near].max() < 0.05
    assert (heat >= 0).all()
    assert (heat <= 1).all()


def test_deletion_takes_the_class_away_and_preservation_keeps_it() -> None:
    for game in ("deletion", "preservation"):
        notes = explain("meaningful_perturbation", planted(), game=game, reference="black", cells=8, jitter=1).notes
        of = {key: float(notes[f"probability {key}"][0]) for key in ("of x", "of the reference", "under the mask")}
        assert of["of x"] > 0.9 > 0.1 > of["of the reference"]
        assert of["under the mask"] < 0.3 if game == "deletion" else of["under the mask"] > 0.7
        assert notes["area"][0] < 0.5


def test_what_is_no_picture_is_refused() -> None:
    p = problem(model(lambda n: n.dense("x", 5, 3), 5))
    with pytest.raises(UsageError, match="picture"):
        explain("meaningful_perturbation", p)
