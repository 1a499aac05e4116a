"""RISE against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.errors import UsageError
from onnxlrp.methods.masks import upsampled, upsampling
from onnxlrp.methods.rise import RISE, _Masks
from support.arrays import Array
from support.planted import planted
from support.problems import explain, model, problem


def interpolated(cells: Any, height: Any, width: Any) -> Array:
    """A picture enlarged linearly, pixel by pixel."""
    made = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y, x = ((k + 0.5) * c / d - 0.5 for k, c, d in zip((i, j), cells.shape, (height, width), strict=True))
            y, x = (min(max(k, 0), c - 1) for k, c in zip((y, x), cells.shape, strict=True))
            t, s = int(y), int(x)
            below, right = min(t + 1, cells.shape[0] - 1), min(s + 1, cells.shape[1] - 1)
            a, b = y - t, x - s
            upper = (1 - b) * cells[t, s] + b * cells[t, right]
            made[i, j] = (1 - a) * upper + a * ((1 - b) * cells[below, s] + b * cells[below, right])
    return made


@pytest.mark.parametrize(("coarse", "fine"), [((3, 4), (9, 11)), ((1, 2), (5, 4)), ((5, 5), (5, 5))])
def test_upsampling_is_bilinear(coarse: tuple[int, int], fine: tuple[int, int]) -> None:
    cells = np.random.default_rng(0).random((2, *coarse))
    found = upsampled(cells, [upsampling(*lengths) for lengths in zip(fine, coarse, strict=True)])
    np.testing.assert_allclose(found, [interpolated(c, *fine) for c in cells], atol=1e-12)


def test_masks_are_cells_enlarged_and_shifted() -> None:
    p = problem(model(lambda n: n.dense(n.op("Flatten", "x"), 2 * 10 * 13, 2), 2, 10, 13))
    masks = _Masks.draw(p, RISE(samples=20, cells=4))
    made = masks[0:20]
    assert made.shape == (20, 10, 13)
    assert np.array_equal(masks[5:9], made[5:9])
    for mask, cells, (down, right) in zip(made, masks.cells, masks.shifts, strict=True):
        wide = interpolated(cells.astype(float), 5 * 3, 5 * 4)  # steps of 3 and 4 pixels, one more than there are cells
        assert down < 3
        assert right < 4
        np.testing.assert_allclose(mask, wide[down : down + 10, right : right + 13], atol=1e-6)


@pytest.mark.parametrize("p1", [0.3, 0.7])
def test_masks_see_a_share_of_every_pixel(p1: float) -> None:
    p = problem(model(lambda n: n.dense(n.op("Flatten", "x"), 2 * 16 * 16, 2), 2, 16, 16))
    seen = _Masks.draw(p, RISE(samples=4000, cells=5, p1=p1))[0:4000]
    assert np.abs(seen.mean(axis=0) - p1).max() < 0.03
    assert seen.min() >= 0
    assert seen.max() <= 1


def test_it_is_the_mean_of_masks_weighted_by_scores() -> None:
    p = planted(samples=2)
    found = explain("rise", p, samples=50, cells=3, p1=0.4, centred=False)
    masks = _Masks.draw(p, RISE(samples=50, cells=3, p1=0.4))[0:50].astype(np.float64)
    total = np.zeros((2, 16, 16))
    for mask in masks:
        scores = p.scores(p.x * mask, np.arange(2), probability=True)
        total += scores[:, None, None] * mask
    np.testing.assert_allclose(found.relevance.sum(axis=1), total / (50 * 0.4), rtol=1e-4)


def test_centred_it_takes_the_mean_score_away() -> None:
    p = planted()
    plain, centred = (explain("rise", p, samples=40, centred=c) for c in (False, True))
    mean = plain.notes["mean probability of the masked"]
    np.testing.assert_allclose((plain.relevance - centred.relevance).sum(axis=1), mean[0], rtol=1e-6)


def test_values_of_a_vector_are_seen_or_not() -> None:
    """f is linear: the score is expected to be higher by half of what a value adds, where the value is seen."""
    p = problem(model(lambda n: n.dense("x", 5, 3, bias=False), 5), 1)
    masks = _Masks.draw(p, RISE(samples=10))[0:10]
    assert masks.dtype == bool
    found = explain("rise", p, samples=40000, score="logit", centred=True).relevance
    weights = next(v for v in p.model.graph.constants.values() if v.ndim == 2)
    weights = weights if weights.shape[0] == 3 else weights.T
    np.testing.assert_allclose(found, weights[p.ids] * p.x / 2, atol=0.05)


def test_numbers_that_cannot_be_mixed_are_refused() -> None:
    p = problem(model(lambda n: n.dense("x", 6, 2), 6))
    object.__setattr__(p, "x", p.x.astype(np.int64))
    with pytest.raises(UsageError, match="int64"):
        explain("rise", p, cells=2)
    explain("rise", p, samples=3)
