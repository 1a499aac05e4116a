"""Whether relevance lies on the object: where masks say what the object is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError, at_least, one_of
from ...methods.registry import Array
from .registry import Measured, metric
from .trial import Trial

_WITHOUT = "no mask, or an empty one"


@metric("pointing_game", paper="Zhang et al. 2016", better="higher", masks=True)
@dataclass(frozen=True)
class PointingGame:
    """1 where the maximum of the map lies in the mask, 0 where it does not.

    Of several equal maxima, the share that lies in it. `tolerance` is how many pixels beside the mask (in either
    direction, diagonally too) still count; Zhang et al. allow 15 of about 500.
    """

    tolerance: int = 0

    def __post_init__(self) -> None:
        at_least(0, whole=True, tolerance=self.tolerance)

    def __call__(self, trial: Trial) -> Measured:
        def hit(heat: Array, mask: Array) -> float:
            return float(grown(mask, self.tolerance)[heat == heat.max()].mean())

        return _by_mask(trial, hit)


@metric("energy_in_mask", paper="Wang et al. 2020 (Score-CAM)", better="higher", masks=True)
@dataclass(frozen=True)
class EnergyInMask:
    """Σ|R| in the mask over Σ|R|; a map without any relevance has 0.

    `of` "positive" counts max(R, 0) instead of |R|, as the energy-based pointing game does. A map that knows nothing
    has the mask's share of the area.
    """

    of: str = "absolute"

    def __post_init__(self) -> None:
        one_of(("absolute", "positive"), of=self.of)

    def __call__(self, trial: Trial) -> Measured:
        def share(heat: Array, mask: Array) -> float:
            energy = np.abs(heat) if self.of == "absolute" else np.maximum(heat, 0)
            total = energy.sum()
            return float(energy[mask].sum() / total) if total else 0.0

        return _by_mask(trial, share)


def _by_mask(trial: Trial, judge: Callable[[Array, Array], float]) -> Measured:
    """A number for each sample that has a mask, NaN for others."""
    if trial.masks is None:
        raise UsageError("this metric asks whether relevance lies on the object", "give masks: --masks DIR")
    values = [
        judge(heat, mask) if mask is not None and mask.any() else np.nan
        for heat, mask in zip(trial.maps, trial.masks, strict=True)
    ]
    return Measured(np.array(values, np.float64), why=_WITHOUT)


def grown(mask: Array, by: int) -> Array:
    """A mask and all pixels at most `by` steps beside it, along every axis."""
    for axis in range(mask.ndim if by else 0):
        length = mask.shape[axis]
        near = [np.take(mask, np.clip(np.arange(length) + step, 0, length - 1), axis) for step in range(-by, by + 1)]
        mask = np.any(near, axis=0)
    return mask
