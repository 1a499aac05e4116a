"""KernelSHAP: Shapley values of segments by weighted regression on random coalitions."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from ..errors import at_least, one_of
from .baselines import baseline
from .masks import SCORES, called, masked_scores, rounds, scores
from .problem import Problem
from .registry import Array, Attribution, method
from .segments import segments


@method("kernel_shap", paper="Lundberg & Lee 2017; Covert & Lee 2021", passes="samples + 2")
@dataclass(frozen=True)
class KernelSHAP:
    """R = the Shapley value φ_j of segment j, spread evenly over it; ΣR = f(x) - f(x₀) exactly.

    φ minimises Σ_z k(z) (f(x under z) - f(x₀) - φ·z)² under that constraint, k the Shapley kernel
    (M - 1) / (C(M, |z|) |z| (M - |z|)) of M segments. Where M segments have no more than `samples` coalitions, 2^M,
    all of them are asked and φ is exact; else coalitions are drawn from the kernel, each with its complement.

    Args:
        samples: Coalitions that are drawn at most.
        segments: "auto", "slic", "quickshift", "grid", "values", or an integer array with the segment of each pixel.
        features: The approximate number of segments of a picture.
        baseline: x₀: "auto" (grey for a picture, zero for other arrays), "black", "white", "grey", "mean", "blur",
            "noise" or "zero", or a sample: an array, an .npy file or a table (of several rows,
            their mean).
        score: The "logit" of the class, or its "probability".
        seed: Seed of all random numbers.

    Raises:
        UsageError: A number is out of its range, or there is no such score.

    References:
        Lundberg and Lee, A unified approach to interpreting model predictions, NeurIPS 2017.
        Covert and Lee, Improving KernelSHAP: practical Shapley value estimation using linear regression, AISTATS 2021.
    """

    samples: int = 1000
    segments: str | Array = "auto"
    features: int = 64
    baseline: str | Array = "auto"
    score: str = "logit"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(2, whole=True, samples=self.samples)
        at_least(1, whole=True, features=self.features)
        one_of(SCORES, score=self.score)

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        parts = segments(problem, self.segments, self.features)
        name, start = baseline(problem, self.baseline, "grey", self.seed)
        drawn = [coalitions(self.samples, part.count, self.seed) for part in parts]
        most = max(len(z) for z, _ in drawn)
        empty, full = scores(problem, start, self.score)[0], scores(problem, problem.x, self.score)[0]
        found = np.zeros((0, len(parts)))
        for piece in rounds(problem, most):
            # Samples of fewer segments have fewer coalitions; they repeat their first ones, which are not used.
            rows = np.arange(piece.start, piece.stop)
            masks = np.stack([part.masks(z[rows % len(z)]) for part, (z, _) in zip(parts, drawn, strict=True)], axis=1)
            found = np.concatenate([found, masked_scores(problem, masks, start, self.score)])
        done = len(found)
        values = [
            fit(z[:done], kernel[:done], y[: len(z)] - base, whole - base)
            for (z, kernel), y, base, whole in zip(drawn, found.T, empty, full, strict=True)
        ]
        heat = np.stack([part.spread(phi) for part, phi in zip(parts, values, strict=True)])
        said = called(problem, self.score)
        notes = {
            "coalitions": f"{done} of {most}" + (", all of them" if self._exact(parts[0].count, done) else ""),
            "segments": ", ".join(str(part.count) for part in parts) + f" ({parts[0].kind})",
            "baseline": name,
            f"{said} of x": full,
            f"{said} of the baseline": empty,
        }
        short = [part.count for part in parts if done < part.count - 1]
        if short:
            notes["too few"] = f"{done} coalitions do not determine {max(short)} values; the shortest φ is returned"
        return Attribution(problem.on_channels(heat), notes)

    def _exact(self, count: int, done: int) -> bool:
        return bool(2**count <= self.samples and done >= 2**count - 2)


def coalitions(samples: int, count: int, seed: int) -> tuple[Array, Array]:
    """Draw coalitions of segments.

    All but the empty and the full one where `samples` allow, in random order; else samples of the Shapley kernel with
    equal weights. Each is followed by its complement, which the kernel weighs the same.

    Args:
        samples: How many at most.
        count: The number of segments.
        seed: The seed.

    Returns:
        The visible segments of each coalition, bool [n, count], and its weight [n].
    """
    rng = np.random.default_rng(seed)
    if count == 1:
        return np.zeros((1, 1), bool), np.ones(1)  # the constraint alone decides
    if 2**count <= samples:
        half = np.arange(1, 2 ** (count - 1))  # without the last segment; the complements have it
        picked = (rng.permutation(half)[:, None] >> np.arange(count) & 1).astype(bool)
    else:
        sizes = np.arange(1, count)
        chance = 1 / (sizes * (count - sizes))
        wanted = rng.choice(sizes, (samples + 1) // 2, p=chance / chance.sum())
        places = rng.random((len(wanted), count)).argsort(axis=1).argsort(axis=1)
        picked = places < wanted[:, None]
    seen = np.stack([picked, ~picked], axis=1).reshape(-1, count)
    if 2**count <= samples:
        size = seen.sum(axis=1)
        kernel = (count - 1) / (np.array([comb(count, int(s)) for s in size]) * size * (count - size))
        return seen, kernel
    return seen[:samples], np.ones(len(seen[:samples]))


def fit(seen: Array, kernel: Array, gains: Array, total: float) -> Array:
    """Solve the weighted least squares for φ [count] under the constraint Σφ = total.

    φ is total/M for every segment plus a part that sums to zero, in whose space the least squares are solved; of
    several solutions, the shortest is returned.

    Args:
        seen: Visible segments, bool [n, count].
        kernel: Weights [n].
        gains: f(x under z) - f(x₀) [n].
        total: f(x) - f(x₀).
    """
    count = seen.shape[1]
    z = seen.astype(np.float64)
    left = gains - z.mean(axis=1) * total
    inner = z - z.mean(axis=1, keepdims=True)
    root = np.sqrt(kernel)
    part = np.linalg.lstsq(inner * root[:, None], left * root, rcond=None)[0]
    return np.asarray(total / count + part - part.mean())
