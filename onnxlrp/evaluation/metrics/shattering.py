"""Whether the explanation varies smoothly along a path, or like noise: the shattered gradients of deep networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import at_least
from ...methods.registry import Array
from ...model.randomized import weighted
from .randomization import spread
from .registry import Curve, Measured, metric
from .trial import Trial, finite, flat

_TOGETHER = 8  # samples whose paths are held in memory at a time


@metric("shattering", paper="Balduzzi et al. 2017; Montavon et al. 2018", better="higher")
@dataclass(frozen=True)
class Shattering:
    """Mean autocorrelation of the explanation along a straight path through input space, over lags to a quarter of it.

    x(t) = x + t · length · range · u with a direction u of random signs, t at `points` in 0…1; with R centred over t,
    acf(k) = Σ_t Σ_i R_i(t) R_i(t + k) / Σ_t Σ_i R_i(t)². White noise has about 0, a map that does not move has 1.
    Compare `gradient` and an LRP composite: the curves are acf by lag at the input and, of methods that walk through
    layers, the mean by depth, at `depths` layers from the output down to the input.
    """

    points: int = 32
    length: float = 0.1
    depths: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(8, whole=True, points=self.points)
        at_least(1e-9, length=self.length)
        at_least(1, whole=True, depths=self.depths)

    def __call__(self, trial: Trial) -> Measured:
        paths = self._paths(trial)
        pieces = [
            self._correlated(trial, paths, slice(n, min(n + _TOGETHER, len(trial.samples))))
            for n in range(0, len(trial.samples), _TOGETHER)
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
        return Measured(mean[:, 0], curves)

    def _paths(self, trial: Trial) -> list[str]:
        """Layers whose result's relevance is recorded, from the output down; none of a method that walks no layers."""
        if not trial.by.propagates:
            return []
        # The logits themselves have nothing to shatter: their relevance is the seed.
        labels = list(dict.fromkeys(layer.label for layer in weighted(trial.model)))[1:]
        return [labels[n] for n in spread(len(labels), self.depths)] if labels else []

    def _correlated(self, trial: Trial, paths: list[str], keep: slice) -> Array:
        """The autocorrelation [n, 1 + paths, lags] of some samples."""
        x = trial.samples.values[keep]
        whole = trial.samples.values.shape
        low, high = (np.broadcast_to(bound, whole)[keep] for bound in trial.problem.bounds())
        draws = [np.random.default_rng((self.seed, i)).choice((-1.0, 1.0), x.shape[1:]) for i in _numbers(keep)]
        step = self.length * (high - low) * np.stack(draws)
        series: list[list[Array]] = [[] for _ in range(1 + len(paths))]
        for t in np.linspace(0, 1, self.points):
            found = trial.again(x + t * step, record=paths, keep=keep)
            places = [found.relevance, *(found.layers[path] for path in paths)]
            for kept, values in zip(series, places, strict=True):
                kept.append(flat(finite(values, trial.by.name)))
        lags = self.points // 4
        return np.stack([autocorrelation(np.stack(values, axis=1), lags) for values in series], axis=1)


def autocorrelation(series: Array, lags: int) -> Array:
    """acf at lags 0 … `lags` of series [N, T, P], centred over T: [N, lags + 1]; 1 where nothing moves."""
    centred = series - series.mean(axis=1, keepdims=True)
    products = [(centred[:, : series.shape[1] - k] * centred[:, k:]).sum(axis=(1, 2)) for k in range(lags + 1)]
    variance = products[0]
    # What float32 rounds differently is no movement.
    still = variance <= 1e-12 * (series**2).sum(axis=(1, 2))
    return np.stack([np.where(still, 1.0, p / np.where(still, 1.0, variance)) for p in products], axis=1)


def _numbers(keep: slice) -> range:
    return range(keep.start, keep.stop)
