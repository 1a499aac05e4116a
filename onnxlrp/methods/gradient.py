"""Gradient methods: at the input, along a path to it, or around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError, at_least, did_you_mean
from ..graph.graph import Graph
from ..inputs import InputKind
from .baselines import baseline, deviation, starts
from .problem import Problem, cast
from .registry import Array, Attribution, method

NORMS = ("squared", "l2", "linf", "signed")


@method("sensitivity", paper="Morch et al. 1995; Baehrens et al. 2010; Simonyan et al. 2014", passes="1 + 1 gradient")
@dataclass(frozen=True)
class Sensitivity:
    """R = (∂f/∂x)²: the sensitivity of the score, not its composition; ΣR = ‖∇f‖².

    Args:
        norm: "squared", or "l2" and "linf", which join the channels of a pixel to sqrt(Σ(∂f/∂x)²) and max|∂f/∂x|.

    Raises:
        UsageError: There is no such norm.

    References:
        Morch et al., Visualization of neural networks using saliency maps, ICNN 1995.
        Baehrens et al., How to explain individual classification decisions, JMLR 2010.
        Simonyan et al., Deep inside convolutional networks: visualising image classification models and saliency maps,
        ICLR workshop 2014.
    """

    norm: str = "squared"

    def __post_init__(self) -> None:
        if self.norm not in NORMS[:3]:
            raise UsageError(f'sensitivity has no norm "{self.norm}"', did_you_mean(self.norm, NORMS[:3]))

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        slope = problem.gradient(problem.x, np.arange(len(problem.x))).astype(np.float64)
        if self.norm == "squared":
            return Attribution(slope**2)
        channels = problem.kind.channels_last(slope)
        joined = np.sqrt((channels**2).sum(axis=-1)) if self.norm == "l2" else np.abs(channels).max(axis=-1)
        return Attribution(problem.on_channels(joined))


@method("gradient_x_input", paper="Shrikumar et al. 2016", passes="1 + 1 gradient")
@dataclass(frozen=True)
class GradientTimesInput:
    """R = x ⊙ ∇f: LRP-0 on a network of ReLUs without biases.

    References:
        Shrikumar et al., Not just a black box: learning important features through propagating activation differences,
        2016.
    """

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        slope = problem.gradient(problem.x, np.arange(len(problem.x)))
        return Attribution(problem.x.astype(np.float64) * slope)


@method("integrated_gradients", paper="Sundararajan et al. 2017", passes="steps, each with a gradient")
@dataclass(frozen=True)
class IntegratedGradients:
    """R = (x - x₀) ⊙ ∫₀¹ ∇f(x₀ + t (x - x₀)) dt, by the midpoint rule; ΣR = f(x) - f(x₀) up to the error it reports.

    Args:
        baseline: x₀: "auto" (black for a picture, zero for other inputs), "black", "white", "grey" or "mean" pixels,
            "blur", "noise", "zero" of the model's input, or a sample: an array or an .npy file (of several, the mean).
        steps: Points of the path at which the gradient is taken.
        seed: Seed of a random baseline.

    Raises:
        UsageError: `steps` is less than 1.

    References:
        Sundararajan et al., Axiomatic attribution for deep networks, ICML 2017.
    """

    baseline: str | Array = "auto"
    steps: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, whole=True, steps=self.steps)

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        x = problem.x.astype(np.float64)
        name, start = baseline(problem, self.baseline, "black", self.seed)
        shares = (np.arange(self.steps) + 0.5) / self.steps

        def point(at: Array, n: Array) -> Array:
            t = shares[n].reshape(-1, *[1] * (x.ndim - 1))
            return start[at] + t * (x[at] - start[at])

        mean, done = _mean(problem, self.steps, point)
        relevance = (x - start) * mean
        rows = np.arange(len(x))
        reached = problem.scores(problem.x, rows) - problem.scores(cast(start, problem.x.dtype), rows)
        total = relevance.reshape(len(x), -1).sum(axis=1)
        return Attribution(
            relevance, {"baseline": name, "steps": done, "difference": reached, "completeness error": total - reached}
        )


@method("expected_gradients", paper="Erion et al. 2021", passes="samples, each with a gradient")
@dataclass(frozen=True)
class ExpectedGradients:
    """R = E[(x - x₀) ⊙ ∇f(x₀ + t (x - x₀))] over several baselines x₀ and t uniform in [0, 1].

    The baselines are, in turn, the samples of a background; without one black, white, grey and mean pixels, blur and
    noise of a picture, and zero for other inputs.

    Args:
        samples: Pairs of a baseline and a t, for each input.
        background: Samples in the model's own layout, such as of the training set: an array or an .npy file.
        seed: Seed of all random numbers.

    Raises:
        UsageError: `samples` is less than 1.

    References:
        Erion et al., Improving performance of deep learning models with axiomatic attribution priors and expected
        gradients, Nature Machine Intelligence 2021.
    """

    samples: int = 64
    background: str | Array = ""
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, whole=True, samples=self.samples)

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        x, rng = problem.x.astype(np.float64), np.random.default_rng(self.seed)
        name, found = starts(problem, self.background, rng)
        # Strata of t in random order, so that each baseline covers all of the path.
        shares = rng.permutation((np.arange(self.samples) + rng.random(self.samples)) / self.samples)

        def ends(at: Array, n: Array) -> tuple[Array, Array]:
            start = found[n % len(found), at]
            t = shares[n].reshape(-1, *[1] * (x.ndim - 1))
            return start, start + t * (x[at] - start)

        mean, done = _mean(
            problem, self.samples, lambda at, n: ends(at, n)[1], lambda at, n, slope: (x[at] - ends(at, n)[0]) * slope
        )
        return Attribution(mean, {"baselines": name, "samples": done})


@method("smooth_grad", paper="Smilkov et al. 2017", passes="samples, each with a gradient")
@dataclass(frozen=True)
class SmoothGrad:
    """R = E[∇f(x + ε)], ε normal: the mean gradient of noisy copies of the input.

    Args:
        samples: Noisy copies of each input.
        sigma: Standard deviation of the noise: as a share of a picture's range, of each channel's range of a signal or
            volume, of each feature's own deviation in a background; absolute for a vector without one.
        background: Samples in the model's own layout, such as of the training set: an array or an .npy file.
        times_input: Multiply the mean gradient by x.
        seed: Seed of all random numbers.

    Raises:
        UsageError: `samples` is less than 1.

    References:
        Smilkov et al., SmoothGrad: removing noise by adding noise, 2017.
    """

    samples: int = 32
    sigma: float = 0.15
    background: str | Array = ""
    times_input: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, whole=True, samples=self.samples)

    def check(self, graph: Graph, kind: InputKind) -> None:
        """Raise UsageError where a mean slope says nothing: for a token, whose embedding has many."""
        if kind.name == "tokens" and not self.times_input:
            raise UsageError(
                "smooth_grad gives a slope for each value, and a token has as many as its embedding is wide",
                "multiply by the embedding: --times-input true (in Python times_input=True)",
            )

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        said, deviated = deviation(problem, self.sigma, self.background)
        mean, done = _mean(problem, self.samples, _noisy(problem, deviated, self.seed))
        return Attribution(problem.x * mean if self.times_input else mean, {"samples": done, "noise": said})


@method("var_grad", paper="Adebayo et al. 2018", passes="samples, each with a gradient")
@dataclass(frozen=True)
class VarGrad:
    """R = Var[∇f(x + ε)], ε normal: high variance of the gradient over noisy copies of the input.

    Args:
        samples: Noisy copies of each input.
        sigma: Standard deviation of the noise: as a share of a picture's range, of each channel's range of a signal or
            volume, of each feature's own deviation in a background; absolute for a vector without one.
        background: Samples in the model's own layout, such as of the training set: an array or an .npy file.
        seed: Seed of all random numbers.

    Raises:
        UsageError: `samples` is less than 1.

    References:
        Adebayo et al., Local explanation methods for deep neural networks lack sensitivity to parameter values, ICLR
        workshop 2018.
    """

    samples: int = 32
    sigma: float = 0.15
    background: str | Array = ""
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, whole=True, samples=self.samples)

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        said, deviated = deviation(problem, self.sigma, self.background)
        noisy = _noisy(problem, deviated, self.seed)
        both = np.zeros((2, *problem.x.shape))

        def moments(at: Array, n: Array, slope: Array) -> Array:
            np.add.at(both[0], at, slope)
            np.add.at(both[1], at, slope**2)
            return slope

        _, done = _mean(problem, self.samples, noisy, moments)
        return Attribution(np.maximum(both[1] / done - (both[0] / done) ** 2, 0), {"samples": done, "noise": said})


def _noisy(problem: Problem, deviated: Array, seed: int) -> Callable[[Array, Array], Array]:
    """Return the function of the n-th noisy copy of x[at], which does not depend on the batches."""

    def point(at: Array, n: Array) -> Array:
        noise = np.stack([np.random.default_rng((seed, int(k))).normal(size=problem.x.shape[1:]) for k in n])
        moved: Array = problem.x[at] + (deviated if len(deviated) == 1 else deviated[at]) * noise
        return moved

    return point


def _mean(
    problem: Problem,
    count: int,
    point: Callable[[Array, Array], Array],
    weigh: Callable[[Array, Array, Array], Array] | None = None,
) -> tuple[Array, int]:
    """Compute the mean of the gradients at `count` points of each sample, and how many points were used.

    The n-th points of all samples come before their next ones, so that an interrupted run is a mean too.

    Args:
        problem: The samples.
        count: Points of each sample.
        point: Gives the points of samples and numbers of points.
        weigh: Changes the gradients of samples, numbers and gradients; None to leave them.
    """
    total, done = np.zeros(problem.x.shape), 0
    for rows in _rounds(problem, count):
        at, n = rows % len(problem.x), rows // len(problem.x)
        slope = problem.gradient(cast(point(at, n), problem.x.dtype), at).astype(np.float64)
        np.add.at(total, at, slope if weigh is None else weigh(at, n, slope))
        done = int(n[-1]) + 1
    return total / done, done


def _rounds(problem: Problem, count: int) -> Iterator[Array]:
    """Yield the rows of batches, each of whole rounds of all samples."""
    several = problem.rows(len(problem.x)) * len(problem.x)
    for piece in problem.track(count * len(problem.x), several):
        yield np.arange(piece.start, piece.stop)
