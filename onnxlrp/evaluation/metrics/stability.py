"""Whether the explanation stays where the picture hardly changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import at_least
from ...methods.registry import Array
from .registry import Measured, metric
from .trial import Trial, finite, flat


@metric("max_sensitivity", paper="Yeh et al. 2019", better="lower")
@dataclass(frozen=True)
class MaxSensitivity:
    """max over |y - x| <= radius of ‖R(y) - R(x)‖ / ‖R(x)‖, for the class of x.

    The maximum is taken over `samples` points drawn evenly from the box; `radius` is a share of the input's range. A
    map without any relevance has no answer, unless it stays without.
    """

    radius: float = 0.02
    samples: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, whole=True, samples=self.samples)
        at_least(0, radius=self.radius)

    def __call__(self, trial: Trial) -> Measured:
        x = trial.samples.values
        low, high = trial.problem.bounds()
        before = flat(trial.relevance)
        size, largest = np.linalg.norm(before, axis=1), np.zeros(len(x))
        for n in range(self.samples):
            # All samples at once, each in its own row: a method with a seed draws the same for it every time.
            moved = x + self.radius * (high - low) * _drawn(x, self.seed, n)
            moved = np.rint(moved) if x.dtype.kind != "f" else moved
            after = flat(finite(trial.again(moved).relevance, trial.by.name))
            largest = np.maximum(largest, np.linalg.norm(after - before, axis=1))
        ratio = np.divide(largest, size, out=np.where(largest > 0, np.nan, 0.0), where=size > 0)
        return Measured(ratio, why="its map holds no relevance")


def _drawn(x: Array, seed: int, n: int) -> Array:
    """Numbers in -1..1 in x's shape; those of a sample do not depend on the samples after it."""
    return np.stack([np.random.default_rng((seed, n, i)).uniform(-1, 1, x.shape[1:]) for i in range(len(x))])
