"""Smoothing of heatmaps for drawing: relevance is spread over neighbours, and its sum stays."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from .colors import Array


class Smoothing(NamedTuple):
    """How a heatmap is smoothed before it is drawn; the relevance itself, and files of numbers, stay as they are.

    Attributes:
        kind: "gaussian", "pool" or "none".
        size: The standard deviation of the Gaussian, or the side of the pooled squares, in values of the heatmap.
    """

    kind: str = "none"
    size: float = 0.0

    @classmethod
    def parse(cls, word: str | float) -> Smoothing:
        """Return the smoothing that a word names: a standard deviation such as 2, pool:8, or 0 for none.

        Raises:
            UsageError: It names none.
        """
        kind, colon, number = str(word).strip().rpartition(":")
        kind = kind if colon else "gaussian"
        try:
            size = float(number)
        except ValueError:
            size = math.nan
        whole = kind == "pool" and size.is_integer() and size >= 1
        if not (whole or (kind == "gaussian" and 0 <= size < math.inf)):
            raise UsageError(
                f"--smooth {word}: no smoothing", "give the standard deviation in pixels, such as 2, or pool:8"
            )
        return cls(kind, size) if size and (kind, size) != ("pool", 1) else cls()

    def __call__(self, heat: Array) -> Array:
        """Return a heatmap [H, W] smoothed.

        Args:
            heat: The heatmap.
        """
        for axis in (0, 1) if self.kind != "none" else ():
            matrix = self._matrix(heat.shape[axis])
            heat = np.moveaxis(np.tensordot(matrix, heat, (1, axis)), 0, axis)
        return heat

    def _matrix(self, length: int) -> Array:
        """[length, length]: the share that each place gets of each other's relevance; columns sum to 1."""
        places = np.arange(length)
        if self.kind == "pool":
            near = (places[:, None] // int(self.size) == places // int(self.size)).astype(np.float64)
        else:
            near = np.exp(-0.5 * ((places[:, None] - places) / self.size) ** 2)
        return np.asarray(near / near.sum(axis=0))

    def describe(self) -> str:
        """Return the words of a caption; "" for none."""
        if self.kind == "none":
            return ""
        return f"smoothed: σ {self.size:g} px" if self.kind == "gaussian" else f"pooled: {self.size:g} x {self.size:g}"
