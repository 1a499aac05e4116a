"""How alike heatmaps are: each metric against its definition, and what all of them must keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxlrp.comparison.similarity import METRICS, mass_shift, spearman, topk_iou
from onnxlrp.explanation.maps import ranks

Array = np.ndarray[Any, Any]

# Whole numbers make ties, which are where ranks and top pixels go wrong.
maps = arrays(np.float64, (2, 4, 5), elements=st.integers(-4, 4).map(float))
each = pytest.mark.parametrize("name", METRICS)


@each
@given(a=maps)
def test_a_map_is_like_itself(name: str, a: Array) -> None:
    np.testing.assert_allclose(METRICS[name].compute(a, a), METRICS[name].identical, atol=1e-12)


@each
@given(a=maps, b=maps)
def test_both_sides_are_equal_and_none_is_beyond_the_best(name: str, a: Array, b: Array) -> None:
    metric = METRICS[name]
    there, back = metric.compute(a, b), metric.compute(b, a)
    np.testing.assert_allclose(there, back, atol=1e-12)
    assert there.shape == (2,)
    assert (there <= 1).all()
    assert (there >= (-1 if name in ("cosine", "spearman") else 0)).all()


@each
@given(a=maps, b=maps, factor=st.floats(1e-30, 1e30))
def test_the_scale_of_a_map_does_not_count(name: str, a: Array, b: Array, factor: float) -> None:
    metric = METRICS[name]
    np.testing.assert_allclose(metric.compute(a * factor, b), metric.compute(a, b), atol=1e-9)


@each
def test_maps_know_nothing_of_each_other(name: str) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 3, 6, 6))
    one_by_one = [float(METRICS[name].compute(x[None], y[None])[0]) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(METRICS[name].compute(a, b), one_by_one)


@given(a=maps)
def test_ranks_are_counts_of_smaller_and_equal_values(a: Array) -> None:
    flat = a.reshape(2, -1)
    below = (flat[:, None, :] < flat[:, :, None]).sum(axis=2)
    equal = (flat[:, None, :] == flat[:, :, None]).sum(axis=2)
    np.testing.assert_allclose(ranks(a), below + (equal - 1) / 2)


def test_spearman_sees_the_order_alone() -> None:
    a = np.random.default_rng(0).normal(size=(1, 7, 7))
    np.testing.assert_allclose(spearman(a, np.exp(3 * a)), 1)
    np.testing.assert_allclose(spearman(a, -(a**3)), -1)
    # Without ties it is 1 - 6 Σd² / n(n² - 1).
    b = np.random.default_rng(1).normal(size=(1, 7, 7))
    d = a.reshape(-1).argsort().argsort() - b.reshape(-1).argsort().argsort()
    np.testing.assert_allclose(spearman(a, b), 1 - 6 * (d**2).sum() / (49 * (49**2 - 1)))
    np.testing.assert_allclose(spearman(a, np.ones_like(a)), 0)


def test_overlap_of_the_highest() -> None:
    a = np.zeros((1, 1, 20))
    a[0, 0, [3, 7]] = 5, 4
    b = np.zeros((1, 1, 20))
    b[0, 0, [7, 9]] = 1, 2
    np.testing.assert_allclose(topk_iou(a, b), 1 / 3)
    np.testing.assert_allclose(topk_iou(a, -b), 0)  # zeros are above negative relevance
    np.testing.assert_allclose(topk_iou(a, b, share=0.001), 0)  # at least one: 3 and 9
    np.testing.assert_allclose(topk_iou(a, b, share=1.0), 1)


def test_mass_that_moves() -> None:
    a = np.zeros((1, 2, 2))
    a[0, 0, 0] = 4
    b = a.copy()
    b[0, 0, 0], b[0, 1, 1] = 3, -1
    np.testing.assert_allclose(mass_shift(a, b), 0.25)
    np.testing.assert_allclose(mass_shift(a, -a), 0)  # where it lies, not its sign
    np.testing.assert_allclose(mass_shift(a, a[:, ::-1]), 1)
    np.testing.assert_allclose(mass_shift(a, np.zeros_like(a)), 1)
