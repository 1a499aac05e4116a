"""Perturbation: the score falls, or rises, as parts are removed, or restored, in the order of their relevance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import UsageError, at_least, one_of
from ...methods.baselines import baseline
from ...methods.masks import SCORES
from ...methods.problem import Problem
from ...methods.registry import Array
from ..context import EvaluationContext, flat
from .registry import Curve, Measurement, metric


@metric("pixel_flipping", paper="Samek et al. 2017", better="higher")
@dataclass(frozen=True)
class PixelFlipping:
    """AOPC: the mean over steps k of f(x) - f(x with the k most relevant regions replaced).

    Regions are ordered by their mean relevance; f is the score of the explained class.

    Args:
        cells: Regions along each axis of the picture.
        steps: Equal steps from no region to `share` of them.
        share: The share of regions that is replaced in the end, above 0 and at most 1.
        baseline: What regions are replaced by, a word of `Problem.baseline` or an .npy file; "auto" is noise between
            the bounds of a picture, and zero for other inputs.
        score: "logit" or "probability".
        seed: The seed of the noise, and of the order of equal regions.

    References:
        Samek et al. 2017, "Evaluating the visualization of what a deep neural network has learned".
    """

    cells: int = 16
    steps: int = 16
    share: float = 0.25
    baseline: str = "auto"
    score: str = "logit"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, whole=True, cells=self.cells, steps=self.steps)
        at_least(1e-9, share=self.share)
        if self.share > 1:
            raise UsageError(f"share={self.share}", "give a share of the regions, above 0 and at most 1")
        one_of(SCORES, score=self.score)

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""
        regions = regions_of(context.problem.grid, self.cells)
        sizes = np.bincount(regions)
        means = np.stack([np.bincount(regions, heat) / sizes for heat in flat(context.maps)])
        ranks = ranked(means, self.seed)[:, regions].reshape(context.maps.shape)
        counts = _counts(len(sizes), self.steps, self.share)
        _, hidden = baseline(context.problem, self.baseline, "noise", self.seed)
        scores = masked_scores(
            context.problem, ranks, counts, hidden, kept=False, probability=self.score == "probability"
        )
        curve = Curve(counts / len(sizes), scores, "share replaced", self.score)
        return Measurement((scores[:, :1] - scores).mean(axis=1), {"": curve})


@metric("abpc", paper="Schulz et al. 2020; Achtibat et al. 2024", better="higher", controls=True)
@dataclass(frozen=True)
class AreaBetweenCurves:
    """ABPC: the mean score with the least relevant patches replaced first, less that with the most relevant first.

    Patches are ordered by the sum of their relevance. Both means are over equal steps, from no patch to all of them.

    Args:
        cells: Patches along each axis of the picture: 14 are the patches of 16 pixels of a ViT at 224 x 224.
        steps: Equal steps from no patch to all of them.
        baseline: What patches are replaced by: a word of `Problem.baseline` or an .npy file; "auto" is the picture
            under a Gaussian of σ 20 pixels, 51 wide, and zero for other inputs.
        score: "logit" or "probability".
        seed: The seed of the order of equal patches, and of the baseline.

    References:
        Schulz et al. 2020, "Restricting the flow: Information bottlenecks for attribution".
        Achtibat et al. 2024, "AttnLRP: Attention-aware layer-wise relevance propagation for transformers".
    """

    cells: int = 14
    steps: int = 14
    baseline: str = "auto"
    score: str = "logit"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, whole=True, cells=self.cells, steps=self.steps)
        one_of(SCORES, score=self.score)

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""
        problem = context.problem
        regions = regions_of(problem.grid, self.cells)
        sums = np.stack([np.bincount(regions, heat) for heat in flat(context.maps)])
        counts = _counts(sums.shape[1], self.steps, 1.0)
        if self.baseline == "auto" and problem.kind.is_image:
            hidden = gaussian(problem.x, tuple(1 + axis for axis in problem.kind.spatial_axes))
        else:
            _, hidden = baseline(problem, self.baseline, "blur", self.seed)
        curves = {}
        for name, order in (("least first", -sums), ("most first", sums)):
            ranks = ranked(order, self.seed)[:, regions].reshape(context.maps.shape)
            probability = self.score == "probability"
            scores = masked_scores(problem, ranks, counts, hidden, kept=False, probability=probability)
            curves[name] = Curve(counts / sums.shape[1], scores, "share replaced", self.score)
        least, most = (curve.y.mean(axis=1) for curve in curves.values())
        return Measurement(least - most, curves)


def gaussian(x: Array, axes: tuple[int, ...], sigma: float = 20.0, width: int = 51) -> Array:
    """Blur by a Gaussian along some axes, their edges reflected.

    Args:
        x: An array.
        axes: The axes.
        sigma: The standard deviation, in positions.
        width: The number of weights, odd.

    Returns:
        An array of the same shape in float64.
    """
    offsets = np.arange(width) - width // 2
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    made = x.astype(np.float64)
    for axis in axes:
        n = x.shape[axis]
        turns = max(1, 2 * (n - 1))  # positions until a reflected row comes again
        at = np.abs((np.arange(n)[:, np.newaxis] + offsets + n - 1) % turns - (n - 1))
        matrix = np.zeros((n, n))
        np.add.at(matrix, (np.repeat(np.arange(n), width), at.reshape(-1)), np.tile(kernel, n))
        made = np.moveaxis(np.tensordot(matrix, made, axes=(1, axis)), 0, axis)
    return made


@dataclass(frozen=True)
class _Area:
    """The area under a curve of scores, by trapezoids over shares from 0 to 1."""

    steps: int = 32
    baseline: str = "auto"
    score: str = "probability"
    seed: int = 0
    picture: ClassVar[str] = "zero"  # the baseline of pictures, where none is named
    kept: ClassVar[bool] = False  # whether pixels are restored, or removed

    def __post_init__(self) -> None:
        at_least(1, whole=True, steps=self.steps)
        one_of(SCORES, score=self.score)

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""
        maps = flat(context.maps)
        ranks = ranked(maps, self.seed).reshape(context.maps.shape)
        counts = _counts(maps.shape[1], self.steps, 1.0)
        _, base = baseline(context.problem, self.baseline, self.picture, self.seed)
        scores = masked_scores(
            context.problem, ranks, counts, base, kept=self.kept, probability=self.score == "probability"
        )
        shares = counts / maps.shape[1]
        area = ((scores[:, 1:] + scores[:, :-1]) / 2 * np.diff(shares)).sum(axis=1)
        return Measurement(
            area, {"": Curve(shares, scores, "share shown" if self.kept else "share deleted", self.score)}
        )


@metric("deletion", paper="Petsiuk et al. 2018", better="lower")
@dataclass(frozen=True)
class Deletion(_Area):
    """The area under the score of the explained class while pixels are removed, the most relevant first.

    Args:
        steps: Equal steps from no pixel to all of them.
        baseline: What pixels are replaced by: a word of `Problem.baseline` or an .npy file; "auto" is zero.
        score: "logit" or "probability".
        seed: The seed of the baseline, and of the order of equal pixels.

    References:
        Petsiuk et al. 2018, "RISE: Randomized input sampling for explanation of black-box models".
    """


@metric("insertion", paper="Petsiuk et al. 2018", better="higher")
@dataclass(frozen=True)
class Insertion(_Area):
    """The area under the score of the explained class while pixels are restored, the most relevant first.

    Args:
        steps: Equal steps from no pixel to all of them.
        baseline: What all pixels are at first: a word of `Problem.baseline` or an .npy file; "auto" is the blurred
            picture, and zero for other inputs.
        score: "logit" or "probability".
        seed: The seed of the baseline, and of the order of equal pixels.

    References:
        Petsiuk et al. 2018, "RISE: Randomized input sampling for explanation of black-box models".
    """

    baseline: str = "auto"
    picture: ClassVar[str] = "blur"
    kept: ClassVar[bool] = True


def masked_scores(
    problem: Problem, ranks: Array, counts: Array, baseline: Array, *, kept: bool, probability: bool
) -> Array:
    """Compute the scores of samples while more and more of their parts are replaced.

    Args:
        problem: N samples with their classes.
        ranks: The rank of each part [N, *grid], 0 for the first to be replaced.
        counts: How many parts are replaced at each step [S].
        baseline: What parts are replaced by [N, …].
        kept: Replace all parts but these instead.
        probability: Return probabilities instead of logits.

    Returns:
        The scores [N, S].
    """
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
    """Rank the values of each row [N, P], 0 for the largest; equal values in random order, by the seed."""
    drawn = np.random.default_rng(seed).permutation(values.shape[1])
    order = drawn[np.argsort(-values[:, drawn], axis=1, kind="stable")]
    ranks = np.empty(order.shape, np.intp)
    np.put_along_axis(ranks, order, np.arange(values.shape[1])[None], axis=1)
    return ranks


def regions_of(grid: tuple[int, ...], cells: int) -> Array:
    """Assign the elements of a grid, flattened, to at most `cells` equal regions along each axis."""
    regions = np.zeros(grid, np.intp)
    for axis, length in enumerate(grid):
        several = min(length, cells)
        part = np.arange(length) * several // length
        regions = regions * several + part.reshape([-1 if i == axis else 1 for i in range(len(grid))])
    return regions.reshape(-1)


def _counts(parts: int, steps: int, share: float) -> Array:
    """Return how many parts are replaced at each step, from none to `share` of them."""
    return np.rint(np.linspace(0, share * parts, min(steps, parts) + 1)).astype(np.intp)
