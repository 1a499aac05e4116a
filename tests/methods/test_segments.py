"""Segments: squares, superpixels, values, and the user's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.errors import InputError, UsageError
from onnxlrp.methods import segments as module
from onnxlrp.methods.segments import Segments, averages, segments, squares
from support.problems import explain, model, problem


def picture(samples: int = 2, channels: int = 3, side: int = 24) -> Any:
    return problem(model(lambda n: n.dense(n.op("Flatten", "x"), channels * side**2, 3), channels, side, side), samples)


def vector(length: int = 6) -> Any:
    return problem(model(lambda n: n.dense("x", length, 3), length))


@pytest.mark.parametrize(("grid", "features"), [((64, 64), 64), ((224, 224), 64), ((10, 3), 9), ((7,), 3), ((5, 5), 1)])
def test_squares_are_equal_and_no_more_than_asked_for(grid: tuple[int, ...], features: int) -> None:
    labels = squares(grid, features)
    assert labels.shape == grid
    found = np.unique(labels)
    assert np.array_equal(found, np.arange(len(found)))
    assert len(found) <= features
    side = np.count_nonzero(labels.reshape(grid[0], -1)[:, 0] == 0)
    counts = np.bincount(labels.ravel())
    assert counts.max() <= side ** len(grid)
    if all(length % side == 0 for length in grid):
        assert (counts == side ** len(grid)).all()


def test_64_squares_of_a_square_picture() -> None:
    assert len(np.unique(squares((64, 64), 64))) == len(np.unique(squares((224, 224), 64))) == 64


def test_superpixels_keep_to_edges() -> None:
    pytest.importorskip("skimage")
    p = picture(samples=1)
    p.x[:] = -1
    p.x[:, :, 8:16, 8:16] = 1  # a white square
    labels = segments(p, "slic", 9)[0].labels
    inside = np.zeros((24, 24), bool)
    inside[8:16, 8:16] = True
    assert not set(labels[inside]) & set(labels[~inside])
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))


def test_quickshift_finds_its_own_number() -> None:
    pytest.importorskip("skimage")
    p = picture(samples=1, side=48)
    p.x[:] = np.random.default_rng(0).normal(size=(3, 6, 6)).repeat(8, axis=1).repeat(8, axis=2)
    few, many = (segments(p, "quickshift", features)[0] for features in (2, 50))
    assert np.array_equal(few.labels, many.labels)
    assert few.count > 1


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_superpixels_of_any_number_of_channels(channels: int) -> None:
    pytest.importorskip("skimage")
    p = picture(2, channels)
    p.x[:] = np.arange(24) / 24
    made = segments(p, "slic", 9)
    assert len(made) == 2
    assert all(1 < part.count <= 20 and part.labels.shape == (24, 24) for part in made)


def test_noise_has_no_superpixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is one to slic: a grid says more."""
    pytest.importorskip("skimage")
    noise = np.zeros((24, 24), int)
    monkeypatch.setattr(module, "_superpixels", lambda pixels, kind, features: noise)
    assert [(part.kind, part.count) for part in segments(picture(), "auto", 9)] == [("grid", 9)] * 2
    assert segments(picture(), "slic", 9)[0].count == 1


def test_without_scikit_image_superpixels_are_refused_and_auto_says_what_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "installed", lambda: False)
    with pytest.raises(UsageError, match="scikit-image") as caught:
        segments(picture(), "slic", 9)
    assert "pip install" in caught.value.fix
    assert "grid" in caught.value.fix
    made = segments(picture(), "auto", 9)
    assert made[0].count == 9
    notes = explain("lime", picture(), samples=5).notes
    assert "pip install" in notes["segments"]
    explain("lime", picture(), samples=5, segments="grid")


def test_a_vector_s_values_are_features() -> None:
    assert np.array_equal(segments(vector(), "auto", 3)[0].labels, np.arange(6))
    assert segments(vector(), "grid", 3)[0].count == 3
    with pytest.raises(UsageError, match="picture"):
        segments(vector(), "slic", 3)


def test_one_s_own_segments() -> None:
    p = picture()
    labels = np.where(np.arange(576).reshape(24, 24) < 300, 7, 255)
    assert [part.count for part in segments(p, labels, 0)] == [2, 2]
    both = np.stack([labels, np.zeros((24, 24), int)])
    assert [part.count for part in segments(p, both, 0)] == [2, 1]
    for bad in (labels[:5], labels.astype(float)):
        with pytest.raises(InputError) as caught:
            segments(p, bad, 0)
        assert "[24, 24]" in caught.value.fix
    with pytest.raises(UsageError, match="squares"):
        segments(p, "squares", 9)


def test_masks_and_heatmaps_of_segments() -> None:
    part = Segments(np.array([[0, 0, 1], [2, 2, 2]]), "given")
    masks = part.masks(np.array([[True, False, True], [False, False, False]]))
    assert np.array_equal(masks[0], [[1, 1, 0], [1, 1, 1]])
    assert not masks[1].any()
    np.testing.assert_allclose(part.spread(np.array([4.0, -1.0, 6.0])), [[2, 2, -1], [2, 2, 2]])


@pytest.mark.parametrize("last", [False, True])
def test_the_mean_of_each_segment(last: bool) -> None:
    p = picture()
    if last:
        p = problem(model(lambda n: n.dense(n.op("Flatten", "x"), 3 * 576, 3), 24, 24, 3))
    parts = segments(p, "grid", 4)
    found = averages(p, parts)
    x, found = (np.moveaxis(a, 3, 1) if last else a for a in (p.x, found))
    expected = x.reshape(2, 3, 2, 12, 2, 12).mean(axis=(3, 5)).repeat(12, axis=2).repeat(12, axis=3)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
