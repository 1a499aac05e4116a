"""Masking, as several methods share it: scores of masked samples, and masks of low resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .problem import Problem, cast
from .registry import Array

SCORES = ("probability", "logit")


def rounds(problem: Problem, count: int) -> Iterator[slice]:
    """Yield slices of `count` masks for the batches; each mask is applied to all samples, so that any stop is fair."""
    n = len(problem.x)
    for piece in problem.track(count * n, problem.rows(n) * n):
        yield slice(piece.start // n, piece.stop // n)


def masked_scores(problem: Problem, masks: Array, baseline: Array, score: str) -> Array:
    """Compute the scores of masked samples.

    Args:
        problem: N samples with their classes.
        masks: Masks [r, N or 1, *grid], 1 where the input is visible.
        baseline: What is shown where it is hidden [N, …].
        score: "probability" or "logit".

    Returns:
        The scores of the explained classes [r, N].
    """
    r, n = len(masks), len(problem.x)
    every = np.broadcast_to(masks, (r, n, *masks.shape[2:])).reshape(r * n, *masks.shape[2:])
    return scores(problem, problem.masked(every, np.tile(np.arange(n), r), baseline), score)


def scores(problem: Problem, x: Array, score: str) -> Array:
    """Compute the scores [r, N] of rows [r·N, …], which are the N samples in each of r rounds."""
    n = len(problem.x)
    at = np.arange(len(x)) % n
    return problem.scores(cast(x, problem.x.dtype), at, probability=score == "probability").reshape(-1, n)


def called(problem: Problem, score: str) -> str:
    """Return what a score is called in notes: "probability" or "logit" of a class; of a regression its "value"."""
    return {"Values": "value", "Distances": "distance", "Pairs": "score"}.get(problem.score_kind, score)


def is_picture(problem: Problem) -> bool:
    """Return whether the input has height and width."""
    return problem.kind.is_image


def upsampling(fine: int, coarse: int) -> Array:
    """Return the matrix [fine, coarse] of linear interpolation between centres of cells, constant beyond them."""
    if coarse == 1:
        return np.ones((fine, 1))
    place = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    low = np.minimum(place.astype(int), coarse - 2)
    made = np.zeros((fine, coarse))
    made[np.arange(fine), low] = 1 - (place - low)
    made[np.arange(fine), low + 1] = place - low
    return made


def upsampled(cells: Array, matrices: Sequence[Array]) -> Array:
    """Upsample cells along every axis.

    Args:
        cells: Values [r, c₁, c₂, …].
        matrices: A matrix [dₖ, cₖ] for each axis, or one for each row [r, dₖ, cₖ].

    Returns:
        Values [r, d₁, d₂, …].
    """
    for matrix in matrices:
        rest = cells.shape[2:]
        product = matrix @ cells.reshape(len(cells), cells.shape[1], -1)
        cells = np.moveaxis(product.reshape(len(cells), -1, *rest), 1, -1)
    return cells
