"""Attention whose scores are masked by −∞: a masked score has no relevance, and nothing is undefined.

The right values come from a mask of −10,000: its softmax is exactly 0 at the same places, and all numbers are finite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import OnnxLrpError
from support.small_nets import METHODS, Net

TOKENS, WIDTH = 5, 4
CAUSAL = np.triu(np.ones((TOKENS, TOKENS), bool), 1)
BOXED = ("epsilon_gamma_box", "deep_taylor_bounded")  # they need the range of the input
DEAD = (np.arange(TOKENS) == 2)[:, None] & np.ones((TOKENS, TOKENS), bool)
LOWEST = float(np.finfo(np.float32).min)


def added(n: Net, scores: str, masked: float) -> str:
    return n.op("Add", scores, np.where(CAUSAL, masked, 0.0))


def chosen(n: Net, scores: str, masked: float) -> str:
    return n.op("Where", CAUSAL, np.array(masked), scores)


def chosen_as_activation(n: Net, scores: str, masked: float) -> str:
    """The mask is itself computed: Add of two activations, of which one is infinite."""
    zeros = n.op("Mul", scores, np.array(0.0))
    return n.op("Add", scores, n.op("Where", CAUSAL, np.array(masked), zeros))


def logarithm(n: Net, scores: str, masked: float) -> str:
    """The logarithm of a mask that is 0 where it masks."""
    ones = n.op("Exp", n.op("Mul", scores, np.array(0.0)))
    if masked > -1e9:
        return n.op("Add", scores, n.op("Where", CAUSAL, np.array(masked), n.op("Log", ones)))
    return n.op("Add", scores, n.op("Log", n.op("Where", CAUSAL, np.array(0.0), ones)))


def twice(n: Net, scores: str, masked: float) -> str:
    """Two masks of the lowest float32 add up to −∞, as a causal and a padding mask do."""
    masked = LOWEST if masked < -1e9 else masked
    return n.op("Add", added(n, scores, masked), np.where(CAUSAL, masked, 0.0))


def model(mask: Any, masked: float, guarded: bool = False) -> Any:
    n = Net(TOKENS, WIDTH, seed=3)
    q, k, v = (n.op("MatMul", "x", n.rng.normal(size=(WIDTH, WIDTH))) for _ in range(3))
    scores = n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1]))
    p = n.op("Softmax", mask(n, scores, masked), axis=-1)
    if guarded:
        p = n.op("Where", n.op("IsNaN", p) if masked < -1e9 else DEAD, np.array(0.0), p)
    y = n.op("MatMul", p, v)
    return n.model(n.dense(n.op("Flatten", n.op("Relu", y)), TOKENS * WIDTH, 3))


@pytest.mark.few(2)
@pytest.mark.parametrize("engine", ["ort", "reference"])
@pytest.mark.parametrize("mask", [added, chosen, chosen_as_activation, logarithm, twice])
def test_a_mask_of_infinities_is_a_mask(mask: Any, engine: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, TOKENS, WIDTH)).astype(np.float32)
    infinite, finite = (onnxlrp.load(model(mask, masked), engine=engine) for masked in (-np.inf, -1e4))
    for method in (name for name in METHODS if name not in BOXED):
        got, wanted = (m.explain(x, target=0, method=method, ledger=True) for m in (infinite, finite))
        scale = np.abs(wanted.relevance).max()
        np.testing.assert_allclose(got.relevance, wanted.relevance, rtol=0, atol=2e-4 * scale, err_msg=method)
        for row, other in zip(got.ledger, wanted.ledger, strict=False):
            assert np.isfinite(row.residual).all(), (method, row)
            assert row.error <= 1e-4 or row.error <= 2 * other.error, (method, row)


def all_of_a_row(n: Net, scores: str, masked: float) -> str:
    return n.op("Add", scores, np.where(CAUSAL | DEAD, masked, 0.0))


@pytest.mark.parametrize("method", ["epsilon", "gamma", "gradient"])
def test_a_row_that_is_masked_altogether_gets_nothing_where_the_model_drops_it(method: str) -> None:
    """Its softmax is undefined, and PyTorch writes 0 for it, as for a row that is dropped by a condition."""
    x = np.random.default_rng(0).normal(size=(1, TOKENS, WIDTH)).astype(np.float32)
    models = [model(all_of_a_row, masked, guarded=True) for masked in (-np.inf, -1e4)]
    got, wanted = (onnxlrp.load(m).explain(x, target=0, method=method, ledger=True) for m in models)
    np.testing.assert_allclose(got.relevance, wanted.relevance, rtol=0, atol=2e-4 * np.abs(wanted.relevance).max())
    assert all(np.isfinite(row.residual).all() for row in got.ledger)


def test_a_row_that_is_masked_altogether_is_refused_where_nothing_drops_it() -> None:
    x = np.random.default_rng(0).normal(size=(1, TOKENS, WIDTH)).astype(np.float32)
    with pytest.raises(OnnxLrpError, match="masked by -inf"):
        onnxlrp.load(model(all_of_a_row, -np.inf)).explain(x, target=0, method="epsilon")
