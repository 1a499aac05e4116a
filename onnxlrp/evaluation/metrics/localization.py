"""Localization: relevance lies on the object, by masks of the object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError, at_least, one_of
from ...methods.registry import Array
from ..context import EvaluationContext
from .registry import Measurement, metric

_WITHOUT = "no mask, or an empty one"


@metric("pointing_game", paper="Zhang et al. 2016", better="higher", masks=True)
@dataclass(frozen=True)
class PointingGame:
    """1 where the maximum of the heatmap lies in the mask, else 0; of several equal maxima, their share in the mask.

    Args:
        tolerance: How many pixels around the mask still count (Zhang et al. allow 15 of about 500).

    References:
        Zhang et al. 2016, "Top-down neural attention by excitation backprop".
    """

    tolerance: int = 0

    def __post_init__(self) -> None:
        at_least(0, whole=True, tolerance=self.tolerance)

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""

        def hit(heat: Array, mask: Array) -> float:
            return float(dilated(mask, self.tolerance)[heat == heat.max()].mean())

        return _by_mask(context, hit)


@metric("energy_in_mask", paper="Wang et al. 2020 (Score-CAM)", better="higher", masks=True)
@dataclass(frozen=True)
class EnergyInMask:
    """Σ|R| in the mask over Σ|R|; 0 for a heatmap without relevance.

    A heatmap that does not depend on the picture has about the mask's share of the area.

    Args:
        of: "absolute" sums |R|; "positive" sums max(R, 0), as the energy-based pointing game does.

    References:
        Wang et al. 2020, "Score-CAM: Score-weighted visual explanations for convolutional neural networks".
    """

    of: str = "absolute"

    def __post_init__(self) -> None:
        one_of(("absolute", "positive"), of=self.of)

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""

        def share(heat: Array, mask: Array) -> float:
            energy = np.abs(heat) if self.of == "absolute" else np.maximum(heat, 0)
            total = energy.sum()
            return float(energy[mask].sum() / total) if total else 0.0

        return _by_mask(context, share)


def _by_mask(context: EvaluationContext, judge: Callable[[Array, Array], float]) -> Measurement:
    """Compute a value for each sample that has a mask, NaN for the others."""
    if context.masks is None:
        raise UsageError("this metric needs masks of the objects", "give masks: --masks DIR")
    values = [
        judge(heat, mask) if mask is not None and mask.any() else np.nan
        for heat, mask in zip(context.maps, context.masks, strict=True)
    ]
    return Measurement(np.array(values, np.float64), why=_WITHOUT)


def dilated(mask: Array, pixels: int) -> Array:
    """Dilate a mask by some pixels along every axis."""
    for axis in range(mask.ndim if pixels else 0):
        length = mask.shape[axis]
        steps = range(-pixels, pixels + 1)
        near = [np.take(mask, np.clip(np.arange(length) + step, 0, length - 1), axis) for step in steps]
        mask = np.any(near, axis=0)
    return mask
