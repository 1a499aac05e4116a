"""Patterns of a model of open sizes are estimated from samples of any sizes."""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import InputError
from onnxlrp.methods.patterns import estimate
from support.open_models import pooled
from support.tiny_models import values


def test_the_moments_are_of_all_positions_of_all_sizes() -> None:
    """By the definition of `linear`: c = E[xy] - E[x] E[y] over every window of every sample, a = c / wᵀc."""
    batches = [values(2, 3, 9, seed=1), values(1, 3, 14, seed=2), values(2, 3, 9, seed=3)]
    found = estimate(onnxlrp.load(pooled("t")), batches, "linear")
    w = values(4, 3, 3)
    rows = np.concatenate(
        [one[:, start : start + 3].reshape(1, 9) for x in batches for one in x for start in range(one.shape[1] - 2)]
    ).astype(np.float64)
    y = rows @ w.reshape(4, 9).T
    c = rows.T @ y / len(rows) - np.outer(rows.mean(axis=0), y.mean(axis=0))
    a = (c / (w.reshape(4, 9).T * c).sum(axis=0)).T.reshape(4, 3, 3)
    (convolution,) = (array for array in found.arrays.values() if array.ndim == 3)
    np.testing.assert_allclose(convolution, a, rtol=1e-3, atol=1e-4)


def test_samples_that_a_model_of_another_size_is_given_are_refused() -> None:
    model = onnxlrp.load(pooled("t"))
    samples = model.read(values(2, 3, 14))
    with pytest.raises(InputError, match="a sample of 3 x 14, the model takes 3 x 9"):
        model.at((3, 9)).read(samples)
