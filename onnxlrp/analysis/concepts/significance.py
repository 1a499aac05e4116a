"""TCAV's scores, and whether they are more than those of random sets: a permutation test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .cav import Fit, mean_difference
from .layer import Array

ALIKE = 0.9999  # cosine of the gradients of all samples with their mean: the layer's rest is linear
EXTREME = 0.05  # a share of sensitive samples this near to 0 or 1 says "all" or "none"


@dataclass(frozen=True, eq=False)
class Verdict:
    """A score beside those of random sets.

    Attributes:
        score: The score of the concept.
        interval: Its 95 % interval over resampled pictures of the concept, the random set and the class.
        null: The scores of random sets.
        level: The level of the test, corrected for the number of tests.
    """

    score: float
    interval: tuple[float, float]
    null: Array
    level: float

    @property
    def centre(self) -> float:
        """The mean score of random sets."""
        return float(self.null.mean())

    @property
    def effect(self) -> float:
        """The distance of the score from the mean of random sets, in their standard deviations."""
        spread = float(self.null.std())
        return (self.score - self.centre) / spread if spread else 0.0

    @property
    def p(self) -> float:
        """The share of sets, the concept's own included, whose score is as far from the mean, to either side."""
        centre = (self.null.sum() + self.score) / (1 + len(self.null))
        far = abs(self.score - centre) * (1 - 1e-9)
        return float(1 + (np.abs(self.null - centre) >= far).sum()) / (1 + len(self.null))

    @property
    def significant(self) -> bool:
        """Whether p is at most the level."""
        return self.p <= self.level


def needed(tests: int, alpha: float) -> int:
    """Return how many random sets tell p below the corrected level α / tests: twenty times as many as just can."""
    return max(999, math.ceil(20 * tests / alpha) - 1)


def sign_score(slopes: Array) -> Array:
    """Return TCAV's score: the share of samples whose derivative along the vector is positive (over axis 0)."""
    return np.asarray((slopes > 0).mean(axis=0))


def mean_slope(slopes: Array) -> Array:
    """Return the mean derivative along the vector (over axis 0)."""
    return np.asarray(slopes.mean(axis=0))


SCORES: dict[str, Callable[[Array], Array]] = {"sign": sign_score, "magnitude": mean_slope}


def is_same_everywhere(gradients_cosine: Array) -> bool:
    """Return whether the gradients of all samples have one direction: then every sample gives the same sign."""
    return bool(gradients_cosine.min() >= ALIKE)


def is_degenerate(null: Array) -> bool:
    """Return whether the sign scores of most random sets are 0 or 1, so that no score can stand out."""
    return bool(((null <= EXTREME) | (null >= 1 - EXTREME)).mean() > 0.5)


def random_sets(samples: int, concept: int, count: int, rng: np.random.Generator) -> Array:
    """Draw sets of the concept's size from all samples, those of the concept included: bool [count, samples].

    Where the concept is nothing special, its own set is one of these, so that p is exact: with p ≤ α in a share α.
    """
    order = rng.permuted(np.tile(np.arange(samples), (count, 1)), axis=1)
    return np.asarray(order < concept)


def judge(
    products: Array,
    concept: int,
    kind: str,
    fit: Fit,
    weights: Array,
    runs: int,
    level: float,
    rng: np.random.Generator,
) -> Verdict:
    """Test a concept.

    Args:
        products: ∂logit/∂a_i · a_j [m, N] of m samples of the class and N of the concept and the random set; the
            concept's come first.
        concept: The number of the concept's samples.
        kind: "sign" or "magnitude".
        fit: Makes the vector of a set.
        weights: What `fit` gives for each random set [count, N].
        runs: Resamplings of the interval.
        level: The corrected level.
        rng: Draws the resamplings.
    """
    score = SCORES[kind]
    own = np.arange(products.shape[1]) < concept
    null = score(products @ weights.T)
    found = float(score(products @ fit(own)))
    return Verdict(found, _interval(products, concept, kind, fit, runs, rng), null, level)


def _interval(
    products: Array, concept: int, kind: str, fit: Fit, runs: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Bootstrap: pictures of the class, the concept and the random set are drawn again with replacement."""
    m, n = products.shape
    own, scores = np.arange(n) < concept, []
    for _ in range(runs):
        rows = rng.integers(m, size=m)
        if fit is mean_difference:
            weights = np.concatenate([_drawn(concept, rng), _drawn(n - concept, rng)])
            vector = np.where(own, weights / concept, 0.0) - weights / n
        else:  # of a classifier, half of either set: it cannot take a sample twice
            kept = np.concatenate([_half(concept, rng), _half(n - concept, rng)])
            vector = np.zeros(n)
            part = type(fit)(fit.coordinates[kept], fit.back, fit.kind)  # type: ignore[attr-defined, call-arg]
            vector = part(own[kept])
        scores.append(SCORES[kind]((products @ vector)[rows]))
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


def _drawn(count: int, rng: np.random.Generator) -> Array:
    return np.bincount(rng.integers(count, size=count), minlength=count)


def _half(count: int, rng: np.random.Generator) -> Array:
    return np.isin(np.arange(count), rng.choice(count, max(2, count // 2), replace=False))
