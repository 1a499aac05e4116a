"""Calibration moves samples in the units of each feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp import load
from onnxlrp.checks.calibrate import input_noise
from onnxlrp.checks.context import CheckContext
from onnxlrp.checks.settings import Settings
from support.input_models import convolution, dense, embedding, in_other_units


def noise(file: Any, x: Any) -> Any:
    model = load(file)
    return input_noise(CheckContext(model, Settings(method="epsilon", target=0), model.read(x.astype(np.float32))))


@pytest.mark.parametrize(
    ("file", "units"),
    [(dense((5,)), np.exp2([-10, 3, 0, 12, -4])), (convolution((3, 20), (5,)), np.exp2([[-10], [0], [9]]))],
    ids=["vector", "signal"],
)
def test_noise_is_in_the_units_of_each_feature(file: Any, units: Any) -> None:
    x = np.random.default_rng(0).normal(size=(4, *units.shape[:-1], 20 if units.ndim > 1 else 5))
    want, got = noise(file, x), noise(in_other_units(file, units), x * units)
    assert want.maps > 0
    assert got.logits == pytest.approx(want.logits, rel=1e-4)
    assert got.maps == pytest.approx(want.maps, rel=1e-3)


def test_token_ids_have_no_noise() -> None:
    model = load(embedding())
    samples = model.read(np.array([[1, 2, 3, 4]]))
    assert input_noise(CheckContext(model, Settings(method="epsilon", target=0), samples)).maps == 0
