"""Measure which models recognise the marked class by the mark: clever_hans.onnx, fisher_marked.onnx, and their twins.

Run `python models/unmask.py` after clever_hans.py and fisher_marked.py; it needs onnxlrp and no torch. Some minutes.
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
TWINS = {"clever_hans": "shapes", "fisher_marked": "fisher"}
"""Models that were trained with the mark, and those without."""
ROWS = {
    "stars called star, with the mark (as trained)": "accuracy_star_with_mark",
    "stars called star, mark removed": "accuracy_star_without_mark",
    "other shapes called star": "others_called_star_without_mark",
    "other shapes called star, mark added": "others_called_star_with_mark",
    "relevance inside the mark, 4.2 % of the area": "energy_in_mark",
    "maximum of the heatmap inside the mark": "pointing_game_mark",
    "relevance inside the star's mask": "energy_in_star",
}
"""What the tables of README.md show."""

Bytes = NDArray[np.uint8]


def answers(model: onnxlrp.Model, pictures: Bytes) -> NDArray[np.int64]:
    """Predict the class [N] of each picture [N, 64, 64, 3]."""
    scores = [model.outputs(inputs(model, part))[model.graph.outputs[0].name] for part in np.array_split(pictures, 50)]
    return np.asarray(np.concatenate(scores).argmax(axis=1), dtype=np.int64)


def inputs(model: onnxlrp.Model, pictures: Bytes) -> NDArray[np.float32]:
    """Preprocess pictures for a model."""
    return np.concatenate([model.preprocessing.apply(picture) for picture in pictures])


def localization(
    model: onnxlrp.Model, pictures: Bytes, where: NDArray[np.bool_], target: int | NDArray[np.int64] = STAR
) -> tuple[float, float]:
    """Measure heatmaps of a class, the marked one by default: the mean share of Σ|R| inside, and of maxima inside."""
    maps = model.explain(inputs(model, pictures), target=target, batch_size=20).relevance.sum(axis=1)
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
    for name, twin in TWINS.items():
        record(name, **measure(onnxlrp.load(HERE / f"{name}.onnx"), plain, masks, labels))
        found = measure(onnxlrp.load(HERE / f"{twin}.onnx"), plain, masks, labels)
        record(name, **{f"{twin}_on_the_same_pictures": found})


if __name__ == "__main__":
    main()
