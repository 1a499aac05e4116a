"""Programs with several seeds, each under a name of its own, on every engine."""

from __future__ import annotations

import numpy as np
import pytest

from support.conformance import Sketch, each_engine, tolerance


@each_engine
@pytest.mark.parametrize("batch", [1, 3])
def test_each_seed_has_its_own_array(name: str, batch: int) -> None:
    """(a · first + second) · third, where the third has one number for each sample."""
    rng, sketch = np.random.default_rng(0), Sketch()
    a = sketch.activation("a", (4, 3, 3))
    first, second = sketch.seed((4, 1, 1), "start/0"), sketch.seed((4, 3, 3), "start/1")
    third = sketch.seed((1, 1, 1), "start/1/weight")
    y = sketch.map("mul", sketch.map("add", sketch.map("mul", a, first), second), third)
    arrays = {
        "a": rng.normal(size=(batch, 4, 3, 3)),
        "start/0": rng.normal(size=(batch, 4, 1, 1)),
        "start/1": rng.normal(size=(batch, 4, 3, 3)),
        "start/1/weight": rng.normal(size=(batch, 1, 1, 1)),
    }
    found = sketch.run(name, {"y": y, "first": first}, **arrays)
    expected = (arrays["a"] * arrays["start/0"] + arrays["start/1"]) * arrays["start/1/weight"]
    np.testing.assert_allclose(found["y"], expected, atol=tolerance(name) * 10)
    np.testing.assert_allclose(found["first"], arrays["start/0"], atol=tolerance(name) * 10)


@each_engine
def test_seeds_with_and_without_targets(name: str) -> None:
    rng, sketch = np.random.default_rng(1), Sketch(targets=2)
    both, shared = sketch.seed((5,)), sketch.seed((5,), "shared", targets=False)
    y = sketch.map("mul", both, shared)
    arrays = {"relevance": rng.normal(size=(2, 3, 5)), "shared": rng.normal(size=(3, 5))}
    found = sketch.run(name, {"y": y}, **arrays)["y"]
    np.testing.assert_allclose(found, arrays["relevance"] * arrays["shared"], atol=tolerance(name) * 10)
