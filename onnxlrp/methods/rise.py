"""RISE: the mean of random masks, weighted by the score of the masked input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError, at_least, one_of
from .baselines import baseline
from .masks import SCORES, called, is_picture, masked_scores, rounds, upsampled, upsampling
from .problem import Problem
from .registry import Array, Attribution, method


@method("rise", paper="Petsiuk et al. 2018", passes="samples")
@dataclass(frozen=True)
class RISE:
    """R_i = 1/(n p₁) Σ_k f(x ⊙ m_k) m_k(i): an estimate of the expected score while i is visible.

    A mask m is a grid of cells, each 1 with probability p₁ and else 0, enlarged by linear interpolation to cells + 1
    steps and cut out at a random shift.

    Args:
        samples: n, the number of masks; the paper takes 4000 to 8000.
        cells: Cells a side of a mask; 0 is 7 for a picture, and every value by itself in other arrays.
        p1: p₁, the share of cells that are seen.
        baseline: What a hidden pixel becomes: "auto" (zero of the model's input, as in the paper), "black", "white",
            "grey", "mean", "blur", "noise" or "zero", or a sample: an array, an .npy file or a table (of several rows,
            their mean).
        centred: Subtract the mean score, so that 0 means that showing i makes no difference; without it all values are
            positive, as in the paper.
        score: The "probability" of the class, or its "logit".
        seed: Seed of all random numbers.

    Raises:
        UsageError: A number is out of its range, or there is no such score.

    References:
        Petsiuk et al., RISE: randomized input sampling for explanation of black-box models, BMVC 2018.
    """

    samples: int = 1000
    cells: int = 0
    p1: float = 0.5
    baseline: str | Array = "auto"
    centred: bool = True
    score: str = "probability"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, whole=True, samples=self.samples)
        at_least(0, whole=True, cells=self.cells)
        one_of(SCORES, score=self.score)
        if not 0 < self.p1 < 1:
            raise UsageError(f"p1={self.p1}", "give the share of cells that are seen, between 0 and 1")

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        name, hidden = baseline(problem, self.baseline, "zero", self.seed)
        masks = _Masks.draw(problem, self)
        total, found = np.zeros((len(problem.x), *problem.grid)), np.zeros((0, len(problem.x)))
        for piece in rounds(problem, self.samples):
            made = masks[piece]
            new = masked_scores(problem, made[:, None], hidden, self.score)
            flat = made.reshape(len(made), -1).astype(np.float64)
            total += (new.T @ flat).reshape(total.shape)
            found = np.concatenate([found, new])
        heat, mean = total / (len(found) * self.p1), found.mean(axis=0)
        if self.centred:
            heat = heat - mean.reshape(-1, *[1] * len(problem.grid))
        notes = {
            "samples": f"{len(found)} of {self.samples}",
            "cells": "x".join(map(str, masks.cells.shape[1:])),
            "baseline": name,
            f"mean {called(problem, self.score)} of the masked": mean,
        }
        return Attribution(problem.on_channels(heat), notes)


@dataclass(frozen=True, eq=False)
class _Masks:
    """All masks at low resolution.

    Attributes:
        cells: Visible cells [n, c₁, …].
        shifts: The shift of each mask along each axis [n, axes].
        matrices: The upsampling matrix of each axis.
        grid: The shape of the masks.
    """

    cells: Array
    shifts: Array
    matrices: tuple[Array, ...]
    grid: tuple[int, ...]

    @classmethod
    def draw(cls, problem: Problem, rise: RISE) -> _Masks:
        """Draw the masks of a run."""
        wanted = rise.cells or (7 if is_picture(problem) else max(problem.grid))
        counts = [min(wanted, length) for length in problem.grid]
        if problem.x.dtype.kind != "f" and not is_picture(problem) and counts != list(problem.grid):
            raise UsageError(
                f"the input is {problem.x.dtype}, which a mask between 0 and 1 cannot scale",
                "use cells=0, which hides single values; or use occlusion, lime or kernel_shap",
            )
        steps = [-(-length // count) for length, count in zip(problem.grid, counts, strict=True)]
        rng = np.random.default_rng(rise.seed)
        cells = rng.random((rise.samples, *counts)) < rise.p1
        shifts = rng.integers(0, steps, (rise.samples, len(steps)))
        # Cells of a single value need no interpolation.
        matrices = tuple(
            (upsampling((n + 1) * step, n) if step > 1 else np.eye(n)).astype(np.float32)
            for n, step in zip(counts, steps, strict=True)
        )
        return cls(cells, shifts, matrices, problem.grid)

    def __getitem__(self, piece: slice) -> Array:
        """Return masks [r, *grid]; bool where cells are single values."""
        cells = self.cells[piece]
        if cells.shape[1:] == self.grid:
            return cells
        cut = [
            matrix[shift[:, None] + np.arange(length)]
            for matrix, shift, length in zip(self.matrices, self.shifts[piece].T, self.grid, strict=True)
        ]
        return upsampled(cells.astype(np.float32), cut)
