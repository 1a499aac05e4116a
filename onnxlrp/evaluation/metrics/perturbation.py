"""Whether the score depends on what the map calls relevant: parts are taken away, or given back, in its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import UsageError, at_least, one_of
from ...methods.masks import SCORES
from ...methods.problem import Problem
from ...methods.registry import Array
from .registry import Curve, Measured, metric
from .trial import Trial, flat


@metric("pixel_flipping", paper="Samek et al. 2017", better="higher")
@dataclass(frozen=True)
class PixelFlipping:
    """AOPC = mean over k = 0…steps of f(x) - f(x with the k most relevant parts replaced): how fast the score falls.

    The picture is cut into cells x cells regions, ordered by their mean relevance; `share` of them is replaced in
    equal steps by the `baseline` (noise: uniform between the input's bounds). f is the explained class's `score`.
    """

    cells: int = 16
    steps: int = 16
    share: float = 0.25
    baseline: str = "noise"
    score: str = "logit"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, whole=True, cells=self.cells, steps=self.steps)
        at_least(1e-9, share=self.share)
        if self.share > 1:
            raise UsageError(f"share={self.share}", "give a share of the regions, above 0 and at most 1")
        one_of(SCORES, score=self.score)

    def __call__(self, trial: Trial) -> Measured:
        regions = regions_of(trial.problem.grid, self.cells)
        sizes = np.bincount(regions)
        means = np.stack([np.bincount(regions, heat) / sizes for heat in flat(trial.maps)])
        ranks = ranked(means, self.seed)[:, regions].reshape(trial.maps.shape)
        counts = _counts(len(sizes), self.steps, self.share)
        hidden = trial.problem.baseline(self.baseline, np.random.default_rng(self.seed))
        scores = along(trial.problem, ranks, counts, hidden, kept=False, probability=self.score == "probability")
        curve = Curve(counts / len(sizes), scores, "share replaced", self.score)
        return Measured((scores[:, :1] - scores).mean(axis=1), {"": curve})


@dataclass(frozen=True)
class _Area:
    """The area under a curve of scores by trapezoids, over shares from 0 to 1."""

    steps: int = 32
    baseline: str = "zero"
    score: str = "probability"
    seed: int = 0
    kept: ClassVar[bool] = False  # whether pixels are given back, or taken away

    def __post_init__(self) -> None:
        at_least(1, whole=True, steps=self.steps)
        one_of(SCORES, score=self.score)

    def __call__(self, trial: Trial) -> Measured:
        maps = flat(trial.maps)
        ranks = ranked(maps, self.seed).reshape(trial.maps.shape)
        counts = _counts(maps.shape[1], self.steps, 1.0)
        base = trial.problem.baseline(self.baseline, np.random.default_rng(self.seed))
        scores = along(trial.problem, ranks, counts, base, kept=self.kept, probability=self.score == "probability")
        shares = counts / maps.shape[1]
        area = ((scores[:, 1:] + scores[:, :-1]) / 2 * np.diff(shares)).sum(axis=1)
        return Measured(area, {"": Curve(shares, scores, "share shown" if self.kept else "share deleted", self.score)})


@metric("deletion", paper="Petsiuk et al. 2018", better="lower")
@dataclass(frozen=True)
class Deletion(_Area):
    """Area under the explained class's score while pixels are taken away, the most relevant first.

    Pixels are replaced by the `baseline` in equal `steps`, up to all of them.
    """


@metric("insertion", paper="Petsiuk et al. 2018", better="higher")
@dataclass(frozen=True)
class Insertion(_Area):
    """Area under the explained class's score while pixels are given back to a `baseline`, the most relevant first."""

    baseline: str = "blur"
    kept: ClassVar[bool] = True


def along(problem: Problem, ranks: Array, counts: Array, baseline: Array, *, kept: bool, probability: bool) -> Array:
    """The score [N, S] of each sample where the first `counts` [S] of its parts, by `ranks` [N, *grid], are replaced by
    the baseline, or with `kept` where they alone are not. Samples and steps run in one batch."""
    steps, samples = len(counts), len(ranks)
    scores = np.empty(samples * steps)
    several = problem.batch_size or 32
    for start in range(0, len(scores), several):
        rows = np.arange(start, min(start + several, len(scores)))
        at, step = rows // steps, rows % steps
        first = ranks[at] < counts[step].reshape(-1, *[1] * (ranks.ndim - 1))
        x = problem.masked(first if kept else ~first, at, baseline)
        scores[rows] = problem.scores(x, at, probability)
    return scores.reshape(samples, steps)


def ranked(values: Array, seed: int = 0) -> Array:
    """The place [N, P] of each value in its row, 0 for the largest; equal values in an order drawn by the seed."""
    drawn = np.random.default_rng(seed).permutation(values.shape[1])
    order = drawn[np.argsort(-values[:, drawn], axis=1, kind="stable")]
    ranks = np.empty(order.shape, np.intp)
    np.put_along_axis(ranks, order, np.arange(values.shape[1])[None], axis=1)
    return ranks


def regions_of(grid: tuple[int, ...], cells: int) -> Array:
    """The region of each place of a grid, flat: at most `cells` equal ones along each axis."""
    regions = np.zeros(grid, np.intp)
    for axis, length in enumerate(grid):
        several = min(length, cells)
        part = np.arange(length) * several // length
        regions = regions * several + part.reshape([-1 if i == axis else 1 for i in range(len(grid))])
    return regions.reshape(-1)


def _counts(parts: int, steps: int, share: float) -> Array:
    """How many of the parts are taken at each step, from none to `share` of them."""
    return np.rint(np.linspace(0, share * parts, min(steps, parts) + 1)).astype(np.intp)
