"""Optimisers walk the path of torch's, step by step, also when they are stopped and continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxlrp.analysis.ascent.optimizers import Adam, Momentum, NAdam

GOLDEN = Path(__file__).parents[1] / "golden" / "optimizers.npz"
MAKERS = {
    "adam": lambda: Adam(0.05),
    "adam_other": lambda: Adam(0.3, 0.5, 0.9, 1e-4),
    "nadam": lambda: NAdam(1.0),
    "momentum": lambda: Momentum(0.05),
    "descent": lambda: Momentum(0.05, 0.0),
}


def walk(name: str, dtype: Any, restart: int | None = None) -> tuple[Any, Any]:
    golden = np.load(GOLDEN)
    optimizer, p = MAKERS[name](), golden["start"].astype(dtype)
    found = []
    for step, noise in enumerate(golden["gradients"]):
        if step == restart:
            state, optimizer = optimizer.state(), MAKERS[name]()
            optimizer.restore(state)
        optimizer.step(p, (golden["pull"] * p + noise).astype(dtype))
        found.append(p.copy())
    return np.stack(found), golden[name]


@pytest.mark.parametrize("name", MAKERS)
def test_a_hundred_steps_are_torchs(name: str) -> None:
    found, expected = walk(name, np.float64)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_single_precision_stays_in_its_type(name: str) -> None:
    found, expected = walk(name, np.float32)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("name", MAKERS)
def test_a_restored_optimizer_goes_on_in_the_same_numbers(name: str) -> None:
    np.testing.assert_array_equal(walk(name, np.float32, restart=40)[0], walk(name, np.float32)[0])


def test_the_rate_may_change_with_the_step() -> None:
    p = np.zeros(1)
    optimizer = Momentum(lambda step: [1.0, 0.5][step], 0.0)
    for _ in range(2):
        optimizer.step(p, np.ones(1))
    assert p[0] == -1.5
