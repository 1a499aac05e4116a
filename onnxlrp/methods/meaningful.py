"""Meaningful perturbation: the smallest mask that deletes a class, or that preserves it, by gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError, at_least, one_of
from ..graph.graph import Graph
from ..inputs import InputKind
from .masks import SCORES, called, scores, upsampled, upsampling
from .problem import Problem
from .registry import Array, Attribution, make_composite, method

GAMES = ("deletion", "preservation")


@method("meaningful_perturbation", paper="Fong & Vedaldi 2017", passes="steps, each with 2 forwards and a gradient")
@dataclass(frozen=True)
class MeaningfulPerturbation:
    """R = 1 - m, where the mask m deletes the class; or R = m, where it preserves the class.

    Deletion: min over m of λ₁ mean(1 - m) + λ₂ Σ_axes mean|Δm|^β + E[f(shift(x) ⊙ m + shift(x₀) ⊙ (1 - m))];
    Preservation: λ₁ mean(m), and -f. m in [0, 1] has a low resolution and is upsampled linearly.

    Args:
        game: "deletion" of the class by the smallest mask, or its "preservation" by the smallest.
        reference: x₀, what hidden pixels become: "blur", "black", "white", "grey", "mean", "noise" or "zero".
        steps: Steps of the optimiser Adam.
        cells: Cells a side of the mask.
        l1: λ₁, the weight of the mask's area.
        tv: λ₂, the weight of its total variation.
        beta: β, the exponent of the total variation.
        jitter: Pixels by which the picture shifts at most in every step, so that m learns no artefact.
        rate: Learning rate of Adam.
        score: The "probability" of the class, as in the paper, or its "logit".
        seed: Seed of all random numbers.

    Raises:
        UsageError: A number is out of its range, or there is no such game or score.

    References:
        Fong and Vedaldi, Interpretable explanations of black boxes by meaningful perturbation, ICCV 2017.
    """

    game: str = "deletion"
    reference: str = "blur"
    steps: int = 150
    cells: int = 28
    l1: float = 0.3
    tv: float = 3.0
    beta: float = 3.0
    jitter: int = 4
    rate: float = 0.1
    score: str = "probability"
    seed: int = 0

    def __post_init__(self) -> None:
        one_of(GAMES, game=self.game)
        at_least(1, whole=True, steps=self.steps, cells=self.cells)
        at_least(0, whole=True, jitter=self.jitter)
        at_least(1, beta=self.beta)
        one_of(SCORES, score=self.score)

    def check(self, graph: Graph, kind: InputKind) -> None:
        """Raise UsageError where the input is no picture of real numbers."""
        dtype = graph.inputs[0].dtype
        if not kind.is_image or np.dtype(dtype).kind != "f":
            raise UsageError(
                f"meaningful_perturbation needs a picture of real numbers, not {dtype} {list(kind.shape)}",
                "use occlusion, lime or kernel_shap",
            )

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        self.check(problem.model.graph, problem.kind)
        rng, n = np.random.default_rng(self.seed), len(problem.x)
        reference = problem.baseline(self.reference, rng)
        sides = [min(self.cells, length) for length in problem.grid]
        up = [upsampling(*lengths) for lengths in zip(problem.grid, sides, strict=True)]
        shifts = rng.integers(-self.jitter, self.jitter + 1, (self.steps, 2))
        game, mask, adam = (1 if self.game == "deletion" else -1), np.full((n, *sides), 0.5), _Adam(self.rate)
        done = 0
        for piece in problem.track(self.steps * n, n):
            done = piece.stop // n
            slope = game * self._slope(problem, reference, upsampled(mask, up), shifts[done - 1])
            down = upsampled(slope, [matrix.T for matrix in up])
            down += self.tv * _variation_slope(mask, self.beta) - game * self.l1 / mask[0].size
            mask = np.clip(mask - adam.step(down), 0, 1)
        fine = upsampled(mask, up)
        relevance = 1 - fine if game == 1 else fine
        left = problem.masked(fine, np.arange(n), reference)
        said = called(problem, self.score)
        notes = {
            "game": self.game,
            "steps": f"{done} of {self.steps}",
            "reference": self.reference,
            f"{said} of x": scores(problem, problem.x, self.score)[0],
            f"{said} of the reference": scores(problem, reference, self.score)[0],
            f"{said} under the mask": scores(problem, left, self.score)[0],
            "area": relevance.mean(axis=(1, 2)),
        }
        return Attribution(problem.on_channels(relevance), notes)

    def _slope(self, problem: Problem, reference: Array, mask: Array, shift: Array) -> Array:
        """Compute ∂f/∂m [N, h, w] at the shifted picture: ∂f/∂y times (picture - reference), summed over channels."""
        x, hidden = (_shifted(problem, array, shift) for array in (problem.x, reference))
        weights = problem.kind.expanded(mask)
        y = (x * weights + hidden * (1 - weights)).astype(problem.x.dtype)
        return problem.kind.summed((x - hidden) * gradient(problem, y, self.score))


def gradient(problem: Problem, x: Array, score: str) -> Array:
    """Compute ∂f/∂x [N, …] of the logit or the probability; for the latter, propagation starts with ∂p/∂z."""
    rows = np.arange(len(x))
    if score == SCORES[1]:
        return problem.gradient(x, rows).astype(np.float64)
    seed = problem.probability_seed(problem.logits(x, rows).astype(np.float64), problem.ids)
    slope: Array = problem.propagate(make_composite("gradient"), x, rows, seed=seed)["relevance"]
    return slope.astype(np.float64)


def _shifted(problem: Problem, x: Array, shift: Array) -> Array:
    """Shift pictures by some pixels, repeating the edge."""
    x = x.astype(np.float64)
    axes = [1 + axis for axis in problem.kind.map_axes]
    for axis, step in zip(axes, shift, strict=True):
        x = np.take(x, np.clip(np.arange(x.shape[axis]) - step, 0, x.shape[axis] - 1), axis=axis)
    return x


def _variation_slope(mask: Array, beta: float) -> Array:
    """Compute the gradient of Σ_axes mean|m(i + 1) - m(i)|^β for each mask [N, h, w]."""
    total = np.zeros(mask.shape)
    for axis in (1, 2):
        step = np.diff(mask, axis=axis)
        if step.size == 0:
            continue
        slope = beta * np.abs(step) ** (beta - 1) * np.sign(step) / step[0].size
        pads = [(0, 0)] * 3
        pads[axis] = (1, 1)
        total -= np.diff(np.pad(slope, pads), axis=axis)
    return total


@dataclass
class _Adam:
    """The Adam optimiser (Kingma & Ba 2015)."""

    rate: float
    mean: Array | float = 0.0
    square: Array | float = 0.0
    count: int = 0

    def step(self, slope: Array) -> Array:
        """Return the step for a gradient."""
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope**2
        mean, square = self.mean / (1 - 0.9**self.count), self.square / (1 - 0.999**self.count)
        return np.asarray(self.rate * mean / (np.sqrt(square) + 1e-12))
