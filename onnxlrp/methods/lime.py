"""LIME: a linear model of the score as a function of the visible segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError, at_least, one_of
from .baselines import baseline
from .masks import SCORES, masked_scores, rounds
from .problem import Problem
from .registry import Array, Attribution, method
from .segments import averages, segments


@method("lime", paper="Ribeiro et al. 2016", passes="samples")
@dataclass(frozen=True)
class LIME:
    """R = the coefficient w_j of segment j in a ridge regression of the score on the visible segments.

    min over w, b of Σ_k π(z_k) (f(x under z_k) - b - w·z_k)² + α‖w‖², π(z) = sqrt(exp(-d²/σ²)), d the cosine distance
    of z from all ones. z is 1 for visible segments, at random; the first z shows all. w_j is spread evenly over its
    segment.

    Args:
        samples: Random choices of visible segments, each with a forward pass.
        segments: "auto", "slic", "quickshift", "grid", "values", or an integer array with the segment of each pixel.
        features: The approximate number of segments of a picture.
        baseline: What a hidden segment becomes: "segments" (its own mean, as in the lime package), "black", "white",
            "grey", "mean", "blur", "noise" or "zero", or a sample: an array, an .npy file or a table (of several rows,
            their mean);
            "auto" is "segments" where they have several values, else "zero".
        width: σ of the kernel π.
        alpha: α, the ridge strength.
        score: The "probability" of the class, or its "logit".
        seed: Seed of all random numbers.

    Raises:
        UsageError: A number is out of its range, or there is no such score.

    References:
        Ribeiro et al., "Why should I trust you?": explaining the predictions of any classifier, KDD 2016.
    """

    samples: int = 1000
    segments: str | Array = "auto"
    features: int = 64
    baseline: str | Array = "auto"
    width: float = 0.25
    alpha: float = 1.0
    score: str = "probability"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(2, whole=True, samples=self.samples)
        at_least(1, whole=True, features=self.features)
        at_least(0, alpha=self.alpha)
        one_of(SCORES, score=self.score)
        if self.width <= 0:
            raise UsageError(f"width={self.width}", "give the width of the kernel, more than 0")

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        parts = segments(problem, self.segments, self.features)
        asked = self.baseline
        if isinstance(asked, str) and asked == "auto":
            asked = "segments" if parts[0].count < np.prod(problem.grid) else "zero"
        if isinstance(asked, str) and asked == "segments":
            name, hidden = asked, averages(problem, parts)
        else:
            name, hidden = baseline(problem, asked, "grey", self.seed)
        seen = [coalitions(self.samples, part.count, self.seed) for part in parts]
        found = np.zeros((0, len(parts)))
        for piece in rounds(problem, self.samples):
            masks = np.stack([part.masks(z[piece]) for part, z in zip(parts, seen, strict=True)], axis=1)
            found = np.concatenate([found, masked_scores(problem, masks, hidden, self.score)])
        done = len(found)
        fits = [fit(z[:done], y, self.width, self.alpha) for z, y in zip(seen, found.T, strict=True)]
        heat = np.stack([part.spread(weights) for part, (weights, _) in zip(parts, fits, strict=True)])
        notes = {
            "samples": f"{done} of {self.samples}",
            "segments": ", ".join(str(part.count) for part in parts) + f" ({parts[0].kind})",
            "baseline": name,
            "R² of the fit": np.array([r2 for _, r2 in fits]),
        }
        return Attribution(problem.on_channels(heat), notes)


def coalitions(samples: int, count: int, seed: int) -> Array:
    """Draw which of `count` segments each copy shows, bool [samples, count]; the first shows all."""
    made = np.random.default_rng(seed).integers(0, 2, (samples, count)).astype(bool)
    made[0] = True
    return made


def fit(seen: Array, scores: Array, width: float = 0.25, alpha: float = 1.0) -> tuple[Array, float]:
    """Fit the ridge regression.

    The cosine of the angle between z and all ones is sqrt(|z| / count); that of z = 0 counts as 0.

    Args:
        seen: Visible segments, bool [n, count].
        scores: Scores [n].
        width: The width of the kernel.
        alpha: The ridge strength.

    Returns:
        The coefficient of each segment [count], and the weighted R² of the fit.
    """
    z = seen.astype(np.float64)
    distance = 1 - np.sqrt(z.mean(axis=1))
    kernel = np.sqrt(np.exp(-((distance / width) ** 2)))
    share = kernel / kernel.sum()
    z, y = z - share @ z, scores - share @ scores  # the intercept is not penalised
    moments = (z.T * kernel) @ z
    moments[np.diag_indices_from(moments)] += alpha
    weights = np.linalg.lstsq(moments, (z.T * kernel) @ y, rcond=None)[0]
    left, whole = kernel @ (y - z @ weights) ** 2, kernel @ y**2
    constant = whole <= 1e-20 * (kernel @ scores**2)
    return weights, 1.0 if constant else float(1 - left / whole)
