"""What is kept of a stream of samples: the largest values of every channel, and sums by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Tops:
    """The K largest values of each of C channels, largest first; of equal ones the sample that came first.

    Attributes:
        values: [C, K]; -inf where there are fewer samples.
        samples: The number of each sample [C, K]; -1 where there is none.
        positions: The flat index [C, K] of the position of the sample's largest element.
    """

    values: Array
    samples: Array
    positions: Array

    @classmethod
    def empty(cls, channels: int, top: int) -> Self:
        """Return tops of no samples."""
        shape = (channels, top)
        return cls(np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64), np.full(shape, -1, np.int64))

    def add(self, values: Array, samples: Array, positions: Array) -> None:
        """Add samples whose numbers are above those of all before.

        Args:
            values: [N, C].
            samples: Their numbers [N], rising.
            positions: [N, C].
        """
        # A sample that is as large as the last one is behind it.
        rows = np.flatnonzero((values > self.values[:, -1]).any(axis=0))
        if not len(rows):
            return
        count, top = len(rows), self.values.shape[1]
        value = np.concatenate([self.values[rows], values[:, rows].T.astype(np.float32)], axis=1)
        number = np.concatenate([self.samples[rows], np.broadcast_to(samples, (count, len(samples)))], axis=1)
        position = np.concatenate([self.positions[rows], positions[:, rows].T], axis=1)
        # Stable: what is there comes first, and so does the lower number.
        order = np.argsort(-value, axis=1, kind="stable")[:, :top]
        self.values[rows], self.samples[rows], self.positions[rows] = (
            np.take_along_axis(array, order, axis=1) for array in (value, number, position)
        )

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by name."""
        return {"values": self.values, "samples": self.samples, "positions": self.positions}


@dataclass(eq=False)
class ClassSums:
    """Sums over the samples of each class: as many rows as classes were met.

    Attributes:
        ids: The class of each row, in the order in which they were met.
        counts: The samples of each.
        sums: By name [rows, C], float64.
    """

    ids: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    sums: dict[str, Array] = field(default_factory=dict)

    def add(self, classes: Array, values: Mapping[str, Array]) -> None:
        """Add samples: their classes [N], and values [N, C] by name."""
        rows = [self._row(int(one)) for one in classes]
        for row in rows:
            self.counts[row] += 1
        for name, array in values.items():
            found = self.sums.get(name)
            if found is None or len(found) < len(self.ids):
                room = np.zeros((2 * len(self.ids), array.shape[1]))
                if found is not None:
                    room[: len(found)] = found
                found = self.sums[name] = room
            # In the order of the samples, so that a run that was cut has the same sums.
            for row, value in zip(rows, array.astype(np.float64), strict=True):
                found[row] += value

    def _row(self, one: int) -> int:
        if one not in self.ids:
            self.ids.append(one)
            self.counts.append(0)
        return self.ids.index(one)

    def ordered(self) -> ClassSums:
        """Return the same with rising classes and without room for more."""
        order = np.argsort(self.ids, kind="stable").astype(np.int64)
        sums = {name: array[order] for name, array in self.sums.items()}
        return ClassSums([self.ids[n] for n in order], [self.counts[n] for n in order], sums)

    def means(self, name: str) -> Array:
        """Return the mean of each class [rows, C]."""
        return np.asarray(self.sums[name][: len(self.ids)] / np.maximum(1, np.array(self.counts))[:, None])


def shares(relevance: Array) -> Array:
    """Return the relevance of channels [N, C] divided by Σ_c |R_c| of each sample; zeros where all are 0."""
    total = np.abs(relevance).sum(axis=1, keepdims=True)
    return np.asarray(relevance / np.where(total > 0, total, 1))


def hits(tops: Tops, channel: int) -> Iterator[tuple[int, float, int]]:
    """Yield the samples of a channel, largest first: number, value, position."""
    for sample, value, position in zip(
        tops.samples[channel], tops.values[channel], tops.positions[channel], strict=True
    ):
        if sample >= 0:
            yield int(sample), float(value), int(position)
