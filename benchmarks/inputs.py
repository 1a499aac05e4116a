"""Inputs of every contender: synthetic pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

BOX = 3.0  # inputs lie in [-BOX, BOX]

Array = np.ndarray[Any, np.dtype[Any]]


def images(batch: int, seed: int = 0, shape: tuple[int, ...] = (3, 224, 224)) -> Array:
    """Synthetic normalised images in [-3, 3]: blobs of several sizes; row n is the same for every batch size."""
    rows = []
    for row in range(batch):
        rng = np.random.default_rng([seed, row])
        total = np.zeros(shape)
        for step in (1, 4, 16, 56):
            coarse = rng.normal(size=(shape[0], *(-(-n // step) for n in shape[1:])))
            for axis, n in enumerate(shape[1:], 1):
                coarse = coarse.repeat(step, axis).take(range(n), axis)
            total += 0.6 * coarse
        rows.append(np.clip(total, -BOX, BOX))
    return np.asarray(rows, np.float32)
