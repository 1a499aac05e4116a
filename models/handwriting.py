"""Handwritten digits as digits.onnx was trained on them; numpy and Pillow alone read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FILE = Path(__file__).resolve().parent / "samples" / "digits.npz"
SIZE = 28

Pictures = NDArray[np.uint8]
Labels = NDArray[np.uint8]


def enlarged(small: Pictures) -> Pictures:
    """Enlarge digits [N, 8, 8] of values 0..16 to grey pictures [N, 28, 28] of values 0..255."""
    grey = np.rint(small * (255 / 16)).astype(np.uint8)
    large = [Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for image in grey]
    return np.stack([np.asarray(image) for image in large])


def digits(held_out: bool) -> tuple[Pictures, Labels]:
    """Return the digits that were held out of all training, or the others: [N, 28, 28] and their classes [N]."""
    with np.load(FILE) as data:
        chosen = data["held_out"] == held_out
        return enlarged(data["images"][chosen]), data["labels"][chosen]
