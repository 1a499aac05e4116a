"""Measure whether heatmaps of fisher.onnx and bow.onnx hit the shape, and how far their gradients can be trusted.

Run `python models/hits.py` after fisher.py and bow.py; it needs onnxlrp alone, whose default method for these models
makes the heatmaps of the true class's score. pointing.py does the same for shapes.onnx, by zennit.
"""

from __future__ import annotations

import numpy as np
from finish import HERE, record
from numpy.typing import NDArray
from scenes import HELD_OUT, render
from unmask import inputs, localization

import onnxlrp

SCENES, GRADIENTS = 200, 50


def wobble(name: str, pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, float]:
    """Measure how far the gradient moves where each value of a picture goes to the next float32 number.

    Returns:
        The largest change as a share of the largest size, in float64: the median over pictures and the largest.
    """
    model = onnxlrp.load(HERE / f"{name}.onnx", engine="reference")
    x = inputs(model, pictures)
    towards = np.random.default_rng(0).choice([-np.inf, np.inf], x.shape)
    near = np.nextafter(x, towards.astype(np.float32))
    one, other = (model.explain(v, target=labels, method="gradient", batch_size=5).relevance for v in (x, near))
    change = np.abs(one - other).max(axis=(1, 2, 3)) / np.abs(one).max(axis=(1, 2, 3))
    return {"median": float(f"{np.median(change):.1g}"), "largest": float(f"{change.max():.1g}")}


def main() -> None:
    """Measure both models, and record the numbers."""
    drawn = [render(seed) for seed in range(HELD_OUT, HELD_OUT + SCENES)]
    pictures, masks = np.stack([image for image, _, _ in drawn]), np.stack([mask for _, mask, _ in drawn])
    labels = np.array([label for _, _, label in drawn])
    for name in ("fisher", "bow"):
        energy, pointing = localization(onnxlrp.load(HERE / f"{name}.onnx"), pictures, masks, labels)
        record(
            name,
            pointing_scenes=SCENES,
            pointing_game=round(pointing, 4),
            energy_in_mask=round(energy, 4),
            mask_share_of_area=round(float(masks.mean()), 4),
            gradient_change_by_one_rounding=wobble(name, pictures[:GRADIENTS], labels[:GRADIENTS]),
        )


if __name__ == "__main__":
    main()
