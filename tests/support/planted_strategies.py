"""Heatmaps of one class with planted strategies, as small maps."""

from __future__ import annotations

import numpy as np

from .arrays import Array

SIDE = 32


def wandering(rng: np.random.Generator, count: int) -> Array:
    """Blobs [count, 32, 32] at random places: one strategy, which varies continuously."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    place = rng.uniform(5, SIDE - 5, (2, count, 1, 1))
    width = rng.uniform(2, 4, (count, 1, 1))
    blobs = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * width**2))
    return blobs + 0.1 * rng.normal(size=blobs.shape)


def marked(rng: np.random.Generator, count: int) -> Array:
    """A mark [count, 32, 32] in one corner, of random strength, on noise."""
    maps = 0.1 * rng.normal(size=(count, SIDE, SIDE))
    maps[:, 26:30, 2:10] += rng.uniform(0.5, 1.5, (count, 1, 1))
    return maps
