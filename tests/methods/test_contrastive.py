"""Contrastive relevance is linear in what is propagated."""

from __future__ import annotations

import numpy as np
import pytest

from onnxlrp.errors import UsageError
from onnxlrp.methods.problem import Problem
from support.arrays import Array
from support.problems import explain, problem


def relevance_of(p: Problem, base: str, seed: Array) -> Array:
    return p.propagate(p.composite(base), p.x, np.arange(len(p.x)), seed=seed)["relevance"]


@pytest.mark.parametrize("base", ["epsilon_plus", "epsilon"])
@pytest.mark.parametrize("against", [None, 3])
def test_it_is_the_difference_of_two_explanations(base: str, against: int | None) -> None:
    p = problem()
    p.ids[:] = 1
    own = p.scores(p.x, np.arange(2))[:, None]
    hot = np.eye(4)[p.ids]
    others = (1 - hot) / 3 if against is None else np.eye(4)[[against, against]]
    expected = relevance_of(p, base, hot * own) - relevance_of(p, base, others * own)
    found = explain("contrastive", p, base=base, against=against).relevance
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_a_class_is_not_contrasted_with_itself() -> None:
    p = problem()
    p.ids[:] = 1
    for against in (1, 4):
        with pytest.raises(UsageError, match="against"):
            explain("contrastive", p, against=against)
