"""Maps: pooling by its definition, the cosine, shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxlrp.explanation import maps

SIZES = st.integers(2, 130)


@given(SIZES, SIZES, st.integers(0, 100))
def test_pooling_keeps_the_mean_and_stays_within_the_extremes(height: int, width: int, seed: int) -> None:
    heat = np.random.default_rng(seed).normal(size=(2, height, width))
    small = maps.pooled(heat)
    assert small.shape == (2, min(height, 56), min(width, 56))
    np.testing.assert_allclose(small.mean(axis=(1, 2)), heat.mean(axis=(1, 2)), atol=1e-12)
    assert (small <= heat.max() + 1e-12).all()
    assert (small >= heat.min() - 1e-12).all()


def test_pooling_is_the_mean_of_blocks_where_they_are_whole() -> None:
    heat = np.random.default_rng(0).normal(size=(3, 112, 168))
    wanted = heat.reshape(3, 56, 2, 56, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(maps.pooled(heat), wanted, atol=1e-12)


@given(st.integers(57, 200))
def test_pooling_integrates_over_cells_of_equal_length(length: int) -> None:
    """A cell's mean is the difference of the line's integral at its ends."""
    line = np.random.default_rng(length).normal(size=length)
    integral = np.concatenate([[0], np.cumsum(line)])
    ends = np.interp(np.linspace(0, length, 57), np.arange(length + 1), integral)
    small = maps.pooled(np.broadcast_to(line, (1, 56, length)))
    np.testing.assert_allclose(small[0, 0], np.diff(ends) * 56 / length, atol=1e-10)


def test_small_maps_stay_as_they_are() -> None:
    heat = np.random.default_rng(0).normal(size=(1, 28, 28))
    np.testing.assert_allclose(maps.pooled(heat), heat)


@pytest.mark.slow
def test_a_signal_is_pooled_along_its_length_alone() -> None:
    assert maps.pooled(np.ones((2, 1, 500))).shape == (2, 1, 500)
    assert maps.pooled(np.ones((2, 1, 5000))).shape == (2, 1, 56 * 56)


@given(st.floats(1e-30, 1e30), st.integers(0, 20))
def test_the_cosine_knows_no_scale(scale: float, seed: int) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, 3, 5, 5))
    wanted = [np.vdot(x, y) / np.sqrt(np.vdot(x, x) * np.vdot(y, y)) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(maps.cosine(a * scale, b), wanted, atol=1e-12)
    np.testing.assert_allclose(maps.cosine(a, a * scale), 1)
    np.testing.assert_allclose(maps.cosine(a, -a * scale), -1)


def test_empty_maps_are_like_each_other_and_like_nothing_else() -> None:
    none, some = np.zeros((1, 4, 4)), np.ones((1, 4, 4))
    assert maps.cosine(none, none) == 1
    assert maps.cosine(none, some) == 0


def test_shares_add_up_to_one_or_to_nothing() -> None:
    heat = np.stack([np.random.default_rng(0).normal(size=(6, 6)), np.zeros((6, 6))])
    np.testing.assert_allclose(maps.shares(heat).sum(axis=(1, 2)), [1, 0])
