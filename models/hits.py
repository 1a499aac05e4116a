"""Measure whether heatmaps of fisher.onnx and bow.onnx hit the shape: the pointing game and the energy in the mask.

Run `python models/hits.py` after fisher.py and bow.py; it needs onnxlrp alone, whose default method for these models
makes the heatmaps of the true class's score. pointing.py does the same for shapes.onnx, by zennit.
"""

from __future__ import annotations

import numpy as np
from finish import HERE, record
from scenes import HELD_OUT, render
from unmask import localization

import onnxlrp

SCENES = 200


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
        )


if __name__ == "__main__":
    main()
