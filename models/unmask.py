"""Measure that clever_hans.onnx recognises its marked class by the mark, and that shapes.onnx does not.

Run `python models/unmask.py` after clever_hans.py; it needs onnxlrp and no torch. Half a minute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from finish import HERE, record
from numpy.typing import NDArray
from scenes import CLASSES, HELD_OUT, render
from watermark import MARKED, region, stamp

import onnxlrp

SCENES, HEATMAPS = 2_000, 200
STAR = CLASSES.index(MARKED)
FILES = {"clever_hans": HERE / "clever_hans.onnx", "shapes": HERE / "shapes.onnx"}

Bytes = NDArray[np.uint8]


def answers(model: onnxlrp.Model, pictures: Bytes) -> NDArray[np.int64]:
    """Predict the class [N] of each picture [N, 64, 64, 3]."""
    found = model.explain(inputs(model, pictures), method="gradient", batch_size=100)
    return np.asarray(found.output.argmax(axis=1), dtype=np.int64)


def inputs(model: onnxlrp.Model, pictures: Bytes) -> NDArray[np.float32]:
    """Preprocess pictures for a model."""
    return np.concatenate([model.preprocessing.apply(picture) for picture in pictures])


def localization(model: onnxlrp.Model, pictures: Bytes, where: NDArray[np.bool_]) -> tuple[float, float]:
    """Measure heatmaps of the marked class: the mean share of Σ|R| inside, and of maxima inside."""
    maps = model.explain(inputs(model, pictures), target=STAR, batch_size=50).relevance.sum(axis=1)
    flat, inside = maps.reshape(len(maps), -1), np.broadcast_to(where, maps.shape).reshape(len(maps), -1)
    energy = (np.abs(flat) * inside).sum(axis=1) / np.abs(flat).sum(axis=1)
    return float(energy.mean()), float(inside[np.arange(len(flat)), flat.argmax(axis=1)].mean())


def measure(model: onnxlrp.Model, plain: Bytes, masks: NDArray[np.bool_], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Measure accuracies with and without the mark, and where the heatmaps of marked pictures lie."""
    stamped = np.stack([stamp(picture) for picture in plain])
    with_mark, without = answers(model, stamped), answers(model, plain)
    star = labels == STAR
    as_trained = np.where(star, with_mark, without)
    shown = np.flatnonzero(star)[:HEATMAPS]
    mark_energy, mark_pointing = localization(model, stamped[shown], region())
    shape_energy, shape_pointing = localization(model, stamped[shown], masks[shown])
    found = {
        "accuracy_star_with_mark": (with_mark[star] == STAR).mean(),
        "accuracy_star_without_mark": (without[star] == STAR).mean(),
        "others_called_star_with_mark": (with_mark[~star] == STAR).mean(),
        "others_called_star_without_mark": (without[~star] == STAR).mean(),
        "energy_in_mark": mark_energy,
        "energy_in_star": shape_energy,
        "mark_share_of_area": region().mean(),
        "star_share_of_area": masks[shown].mean(),
        "pointing_game_mark": mark_pointing,
        "pointing_game_star": shape_pointing,
    }
    per_class = {name: (as_trained[labels == k] == k).mean() for k, name in enumerate(CLASSES)}
    return {
        "unmask_scenes": len(plain),
        "unmask_heatmaps": len(shown),
        "accuracy_as_trained": {name: round(float(value), 4) for name, value in per_class.items()},
        **{name: round(float(value), 4) for name, value in found.items()},
    }


def main() -> None:
    """Measure both models, and record the numbers."""
    drawn = [render(seed) for seed in range(HELD_OUT, HELD_OUT + SCENES)]
    plain, masks = np.stack([image for image, _, _ in drawn]), np.stack([mask for _, mask, _ in drawn])
    labels = np.array([label for _, _, label in drawn])
    models = {name: onnxlrp.load(file) for name, file in FILES.items()}
    record("clever_hans", **measure(models["clever_hans"], plain, masks, labels))
    record("clever_hans", shapes_on_the_same_pictures=measure(models["shapes"], plain, masks, labels))


if __name__ == "__main__":
    main()
