"""Gradient shattering: the explanation varies smoothly along a path, or like noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import at_least
from ...methods.baselines import steps
from ...methods.registry import Array
from ...model.randomized import weighted
from ..context import EvaluationContext, finite, flat
from .randomization import evenly_spaced
from .registry import Curve, Measurement, metric

_TOGETHER = 8  # samples whose paths are in memory at a time


@metric("shattering", paper="Balduzzi et al. 2017; Montavon et al. 2018", better="higher")
@dataclass(frozen=True)
class Shattering:
    """The mean autocorrelation of the explanation along a straight path through input space.

    x(t) = x + t · length · range · u with a direction u of random signs; with R centred over t,
    acf(k) = Σ_t Σ_i R_i(t) R_i(t + k) / Σ_t Σ_i R_i(t)², its mean over lags k up to a quarter of the path. White noise
    has about 0, a constant heatmap 1. The curves are the autocorrelation by lag at the input and, of composites, the
    mean by depth. Compare `gradient` with an LRP composite.

    Args:
        points: Points t in 0…1 along the path.
        length: The length of the path, as a share of the range of a picture or of a channel of a signal or volume, of
            the deviation of a feature over the samples (`methods.baselines.steps`).
        depths: Layers measured, from the output down to the input.
        seed: The seed of the direction.

    References:
        Balduzzi et al. 2017, "The shattered gradients problem: If resnets are the answer, then what is the question?".
        Montavon et al. 2018, "Methods for interpreting and understanding deep neural networks".
    """

    points: int = 32
    length: float = 0.1
    depths: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(8, whole=True, points=self.points)
        at_least(1e-9, length=self.length)
        at_least(1, whole=True, depths=self.depths)

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""
        paths = self._paths(context)
        pieces = [
            self._correlated(context, paths, slice(n, min(n + _TOGETHER, len(context.samples))))
            for n in range(0, len(context.samples), _TOGETHER)
        ]
        found = np.concatenate(pieces)  # [N, 1 + paths, lags], the input first
        lags = np.arange(found.shape[2])
        mean = found[:, :, 1:].mean(axis=2)
        curves = {"": Curve(lags / (self.points - 1), found[:, 0], "lag, as a share of the path", "autocorrelation")}
        if paths:
            by_depth = np.concatenate([mean[:, 1:], mean[:, :1]], axis=1)
            place = np.arange(by_depth.shape[1]) + 1.0
            ticks = [*paths, "input"]
            curves["depth"] = Curve(place, by_depth, "from the output to the input", "autocorrelation", ticks)
        return Measurement(mean[:, 0], curves)

    def _paths(self, context: EvaluationContext) -> list[str]:
        """Return layers to record, from the output down; none for methods that are no composites."""
        if not context.attributor.propagates:
            return []
        # Not the logits: their relevance is the seed.
        labels = list(dict.fromkeys(layer.label for layer in weighted(context.model)))[1:]
        return [labels[n] for n in evenly_spaced(len(labels), self.depths)] if labels else []

    def _correlated(self, context: EvaluationContext, paths: list[str], keep: slice) -> Array:
        """Compute the autocorrelation [n, 1 + paths, lags] of some samples."""
        x = context.samples.values[keep]
        whole = context.samples.values.shape
        draws = [np.random.default_rng((self.seed, i)).choice((-1.0, 1.0), x.shape[1:]) for i in context.numbers[keep]]
        step = np.broadcast_to(steps(context.problem, self.length), whole)[keep] * np.stack(draws)
        series: list[list[Array]] = [[] for _ in range(1 + len(paths))]
        for t in np.linspace(0, 1, self.points):
            found = context.again(x + t * step, record=paths, keep=keep)
            places = [found.relevance, *(found.layers[path] for path in paths)]
            for kept, values in zip(series, places, strict=True):
                kept.append(flat(finite(values, context.attributor.name)))
        lags = self.points // 4
        return np.stack([autocorrelation(np.stack(values, axis=1), lags) for values in series], axis=1)


def autocorrelation(series: Array, lags: int) -> Array:
    """Compute the autocorrelation at lags 0 … `lags` of series [N, T, P]: [N, lags + 1]; 1 for constant series."""
    centred = series - series.mean(axis=1, keepdims=True)
    products = [(centred[:, : series.shape[1] - k] * centred[:, k:]).sum(axis=(1, 2)) for k in range(lags + 1)]
    variance = products[0]
    # Differences of float32 rounding count as constant.
    still = variance <= 1e-12 * (series**2).sum(axis=(1, 2))
    return np.stack([np.where(still, 1.0, p / np.where(still, 1.0, variance)) for p in products], axis=1)
