"""The labelled sheet of several methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import UsageError
from onnxlrp.explanation import grid
from support.input_models import dense
from support.paths import MODELS

PICTURE = MODELS / "samples" / "marked_star.png"
METHODS = ("epsilon_plus_flat", "gradient", "grad_cam", "sensitivity")


@pytest.fixture(scope="module")
def explained() -> list[Any]:
    model = onnxlrp.load(MODELS / "shapes.onnx")
    return [model.explain(PICTURE, target=3, method=name) for name in METHODS]


@pytest.mark.slow
def test_every_method_has_a_tile_beside_the_picture(explained: list[Any]) -> None:
    one = np.asarray(grid.draw(explained, columns=5))
    two = np.asarray(grid.draw(explained[:2], columns=5))
    np.testing.assert_array_equal(one[:, : 2 * 236], two[:, : 2 * 236])  # the picture and the first method
    tiles = [one[80:270, left : left + 200] for left in range(30, 30 + 5 * 236, 236)]
    assert all(len(np.unique(tile.reshape(-1, 3), axis=0)) > 50 for tile in tiles)
    assert len({tile.tobytes() for tile in tiles}) == 5


def test_rows_follow_the_columns(explained: list[Any]) -> None:
    heights = [grid.draw(explained, columns=n).height for n in (5, 3, 1)]
    assert heights == sorted(heights)
    assert len(set(heights)) == 3


def test_a_grid_is_of_one_sample(explained: list[Any]) -> None:
    with pytest.raises(UsageError, match="one sample"):
        grid.draw([])


@pytest.mark.parametrize(
    ("shape", "kind"), [((7,), "vector"), ((2, 64), "signal"), ((1, 4, 6, 6), "volume"), ((40, 64), "signal")]
)
def test_what_is_no_image_is_the_figures_of_its_methods(shape: tuple[int, ...], kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    model = onnxlrp.load(dense(shape), kind=kind)
    explained = [model.explain(x, method=name) for name in ("epsilon", "gradient", "occlusion")]
    figures = [np.asarray(one.figure()) for one in explained]
    stacked, beside = (np.asarray(grid.draw(explained, columns=n)) for n in (1, 3))
    down = across = 0
    for one in figures:
        height, width = one.shape[:2]
        np.testing.assert_array_equal(stacked[down : down + height, :width], one)
        np.testing.assert_array_equal(beside[:height, across : across + width], one)
        down, across = down + height, across + width
    assert grid.draw(explained).size in {grid.draw(explained, columns=n).size for n in (1, 2, 3)}


@pytest.mark.slow
def test_the_command_draws_one_picture_a_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", str(MODELS / "shapes.onnx"), str(PICTURE), "-m", ",".join(METHODS), "--grid", "-o"]
    assert main([*words, str(tmp_path / "{stem}.{target}.{method}.png"), "-t", "top2"]) == 0
    made = sorted(path.name for path in tmp_path.iterdir())
    assert len(made) == 2
    assert all(name.endswith(".grid.png") for name in made)
    assert Image.open(tmp_path / made[0]).info["Software"] == "onnxlrp"
    assert main([*words, str(tmp_path / "x.npz"), "--format", "npz"]) == 2
    # A second run over the folder leaves the grids of the first alone.
    (tmp_path / "star.png").write_bytes(PICTURE.read_bytes())
    assert main(["explain", str(MODELS / "shapes.onnx"), str(tmp_path), "-o", str(tmp_path / "out.{stem}.png")]) == 0
    assert len(list(tmp_path.glob("out.*"))) == 1
    capsys.readouterr()
