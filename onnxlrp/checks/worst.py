"""The samples on which two models differ most, kept while all of them pass by."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .similarity import METRICS

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Shown:
    """A sample, what was measured of it, and the maps [H, W] of both models over what each sees."""

    row: Mapping[str, Any]
    maps: tuple[Array, Array]
    views: tuple[Image | None, Image | None]


@dataclass(eq=False)
class Worst:
    """The `most` samples that are least alike by one measure; of equal ones the first. No number is the worst."""

    measure: str
    most: int
    seen: int = 0
    _heap: list[tuple[float, int, Shown]] = field(default_factory=list)

    def add(self, samples: Sequence[Shown]) -> None:
        """Look at some more."""
        metric = METRICS.get(self.measure)
        sign = -1 if metric is not None and metric.higher else 1
        for one in samples:
            value = one.row[self.measure]
            heapq.heappush(self._heap, (np.inf if value is None else sign * value, -self.seen, one))
            self.seen += 1
            if len(self._heap) > self.most:
                heapq.heappop(self._heap)

    def kept(self) -> list[Shown]:
        """Worst first."""
        return [one for _, _, one in sorted(self._heap, key=lambda item: item[:2], reverse=True)]
