"""Diversity: the likeness of Gram matrices and its gradient; pictures that differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.analysis.prototypes.diversity import layer_of, likeness
from onnxlrp.errors import UsageError
from support.paths import MODELS


@pytest.mark.parametrize("copies", [1, 2])
def test_the_gradient_is_of_all_pairs_once(copies: int) -> None:
    rng = np.random.default_rng(0)
    a, direction = rng.standard_normal((4, 3, 5)), rng.standard_normal((4, 3, 5))

    def total(x: Any) -> float:
        return float(likeness(x, copies)[0].sum() / 2)

    found = (likeness(a, copies)[1] * direction).sum()
    assert found == pytest.approx((total(a + 1e-5 * direction) - total(a - 1e-5 * direction)) / 2e-5, rel=1e-5)


def test_equal_pictures_are_as_like_as_can_be() -> None:
    a = np.random.default_rng(0).standard_normal((1, 4, 3, 3))
    np.testing.assert_allclose(likeness(np.repeat(a, 3, axis=0))[0], 1)


@pytest.mark.slow
def test_pictures_differ_more_with_diversity() -> None:
    model = onnxlrp.load(MODELS / "shapes.onnx")
    unit, values = layer_of(model), []
    assert unit.space == (8, 8)
    for weight in (0.0, 0.7):
        found = model.prototype("ring", n=3, steps=64, diversity=weight)
        a = model.outputs(found.inputs, activations=[unit])[f"activation/{unit.label}"]
        values.append(likeness(a)[0].mean())
        assert (found.evidence["probability"] > 0.5).all()
    assert values[1] < values[0] - 0.02
    with pytest.raises(UsageError, match="of one picture"):
        model.prototype("ring", diversity=1.0)
