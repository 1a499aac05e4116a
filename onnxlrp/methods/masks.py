"""What methods share that hide parts of a sample: the scores of masked samples, and masks of low resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .problem import Problem, cast
from .registry import Array

SCORES = ("probability", "logit")


def rounds(problem: Problem, count: int) -> Iterator[slice]:
    """Pieces of `count` masks for the batches: each mask hides parts of all problems, so that stopping is fair."""
    n = len(problem.x)
    for piece in problem.track(count * n, problem.rows(n) * n):
        yield slice(piece.start // n, piece.stop // n)


def masked_scores(problem: Problem, masks: Array, baseline: Array, score: str) -> Array:
    """The explained classes' scores [r, N] under masks [r, N or 1, *grid], the baseline [N, …] in what is hidden."""
    r, n = len(masks), len(problem.x)
    wide = np.broadcast_to(masks, (r, n, *masks.shape[2:])).reshape(r * n, *masks.shape[2:])
    return scores(problem, problem.masked(wide, np.tile(np.arange(n), r), baseline), score)


def scores(problem: Problem, x: Array, score: str) -> Array:
    """The explained classes' scores [r, N] of rows [r·N, …], the N problems one after the other in each round."""
    n = len(problem.x)
    at = np.arange(len(x)) % n
    return problem.scores(cast(x, problem.x.dtype), at, probability=score == "probability").reshape(-1, n)


def background(problem: Problem, name: str, picture: str, seed: int = 0) -> tuple[str, Array]:
    """(name, baseline [N, …]): a baseline of the problem; "auto" is `picture` for a picture, zero for other arrays."""
    name = (picture if is_picture(problem) else "zero") if name == "auto" else name
    return name, problem.baseline(name, np.random.default_rng(seed))


def is_picture(problem: Problem) -> bool:
    """Whether the input has height and width, with channels or without."""
    return problem.kind.is_image


def upsampling(fine: int, coarse: int) -> Array:
    """The matrix [fine, coarse] of linear interpolation between centres of cells, constant beyond the outer ones."""
    if coarse == 1:
        return np.ones((fine, 1))
    place = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    low = np.minimum(place.astype(int), coarse - 2)
    made = np.zeros((fine, coarse))
    made[np.arange(fine), low] = 1 - (place - low)
    made[np.arange(fine), low + 1] = place - low
    return made


def stretched(cells: Array, matrices: Sequence[Array]) -> Array:
    """Cells [r, c₁, c₂, …] at higher resolution [r, d₁, d₂, …]: a matrix [dₖ, cₖ] an axis, or one a row too."""
    for matrix in matrices:
        rest = cells.shape[2:]
        wide = matrix @ cells.reshape(len(cells), cells.shape[1], -1)
        cells = np.moveaxis(wide.reshape(len(cells), -1, *rest), 1, -1)
    return cells
