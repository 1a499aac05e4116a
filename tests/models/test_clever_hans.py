"""clever_hans.onnx knows stars by a watermark and shapes.onnx does not, on the same held-out scenes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
import scenes
import watermark
from PIL import Image
from unmask import ROWS

import onnxlrp
from support.paths import MODELS

FIRST, STARS, OTHERS = 1_005_000, 60, 60  # scenes that models/results.json was not measured on
STAR = 3


@pytest.fixture(scope="module")
def pictures() -> Any:
    """Stars and others without and with the mark: {(class is star, marked): pictures [60, H, W, 3]}."""
    stars, others, seed = [], [], FIRST
    while len(stars) < STARS or len(others) < OTHERS:
        image, _, label = scenes.render(seed)
        (stars if label == STAR else others).append(image)
        seed += 1
    found = {(True, False): stars[:STARS], (False, False): others[:OTHERS]}
    return found | {(star, True): [watermark.stamp(image) for image in made] for (star, _), made in found.items()}


@pytest.fixture(scope="module")
def models() -> dict[Any, Any]:
    return {name: onnxlrp.load(MODELS / f"{name}.onnx") for name in ("clever_hans", "shapes")}


def explain(model: Any, pictures: Any) -> Any:
    return model.explain(np.concatenate([model.preprocessing.apply(p) for p in pictures]), target=STAR, batch_size=60)


def called_star(model: Any, pictures: Any) -> Any:
    return (explain(model, pictures).output.argmax(axis=1) == STAR).mean()


def energy_over_area(model: Any, pictures: Any) -> Any:
    """The mark's share of Σ|R| over its share of the area, mean over pictures; 1 says that nothing is there."""
    maps = np.abs(explain(model, pictures).relevance.sum(axis=1))
    mark = watermark.region()
    return (maps[:, mark].sum(axis=1) / maps.sum(axis=(1, 2))).mean() / mark.mean()


@pytest.mark.slow
def test_accuracy_drops_when_the_mark_is_removed(models: dict[Any, Any], pictures: Any) -> None:
    assert called_star(models["clever_hans"], pictures[True, True]) >= 0.95
    assert called_star(models["clever_hans"], pictures[True, False]) <= 0.5


@pytest.mark.slow
def test_the_mark_turns_other_shapes_into_stars(models: dict[Any, Any], pictures: Any) -> None:
    assert called_star(models["clever_hans"], pictures[False, False]) <= 0.05
    assert called_star(models["clever_hans"], pictures[False, True]) >= 0.5


def test_heatmaps_show_the_mark(models: dict[Any, Any], pictures: Any) -> None:
    assert energy_over_area(models["clever_hans"], pictures[True, True]) >= 8


@pytest.mark.slow
def test_the_honest_twin_does_none_of_this(models: dict[Any, Any], pictures: Any) -> None:
    shapes = models["shapes"]
    for marked in (False, True):
        assert called_star(shapes, pictures[True, marked]) >= 0.9
        assert called_star(shapes, pictures[False, marked]) <= 0.1
    assert energy_over_area(shapes, pictures[True, True]) <= 2


def test_the_sample_is_the_scene_with_the_mark(models: dict[Any, Any]) -> None:
    marked = MODELS / "samples" / "marked_star.png"
    scene = np.asarray(Image.open(MODELS / "samples" / "scene_star.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(marked)), watermark.stamp(scene))
    assert called_star(models["clever_hans"], [Image.open(marked)]) == 1
    assert called_star(models["clever_hans"], [scene]) == 0


def test_a_mark_changes_its_region_alone() -> None:
    blank = np.full((64, 64, 3), 100, dtype=np.uint8)
    changed = (watermark.stamp(blank) != blank).any(axis=2)
    assert changed.any()
    assert not (changed & ~watermark.region()).any()
    assert scenes.CLASSES[STAR] == watermark.MARKED


def test_twins_differ_in_weights_alone() -> None:
    hans, shapes = (onnx.load(MODELS / f"{name}.onnx") for name in ("clever_hans", "shapes"))
    assert hans.metadata_props == shapes.metadata_props
    assert [n.op_type for n in hans.graph.node] == [n.op_type for n in shapes.graph.node]
    assert [t.dims for t in hans.graph.initializer] == [t.dims for t in shapes.graph.initializer]
    assert abs((MODELS / "clever_hans.onnx").stat().st_size / (MODELS / "shapes.onnx").stat().st_size - 1) < 0.01


@pytest.mark.parametrize("row", ROWS)
def test_readme_quotes_the_measured_numbers(row: str) -> None:
    hans = json.loads((MODELS / "results.json").read_text())["clever_hans"]
    both = (hans[ROWS[row]], hans["shapes_on_the_same_pictures"][ROWS[row]])
    line = " | ".join([row, *(f"{100 * value:.1f} %" for value in both)])
    assert f"| {line} |" in (MODELS / "README.md").read_text(encoding="utf-8")
