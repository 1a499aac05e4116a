"""Which cell tracks a property: chosen on one half of a text, reported on the other, beside circular shifts.

The values of neighbouring places are alike, in cells as in properties, so that a correlation that looks large is found
by chance, and the p-value of the textbook, which takes places for independent, says nothing. A property that is shifted
round keeps its own regularity and loses its place: the largest statistic of any cell with it is what chance gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import UsageError, at_least

Array = npt.NDArray[Any]

NEAR = 0.05  # shifts by less than this share of the half, to either side, leave the property where it was
LEAST = 40  # places of a half, below which its shifts are too few
_BLOCK = 16  # cells that are transformed at a time


@dataclass(frozen=True, eq=False)
class Tracked:
    """The cell that tracks a property best.

    Attributes:
        name: The name of the property.
        statistic: "AUC" of a property of two values, "r" (Pearson's correlation) of another.
        cell: The number of the cell among all; -1 where the property does not vary.
        chosen: The statistic on the half on which the cell was chosen.
        value: That on the other half; an AUC below 0.5, or a negative r, has the other sign of the cell.
        r: Pearson's correlation on the other half.
        null: The largest |r|, or max(AUC, 1 − AUC), of any cell with the property at each circular shift of the other
            half.
        level: The level of the test.
        why_not: Why nothing could be tested; "" where it was.
    """

    name: str
    statistic: str
    cell: int = -1
    chosen: float = 0.0
    value: float = 0.0
    r: float = 0.0
    null: Array | None = None
    level: float = 0.05
    why_not: str = ""

    @property
    def strength(self) -> float:
        """The statistic on the other half, in the direction in which the cell was chosen."""
        centre = 0.5 if self.statistic == "AUC" else 0.0
        return self.value if self.chosen >= centre else 2 * centre - self.value

    @property
    def threshold(self) -> float:
        """What chance exceeds in a share of the shifts that is the level."""
        return float(np.quantile(self.null, 1 - self.level)) if self.null is not None else float("nan")

    @property
    def p(self) -> float:
        """The share of shifts, the true place included, at which some cell is as strong; 1 where none was tested."""
        if self.null is None:
            return 1.0
        return float(1 + (self.null >= self.strength * (1 - 1e-12)).sum()) / (1 + len(self.null))

    @property
    def is_outside(self) -> bool:
        """Whether the cell is stronger than chance: p is at most the level."""
        return self.null is not None and self.p <= self.level


def track(states: Array, values: Array, name: str, level: float = 0.05) -> Tracked:
    """Find the cell that tracks a property.

    Args:
        states: The values of cells [places, cells].
        values: The property [places].
        name: Its name.
        level: The level of the test.

    Raises:
        UsageError: The level is no probability.
    """
    at_least(0.0, level=level)
    if level >= 1:
        raise UsageError(f"level={level:g}", "give a probability, such as 0.05")
    half = len(values) // 2
    statistic = "AUC" if is_binary(values) else "r"
    if half < LEAST:
        return Tracked(name, statistic, why_not=f"a half of the text has fewer than {LEAST} places: give a longer text")
    first, second = values[:half], values[half:]
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return Tracked(name, statistic, why_not="it does not vary in one of the halves")
    of, centre = (auc, 0.5) if statistic == "AUC" else (correlation, 0.0)
    on_first = of(states[:half], first)
    cell = int(np.abs(on_first - centre).argmax())
    own = states[half:, [cell]]
    null = centre + shifted(states[half:], second, statistic)
    return Tracked(
        name, statistic, cell, float(on_first[cell]), float(of(own, second)[0]), float(correlation(own, second)[0]),
        null, level,
    )  # fmt: skip


def is_binary(values: Array) -> bool:
    """Return whether a property has two values."""
    return len(np.unique(values)) == 2


def correlation(states: Array, values: Array) -> Array:
    """Return Pearson's correlation of each cell with a property [cells]; 0 for a cell that does not vary."""
    return np.asarray(_unit(states).T @ _unit(values[:, None])[:, 0])


def auc(states: Array, values: Array) -> Array:
    """Return for each cell the probability that it is larger where the property has its larger value [cells].

    Equal values count half: (Σ of ranks − n₁(n₁ + 1)/2) / (n₀ n₁), as of Mann and Whitney.
    """
    high = values == values.max()
    n = int(high.sum())
    return np.asarray((ranks(states)[high].sum(axis=0) - n * (n + 1) / 2) / (n * (len(values) - n)))


def ranks(states: Array) -> Array:
    """Return the ranks of places by each cell, from 1; equal values have the mean of their ranks [places, cells]."""
    found = np.empty(states.shape, np.float64)
    for cell, column in enumerate(states.T):
        _, where, counts = np.unique(column, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        found[:, cell] = (ends - (counts - 1) / 2)[where]
    return found


def shifted(states: Array, values: Array, statistic: str) -> Array:
    """Return the largest |r|, or |AUC − 1/2|, of any cell at every circular shift of a property but the near ones.

    Both are linear in a product of the cell (or its ranks) with the property, so that a Fourier transform gives all
    shifts at once.

    Args:
        states: [places, cells].
        values: [places].
        statistic: "r" or "AUC".
    """
    length = len(values)
    near = max(1, int(np.ceil(NEAR * length)))
    if statistic == "AUC":
        n = int((values == values.max()).sum())
        target, scale = (values == values.max()).astype(np.float64), 1.0 / (n * (length - n))
        target = target - target.mean()
    else:
        target, scale = _unit(values[:, None])[:, 0], 1.0
    spectrum = np.conj(np.fft.rfft(target))
    most = np.zeros(length)
    for start in range(0, states.shape[1], _BLOCK):
        block = states[:, start : start + _BLOCK]
        block = ranks(block) if statistic == "AUC" else _unit(block)
        products = np.fft.irfft(np.fft.rfft(block, axis=0) * spectrum[:, None], n=length, axis=0)
        most = np.maximum(most, np.abs(products).max(axis=1) * scale)
    return most[near : length - near + 1]


def _unit(columns: Array) -> Array:
    """Return columns less their mean, of length 1; 0 for what does not vary."""
    centred = columns.astype(np.float64) - columns.mean(axis=0, dtype=np.float64)
    length = np.sqrt((centred**2).sum(axis=0))
    small = length <= 1e-9 * np.sqrt(len(columns)) * (1e-30 + np.abs(columns).max(axis=0))
    return np.asarray(np.where(small, 0.0, centred / np.where(small, 1.0, length)))
