"""Occlusion against loops over its windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from support.problems import explain, model, problem
from support.small_nets import Net


def by_loops(p: Any, window: Any, stride: Any, score: Any) -> Any:
    """The mean drop over the windows that cover a pixel, one window after the other, the last one at the edge."""
    n, _, height, width = p.x.shape
    everybody, grey = np.arange(n), p.baseline("grey")

    def starts(length: Any) -> list[Any]:
        return sorted({*range(0, length - window, stride), length - window})

    drops, covers = np.zeros((n, height, width)), np.zeros((height, width))
    whole = p.scores(p.x, everybody, probability=score == "probability")
    for top in starts(height):
        for left in starts(width):
            x = p.x.copy()
            place = (slice(top, top + window), slice(left, left + window))
            x[:, :, place[0], place[1]] = grey[:, :, place[0], place[1]]
            drop = whole - p.scores(x, everybody, probability=score == "probability")
            drops[:, place[0], place[1]] += drop[:, None, None]
            covers[place] += 1
    assert covers.min() > 0
    return drops / covers


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (2, 2), (3, 2), (3, 3), (8, 1), (5, 4)])
@pytest.mark.parametrize("score", ["probability", "logit"])
def test_it_is_the_mean_drop_of_the_windows_over_a_pixel(window: int, stride: int, score: str) -> None:
    p = problem()
    found = explain("occlusion", p, window=window, stride=stride, score=score)
    expected = by_loops(p, window, stride, score)
    np.testing.assert_allclose(found.relevance.sum(axis=1), expected, rtol=1e-6, atol=1e-9)


def test_no_pixel_is_left_out() -> None:
    """A stride beyond the window is cut to it."""
    p = problem()
    found = explain("occlusion", p, window=2, stride=5)
    assert found.notes["stride"] == "2x2"
    np.testing.assert_allclose(found.relevance, explain("occlusion", p, window=2, stride=2).relevance)


def test_of_a_vector_every_value_is_hidden_by_itself() -> None:
    p = problem(model(lambda n: n.dense("x", 5, 3), 5))
    weights = next(v for v in p.model.graph.constants.values() if v.ndim == 2)
    weights = weights if weights.shape[0] == 3 else weights.T
    found = explain("occlusion", p, score="logit")
    assert found.notes["baseline"] == "zero"
    np.testing.assert_allclose(found.relevance, weights[p.ids] * p.x, rtol=1e-5, atol=1e-7)


def test_channels_last_and_whole_numbers() -> None:
    def build(n: Net) -> Any:
        y = n.op("Cast", "x", to=1)
        return n.dense(n.op("Flatten", n.op("Transpose", y, perm=[0, 3, 1, 2])), 3 * 64, 2)

    p = problem(model(build, 8, 8, 3))
    found = explain("occlusion", p, window=4)
    assert found.relevance.shape == p.x.shape
    assert np.ptp(found.relevance, axis=3).max() == 0
