"""Smoothing of heatmaps for drawing, and the opacity over the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import UsageError
from onnxlrp.pictures import heatmap
from onnxlrp.pictures.smoothing import Smoothing
from onnxlrp.pictures.style import Style
from support.command_line import DIGITS, SEVEN

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("word", ["1.5", "pool:4", "pool:5", 40, "0"])
def test_the_sum_of_relevance_stays(word: str | float) -> None:
    heat = RNG.normal(size=(13, 20))
    smooth = Smoothing.parse(word)(heat)
    assert smooth.shape == heat.shape
    assert smooth.sum() == pytest.approx(heat.sum())


def test_a_gaussian_is_the_sum_of_its_definition() -> None:
    heat = np.zeros((31, 31))
    heat[15, 14] = 2.0
    y, x = np.mgrid[:31, :31]
    bell = np.exp(-((y - 15) ** 2 + (x - 14) ** 2) / (2 * 2.0**2))
    np.testing.assert_allclose(Smoothing.parse("2")(heat), 2 * bell / bell.sum(), rtol=1e-9)


def test_pooling_is_the_mean_of_each_square() -> None:
    heat = RNG.normal(size=(8, 12))
    means = heat.reshape(2, 4, 3, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(Smoothing.parse("pool:4")(heat), np.kron(means, np.ones((4, 4))))


@pytest.mark.parametrize("word", ["much", "-1", "pool:", "pool:1.5", "box:3", "nan", "inf", "pool:0"])
def test_words_that_name_no_smoothing(word: str) -> None:
    with pytest.raises(UsageError, match="no smoothing"):
        Smoothing.parse(word)


def test_blend_is_the_opacity_of_the_strongest_relevance() -> None:
    heat = np.zeros((2, 2))
    heat[0, 0] = 1.0
    picture = Image.fromarray(np.full((2, 2, 3), 100, np.uint8))
    bare = np.asarray(heatmap.panel(heat, None, Style(clip=100)))[0, 0].astype(float)
    pale = np.asarray(heatmap.panel(heat, picture, Style(clip=100, blend=0)))[0, 0].astype(float)
    for share in (0.25, 1.0):
        drawn = np.asarray(heatmap.panel(heat, picture, Style(clip=100, blend=share)))[0, 0]
        np.testing.assert_allclose(drawn, share * bare + (1 - share) * pale, atol=1)
    with pytest.raises(UsageError, match="opacity"):
        heatmap.check_blend(1.5)


@pytest.mark.slow
def test_only_the_drawing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, more in (("a", []), ("b", ["--smooth", "2", "--blend", "0.5"])):
        assert main(["explain", DIGITS, SEVEN, "-q", "--format", "png,npz", "-o", f"{name}.{{target}}", *more]) == 0
    a, b = (np.load(f"{name}.7.npz")["relevance"] for name in "ab")
    np.testing.assert_array_equal(a, b)
    assert Path("a.7.png").read_bytes() != Path("b.7.png").read_bytes()
    assert (
        main(["explain", DIGITS, SEVEN, "-q", "-m", "epsilon,zplus", "--grid", "--smooth", "pool:2", "-o", "g.png"])
        == 0
    )
    assert main(["explain", DIGITS, SEVEN, "--smooth", "x"]) == 2
    one = onnxlrp.load(DIGITS).explain(SEVEN)
    assert one.figure(smooth="pool:4").size == one.figure().size
