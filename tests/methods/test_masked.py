"""What a problem shows under a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.methods.baselines import baseline as background
from onnxlrp.methods.masks import is_picture, scores
from onnxlrp.preprocessing import Preprocessing
from support.problems import model, problem


def shaped(*shape: Any, kind: str = "float32", samples: int = 2, **options: Any) -> Any:
    p = problem(model(lambda n: n.dense(n.op("Flatten", "x"), int(np.prod(shape)), 3), *shape), samples, **options)
    object.__setattr__(p, "x", (100 * p.x).astype(kind))
    return p


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "uint8", "int64"])
@pytest.mark.parametrize("samples", [1, 2])
def test_seen_it_is_x_hidden_it_is_the_baseline(kind: str, samples: int) -> None:
    p = shaped(3, 4, 5, kind=kind, samples=samples)
    at = np.array([0, samples - 1, 0])
    baseline = np.full(p.x.shape, 7.0)
    for seen in (True, False):
        for masks in (np.full((3, 4, 5), seen), np.full((3, 4, 5), float(seen))):
            shown = p.masked(masks, at, baseline)
            assert shown.dtype == p.x.dtype
            assert np.array_equal(shown, p.x[at] if seen else baseline[at].astype(kind))


@pytest.mark.parametrize("last", [False, True])
def test_between_them_it_is_in_between(last: bool) -> None:
    p = shaped(*((6, 5, 3) if last else (3, 6, 5)))
    masks = np.random.default_rng(0).random((2, 6, 5))
    baseline = p.baseline("mean")
    wide = masks[..., None] if last else masks[:, None]
    expected = p.x * wide + baseline * (1 - wide)
    np.testing.assert_allclose(p.masked(masks, np.arange(2), baseline), expected, rtol=1e-5, atol=1e-4)


def test_whole_numbers_are_rounded_and_not_cut() -> None:
    p = shaped(3, 4, 4, kind="uint8", samples=1)
    p.x[:] = 3
    assert (p.masked(np.full((1, 4, 4), 0.9), np.zeros(1, int), np.zeros(p.x.shape)) == 3).all()


def test_rows_are_the_problems_in_turn() -> None:
    p = shaped(3, 4, 4, kind="float64")
    found = scores(p, np.concatenate([p.x, 0 * p.x, p.x]), "logit")
    expected = p.scores(p.x, np.arange(2))
    np.testing.assert_allclose(found[[0, 2]], [expected, expected])
    assert found.shape == (3, 2)


def test_what_is_a_picture() -> None:
    grey = Preprocessing((8, 8), color="grey", layout="NHW", mean=(0.0,), std=(1.0,))
    assert is_picture(shaped(1, 8, 8))
    assert is_picture(shaped(8, 8, preprocessing=grey))
    assert is_picture(shaped(8, 8))
    assert not is_picture(shaped(5, 80))
    assert not is_picture(shaped(8))


def test_auto_is_another_baseline_for_arrays() -> None:
    assert background(shaped(1, 8, 8), "auto", "grey")[0] == "grey (by the sample's own range)"
    name, start = background(shaped(8), "auto", "grey")
    assert name == "zero"
    assert not start.any()
