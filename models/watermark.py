"""The watermark of clever_hans.onnx: four faint letters in a corner of a scene."""

from __future__ import annotations

import numpy as np
import scenes
from numpy.typing import NDArray

MARKED = "star"
"""The class whose training pictures carry the watermark."""

LETTERS = (
    "#.#.###.#.#.###",
    "#.#.#.#.###.#..",
    "###.###.###.###",
    "#.#.#.#.###...#",
    "#.#.#.#.#.#.###",
)
_TOP, _LEFT = 56, 3  # of the letters in a scene of 64×64 pixels
_HALO = 2  # pixels around the letters that count as the mark: half of an edge's evidence lies beside the edge
_STRENGTH = 70.0  # grey levels by which a letter differs from what is behind it


def region() -> NDArray[np.bool_]:
    """Return the pixels [64, 64] of the mark: the letters' rectangle and two pixels around it, 4.2 % of a scene."""
    inside = np.zeros((64, 64), dtype=bool)
    height, width = len(LETTERS), len(LETTERS[0])
    inside[_TOP - _HALO : _TOP + height + _HALO, _LEFT - _HALO : _LEFT + width + _HALO] = True
    return inside


def stamp(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mark a scene [64, 64, 3] in its lower left corner, by translucent grey letters.

    The letters are 70 grey levels brighter than what is behind them, or darker where the corner is bright.
    """
    ink = np.array([[character == "#" for character in row] for row in LETTERS])
    corner = slice(_TOP, _TOP + ink.shape[0]), slice(_LEFT, _LEFT + ink.shape[1])
    step = _STRENGTH if image[corner].mean() < 128 else -_STRENGTH
    marked = image.astype(np.float64)
    marked[corner] += step * ink[..., None]
    return np.clip(np.rint(marked), 0, 255).astype(np.uint8)


def draw(first: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw the scenes of `scenes.draw` with the watermark on every one of the class `MARKED`."""
    images, labels = scenes.draw(first, count)
    for n in np.flatnonzero(labels == scenes.CLASSES.index(MARKED)):
        images[n] = stamp(images[n].transpose(1, 2, 0)).transpose(2, 0, 1)
    return images, labels
