"""Stability: the explanation stays where the picture hardly changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import at_least
from ...methods.baselines import steps
from ...methods.registry import Array
from ..context import EvaluationContext, finite, flat
from .registry import Measurement, metric


@metric("max_sensitivity", paper="Yeh et al. 2019", better="lower")
@dataclass(frozen=True)
class MaxSensitivity:
    """The maximum over |y - x| <= radius · range of ‖R(y) - R(x)‖ / ‖R(x)‖, for the class of x.

    A heatmap without relevance has no value, unless it stays without.

    Args:
        radius: The radius, as a share of the range of a picture or of a channel of a signal or volume, of the deviation
            of a feature over the samples (`methods.baselines.steps`).
        samples: Points y, drawn uniformly from the box.
        seed: The seed of the points.

    References:
        Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations".
    """

    radius: float = 0.02
    samples: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, whole=True, samples=self.samples)
        at_least(0, radius=self.radius)

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""
        x = context.samples.values
        box = steps(context.problem, self.radius)
        before = flat(context.relevance)
        size, largest = np.linalg.norm(before, axis=1), np.zeros(len(x))
        for n in range(self.samples):
            # Each sample stays in its row, so that a method with a seed draws the same numbers for it every time.
            moved = x + box * _drawn(x, self.seed, n, context.numbers)
            moved = np.rint(moved) if x.dtype.kind != "f" else moved
            after = flat(finite(context.again(moved).relevance, context.attributor.name))
            largest = np.maximum(largest, np.linalg.norm(after - before, axis=1))
        ratio = np.divide(largest, size, out=np.where(largest > 0, np.nan, 0.0), where=size > 0)
        return Measurement(ratio, why="its map holds no relevance")


def _drawn(x: Array, seed: int, n: int, numbers: Sequence[int]) -> Array:
    """Draw numbers in -1..1 in x's shape; those of a sample do not depend on the others."""
    return np.stack([np.random.default_rng((seed, n, i)).uniform(-1, 1, x.shape[1:]) for i in numbers])
