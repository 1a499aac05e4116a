"""Regularisers: gradients by finite differences, and definitions written pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.analysis.ascent import regularisers as r
from onnxlrp.errors import UsageError


@pytest.mark.parametrize("shape", [(3, 5, 6), (2, 9), (1, 3, 4, 5)], ids=str)
@pytest.mark.parametrize(
    "penalty", [r.AlphaNorm(0.7), r.AlphaNorm(2.0, 6, 0.2), r.TotalVariation(1.5), r.TotalVariation(0.5, 3.0)], ids=repr
)
def test_gradients_are_finite_differences(penalty: Any, shape: Any) -> None:
    rng = np.random.default_rng(0)
    x, direction = rng.random((2, *shape)), rng.standard_normal((2, *shape))
    value, slope = penalty(x)
    assert value.shape == (2,)
    ends = [penalty(x + sign * 1e-5 * direction)[0] for sign in (1, -1)]
    each = (slope * direction).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(each, (ends[0] - ends[1]) / 2e-5, rtol=1e-4)


def test_total_variation_is_its_sum() -> None:
    x = np.random.default_rng(0).random((1, 2, 4, 5))
    total = 0.0
    for c, i, j in np.ndindex(2, 4, 5):
        down = x[0, c, i + 1, j] - x[0, c, i, j] if i < 3 else 0
        right = x[0, c, i, j + 1] - x[0, c, i, j] if j < 4 else 0
        total += (down**2 + right**2) ** 1.5
    assert r.TotalVariation(2.0, 3.0)(x)[0][0] == pytest.approx(2 * total / 20)


def test_decay_pulls_towards_grey() -> None:
    x = np.array([[[0.0, 1.0]]])
    r.Decay(0.1)(0, x, x)
    np.testing.assert_allclose(x, [[[0.05, 0.95]]])


def test_blur_is_a_gaussian_at_some_steps() -> None:
    x = np.zeros((1, 1, 9, 9), np.float32)
    x[0, 0, 4, 4] = 1
    before = x.copy()
    r.Blur(1.0, 4)(1, x, x)
    np.testing.assert_array_equal(x, before)
    r.Blur(1.0, 4)(4, x, x)
    line = np.exp(-0.5 * np.arange(-3, 4.0) ** 2)
    line /= line.sum()
    np.testing.assert_allclose(x[0, 0, 1:8, 1:8], np.outer(line, line), atol=1e-6)
    flat = np.full((1, 1, 5, 5), 0.3, np.float32)
    np.testing.assert_allclose(r.blurred(flat, 0.8), flat, atol=1e-6)


def test_small_norms_and_contributions_are_cleared() -> None:
    rng = np.random.default_rng(0)
    first, gradient = rng.random((2, 3, 4, 5)).astype(np.float32), rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    sizes: dict[Any, Any] = {
        r.ClipSmallNorm: np.sqrt(((first - 0.5) ** 2).sum(axis=1)),
        r.ClipSmallContribution: np.abs(((first - 0.5) * gradient).sum(axis=1)),
    }
    for make, size in sizes.items():
        x = first.copy()
        make(50)(0, x, gradient)
        for n in range(2):
            small = size[n] < np.median(size[n])
            assert small.sum() == 10
            np.testing.assert_array_equal(x[n][:, small], 0.5)
            np.testing.assert_array_equal(x[n][:, ~small], first[n][:, ~small])


def test_values_out_of_range_are_refused() -> None:
    wrong: list[tuple[Any, Any]] = [
        (r.AlphaNorm, (1.0, 0.5)),
        (r.TotalVariation, (-1.0,)),
        (r.TotalVariation, (1.0, 0.0)),
    ]
    for make, values in wrong:
        with pytest.raises(UsageError):
            make(*values)  # type: ignore[operator]
