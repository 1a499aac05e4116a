"""Deep Taylor decomposition as published conserves relevance: its sum is the score (Montavon et al. 2017, prop. 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from support import small_nets


@pytest.mark.parametrize(
    ("method", "options"),
    [("deep_taylor", {"bias": False}), ("deep_taylor_bounded", {"low": -3.0, "high": 3.0}), ("deep_taylor", {})],
)
def test_the_sum_is_the_positive_score_unless_the_bias_takes_part(method: str, options: dict[str, Any]) -> None:
    n = small_nets.Net(6)
    y = "x"
    for inner, outer in ((6, 12), (12, 12), (12, 3)):
        y = n.op("Gemm", y, n.rng.normal(size=(inner, outer)), 0.5 * n.rng.normal(size=outer))
        y = n.relu(y) if outer == 12 else y
    model = onnxlrp.load(n.model(y))
    x = n.rng.uniform(-2, 2, size=(20, 6)).astype(np.float32)
    found = model.explain(x, method=method, **options)
    scores = np.maximum(found.output.max(axis=1), 0)
    sums = found.relevance.sum(axis=1)
    assert (scores > 0).sum() > 10
    if method == "deep_taylor" and not options:
        assert (np.abs(sums - scores) > 1e-2 * scores)[scores > 0].any()
    else:
        np.testing.assert_allclose(sums, scores, rtol=1e-3, atol=1e-5)
