"""Heatmaps: colours against their definition, zero in the middle, and figures that hold what they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxlrp.errors import CheckFailed, UnsupportedError, UsageError
from onnxlrp.pictures import bars, colors, heatmap, sheets
from onnxlrp.pictures.style import Style


def signed(height: int = 12, width: int = 20) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(height, width))


def test_the_default_map_is_colorbrewers() -> None:
    table = colors.colormap("RdBu_r")
    assert table.shape == (257, 3)
    assert table.dtype == np.uint8
    assert tuple(table[0]) == (0x05, 0x30, 0x61)
    assert tuple(table[-1]) == (0x67, 0x00, 0x1F)
    np.testing.assert_allclose(table[128], 0xF7)
    np.testing.assert_array_equal(colors.colormap("RdBu"), table[::-1])


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("gray", ((0, 0, 0), (255, 255, 255))),
        ("wred", ((255, 255, 255), (255, 0, 0))),
        ("wblue", ((255, 255, 255), (0, 0, 255))),
        ("hot", ((0, 0, 0), (255, 255, 255))),
        ("cold", ((0, 0, 0), (0, 255, 255))),
        ("coldnhot", ((0, 255, 255), (255, 255, 255))),
        ("bwr", ((0, 0, 255), (255, 0, 0))),
        ("france", ((0, 85, 164), (239, 65, 53))),
        ("seismic", ((0, 0, 208), (208, 0, 0))),
        ("coolio", ((0, 208, 208), (208, 0, 208))),
        ("coleus", ((0, 208, 0), (208, 0, 208))),
    ],
)
def test_zennits_names(name: str, ends: tuple[tuple[int, int, int], tuple[int, int, int]]) -> None:
    table = colors.colormap(name)
    assert (tuple(table[0]), tuple(table[-1])) == ends


def test_an_unknown_map_suggests() -> None:
    with pytest.raises(UsageError) as caught:
        colors.colormap("RdBu-r")
    assert "RdBu_r" in caught.value.fix


@pytest.mark.parametrize("name", colors.CMAPS)
def test_zero_is_the_middle_and_signs_are_symmetric(name: Any) -> None:
    r = np.array([[-2.0, 0.0, 2.0]])
    drawn = colors.colorize(r, name, clip=100)[0]
    table = colors.colormap(name)
    np.testing.assert_array_equal(drawn, table[[0, 128, 256]])


def test_positive_is_red_and_negative_is_blue() -> None:
    negative, positive = colors.colorize(np.array([[-1.0, 1.0]]))[0].astype(int)
    assert positive[0] > positive[2]
    assert negative[2] > negative[0]


def test_sequential_maps_start_at_zero_for_unsigned_relevance() -> None:
    drawn = colors.colorize(np.array([[0.0, 1.0]]), "hot", clip=100)[0]
    np.testing.assert_array_equal(drawn, [[0, 0, 0], [255, 255, 255]])
    np.testing.assert_array_equal(colors.colorize(np.zeros((1, 2)), "hot")[0], 0)


def test_limit() -> None:
    r = np.arange(-100.0, 101.0)
    assert colors.limit(r, 99.5) == pytest.approx(np.percentile(np.abs(r), 99.5))
    assert colors.limit(r, 100) == 100
    sparse = np.zeros(1000)
    sparse[3] = -5
    assert colors.limit(sparse) == 5
    assert colors.limit(np.zeros(4)) == 0
    for bad in (np.nan, np.inf):
        with pytest.raises(CheckFailed):
            colors.limit(np.array([1, bad]))
    for clip in (0, -1, 101, float("nan")):
        with pytest.raises(UsageError):
            colors.limit(r, clip)


def test_only_maps_are_drawn() -> None:
    for shape in ((3, 8, 9), (8,)):
        with pytest.raises(UnsupportedError) as caught:
            heatmap.render(np.zeros(shape))
        assert "npz" in caught.value.fix


def test_render_enlarges_pixel_by_pixel_and_keeps_the_colours() -> None:
    r = signed(14, 28)
    figure = heatmap.render(r, overlay=False)
    assert figure.width > 448
    drawn = colors.colorize(r)
    pixels = np.asarray(figure)
    panel = pixels[20 : 20 + 14 * 16, 20 : 20 + 28 * 16]
    np.testing.assert_array_equal(panel[::16, ::16], drawn)
    np.testing.assert_array_equal(panel[15::16, 15::16], drawn)


def test_render_shows_the_picture_and_the_context() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (28, 28, 3), dtype=np.uint8))
    r = np.zeros((28, 28))
    r[4, 5], r[20, 9] = 1.0, -1.0
    pixels = np.asarray(heatmap.render(r, picture))
    left = pixels[20 : 20 + 448 : 16, 20 : 20 + 448 : 16]
    np.testing.assert_array_equal(left, np.asarray(picture))
    right = pixels[20 : 20 + 448 : 16, 482 : 482 + 448 : 16].astype(int)
    assert right[4, 5, 0] > right[4, 5, 2] + 50
    assert right[20, 9, 2] > right[20, 9, 0] + 50
    rest = np.delete(right.reshape(-1, 3), [4 * 28 + 5, 20 * 28 + 9], axis=0)
    grey = np.delete(np.asarray(picture.convert("L")).ravel(), [4 * 28 + 5, 20 * 28 + 9])
    assert (np.ptp(rest, axis=1) == 0).all()
    assert np.corrcoef(rest[:, 0], grey)[0, 1] > 0.999


def test_render_zero_maps_and_other_sizes() -> None:
    for shape in ((1, 1), (224, 224), (1, 3000), (2500, 10)):
        figure = heatmap.render(np.zeros(shape), Image.new("L", (9, 9)), Style(title="a", caption="b"))
        assert figure.mode == "RGB"
        assert max(figure.size) < 2400
    assert not np.ptp(np.asarray(heatmap.render(np.zeros((8, 8)), overlay=False))[20:400, 20:400], axis=2).any()


def test_text_is_drawn_and_long_text_is_cut() -> None:
    plain = heatmap.render(signed())
    titled = heatmap.render(signed(), style=Style(title="Bücher → ΣR " * 50, caption="x" * 500))
    assert titled.width == plain.width
    assert titled.height > plain.height
    assert (np.asarray(titled)[:48] < 128).any()


def test_strips() -> None:
    signal = np.sin(np.arange(300) / 9)
    short = bars.strip(np.array([1.0, -1.0]))
    pixels = np.asarray(short).astype(int)
    red = np.argwhere(pixels[:, 20:460, 0] > pixels[:, 20:460, 2] + 40)
    blue = np.argwhere(pixels[:, 475:900, 2] > pixels[:, 475:900, 0] + 40)
    assert red[:, 0].max() <= blue[:, 0].min() + 2  # positive above the line, negative below
    assert bars.strip(signal, signal=signal).height > short.height
    for length in (1, 895, 896, 897, 100_000):
        bars.strip(np.random.default_rng(0).normal(size=length))
    bars.strip(np.zeros(5))
    bars.strip(np.ones(5))
    with pytest.raises(UnsupportedError):
        bars.strip(np.zeros((2, 3, 4)))


def test_binned_strips_keep_the_sum_of_a_bin() -> None:
    r = np.zeros(8960)
    r[5000:5010] = 1.0
    with_bin = np.asarray(bars.strip(r, Style(clip=100))).astype(int)
    assert (with_bin[:, 20:916, 0] > with_bin[:, 20:916, 2] + 40).any(axis=0).sum() <= 2


def test_stack() -> None:
    figures = [heatmap.render(signed()), bars.strip(signed()[0])]
    sheet = sheets.stack(figures)
    assert sheet.size == (max(f.width for f in figures), sum(f.height for f in figures))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (28, 28), (7, 301)])
@pytest.mark.parametrize("clip", [0.1, 50, 90, 99.5, 100])
def test_the_limit_is_numpys_percentile(shape: tuple[int, int], clip: float) -> None:
    values = np.random.default_rng(3).normal(size=shape)
    np.testing.assert_allclose(colors.limit(values, clip), np.percentile(np.abs(values), clip), rtol=1e-12)
