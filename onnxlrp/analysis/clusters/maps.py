"""Heatmaps of many samples as small vectors, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...explanation.maps import block_sums
from ...inputs import InputKind
from .graph import Array

FINEST = 32  # rows and columns of a kept map


@dataclass(frozen=True, eq=False)
class Maps:
    """Heatmaps summed over colours and pooled.

    Attributes:
        values: Relevance [n, rows, columns].
        shifts: Whether neighbouring columns and rows are neighbours in the input, as in pictures and signals.
    """

    values: Array
    shifts: bool = True

    def __len__(self) -> int:
        return len(self.values)

    @property
    def used(self) -> Array:
        """The samples whose map is not zero throughout [m]."""
        return np.flatnonzero(self.values.any(axis=(1, 2)))

    def take(self, rows: Array) -> Maps:
        """Return the maps of some samples."""
        return Maps(self.values[rows], self.shifts)

    def features(self, grid: int) -> Array:
        """Return each map pooled to at most `grid` rows and columns, over its Σ|R| [n, d] (float32)."""
        flat = block_sums(self.values, grid).reshape(len(self), -1)
        total = np.abs(flat).sum(axis=1, keepdims=True)
        return np.asarray(flat / np.where(total, total, 1), np.float32)

    def grids(self, middle: int) -> list[int]:
        """Return the grids that are compared: half, all and twice of `middle`, as far as the maps have them."""
        most = max(self.values.shape[1:])
        return sorted({min(most, max(2, size)) for size in (middle // 2, middle, 2 * middle)})

    def shuffled(self, rng: np.random.Generator) -> Maps:
        """Return the maps with each one's places moved, and nothing that they have in common but their own shapes.

        A map of a picture or a signal is shifted cyclically by a random step; of other inputs, the values change
        places at random.
        """
        n, rows, columns = self.values.shape
        if not self.shifts:
            order = rng.permuted(np.tile(np.arange(columns), (n * rows, 1)), axis=1)
            return Maps(np.take_along_axis(self.values.reshape(n * rows, columns), order, 1).reshape(n, rows, columns))
        down = (np.arange(rows) + rng.integers(rows, size=(n, 1))) % rows
        right = (np.arange(columns) + rng.integers(columns, size=(n, 1))) % columns
        return Maps(self.values[np.arange(n)[:, None, None], down[:, :, None], right[:, None, :]])


def of_relevance(relevance: Array, kind: InputKind) -> Array:
    """Reduce relevance [n, *shape] to maps [n, rows, columns] of at most 32 by 32.

    Args:
        relevance: The relevance.
        kind: The kind of the input: colours of an image are summed; a signal has a row for each channel, other inputs
            have one row.
    """
    return block_sums(kind.to_maps(relevance), FINEST, FINEST if kind.is_image else FINEST * FINEST)


def has_places(kind: InputKind) -> bool:
    """Return whether a map of this kind may be shifted: its neighbours are neighbours in the input."""
    return kind.is_image or kind.name == "signal"


def joined(parts: Sequence[Array], kind: InputKind) -> Maps:
    """Return the maps of all batches as one."""
    return Maps(np.concatenate(parts).astype(np.float32), has_places(kind))
