"""The loop: closed forms, stops, and runs that are continued."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.analysis.ascent import colours
from onnxlrp.analysis.ascent.optimize import Direct, State, optimize
from onnxlrp.analysis.ascent.optimizers import Adam, Momentum, NAdam
from onnxlrp.analysis.ascent.parameterisations import Fourier
from onnxlrp.analysis.ascent.transformations import Affine
from onnxlrp.errors import UsageError

W = np.random.default_rng(3).standard_normal((2, 3, 8, 8)).astype(np.float32)


def linear(x: Any) -> Any:
    """f(x) = <w, x>, one w for all."""
    return (x * W[0]).reshape(len(x), -1).sum(axis=1), np.broadcast_to(W[0], x.shape).copy()


def decay(x: Any) -> Any:
    """‖x‖² of each."""
    return (x * x).reshape(len(x), -1).sum(axis=1), 2 * x


def test_a_linear_model_with_decay_has_its_closed_form() -> None:
    def penalty(x: Any) -> Any:
        value, slope = decay(x)
        return 0.5 * value, 0.5 * slope

    for optimizer, steps in ((Momentum(0.1, 0.5), 200), (Adam(0.1), 600)):
        found = optimize(linear, Direct(np.zeros((3, 8, 8))), (), optimizer, steps, penalties=[penalty], n=2)
        np.testing.assert_allclose(found.x, np.stack([W[0]] * 2), atol=1e-2)
        assert not found.dead.any()


def run(steps: int, resume: Any = None, progress: Any = None, keep: Any = None) -> Any:
    fourier = Fourier((3, 8, 8), colours.assumed(3, (8, 8), "RGB"))
    how = {"n": 2, "copies": 2, "seed": 4, "resume": resume, "keep": keep}
    return optimize(linear, fourier, [Affine(0.1, (0.9, 1.1), 10)], NAdam(0.05), steps, progress, **how)


def test_a_run_that_is_stopped_and_continued_ends_in_the_same_numbers() -> None:
    kept: list[State] = []
    first = run(20, progress=lambda at: at.done < 7, keep=kept.append)
    assert first.stopped
    assert first.state.step == 7
    again = run(20, resume=State.of(kept[-1].arrays()))
    whole = run(20)
    np.testing.assert_array_equal(again.x, whole.x)
    np.testing.assert_array_equal(again.history, whole.history)
    assert not whole.stopped


def test_the_score_rises_and_progress_tells_the_time_left() -> None:
    seen: list[Any] = []
    found = run(30, progress=lambda at: seen.append(at) or True)
    assert [at.done for at in seen] == list(range(1, 31))
    assert seen[-1].seconds_left == 0
    assert (found.history[-5:].mean(axis=0) > found.history[:5].mean(axis=0)).all()


def test_the_best_is_kept_not_the_last() -> None:
    def hill(x: Any) -> Any:
        return -np.abs(x).sum(axis=1), np.sign(-x)

    found = optimize(hill, Direct(np.full(1, 0.25)), (), Momentum(lambda step: 0.25 if step == 0 else 1.0, 0.9), 9)
    assert found.x[0, 0] == 0
    assert found.history[-1, 0] < 0


def test_no_gradient_is_said() -> None:
    def half_dead(x: Any) -> Any:
        slope = np.ones_like(x)
        slope[1] = 0
        return x.sum(axis=1), slope

    found = optimize(half_dead, Direct(np.zeros(4)), (), None, 3, n=2)
    np.testing.assert_array_equal(found.dead, [False, True])


def test_a_state_of_other_arrays_is_refused() -> None:
    state = run(2).state
    with pytest.raises(UsageError, match="2 arrays"):
        optimize(linear, Direct(np.zeros((3, 8, 8))), n=3, resume=state)
