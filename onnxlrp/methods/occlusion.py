"""Occlusion: the drop of the score while a window of the input is hidden."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import at_least, one_of
from .baselines import baseline
from .masks import SCORES, called, masked_scores, rounds, scores
from .problem import Problem
from .registry import Array, Attribution, method


@method("occlusion", paper="Zeiler & Fergus 2014", passes="windows + 1: 226 for a picture, unless window is given")
@dataclass(frozen=True)
class Occlusion:
    """R_i = the mean of f(x) - f(x with window w hidden) over the windows w that cover i.

    The last window of a row ends at the edge. Windows come in random order, so that an interrupted run covers all of
    the input.

    Args:
        window: Side of the window in pixels; 0 is an eighth of each side, of a vector one value.
        stride: Step between two windows; 0 is half a window.
        baseline: What a hidden pixel becomes: "auto" (grey for a picture, zero for other arrays), "black", "white",
            "grey", "mean", "blur", "noise" or "zero", or a sample: an array, an .npy file or a table (of several rows,
            their mean).
        score: The "probability" of the class, or its "logit".
        seed: Seed of the order of the windows, and of a random baseline.

    Raises:
        UsageError: A number is out of its range, or there is no such score.

    References:
        Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
    """

    window: int = 0
    stride: int = 0
    baseline: str | Array = "auto"
    score: str = "probability"
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(0, whole=True, window=self.window, stride=self.stride)
        one_of(SCORES, score=self.score)

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        name, hidden = baseline(problem, self.baseline, "grey", self.seed)
        sides = [self._side(problem, length) for length in problem.grid]
        # A stride longer than the window would leave gaps.
        steps = [min(self.stride or max(1, side // 2), side) for side in sides]
        places = [_windows(*sizes) for sizes in zip(problem.grid, sides, steps, strict=True)]
        counts = tuple(len(place) for place in places)
        order = np.random.default_rng(self.seed).permutation(int(np.prod(counts)))
        whole = scores(problem, problem.x, self.score)[0]
        drops = np.zeros((len(problem.x), *problem.grid))
        covers, done = np.zeros(problem.grid), 0
        for piece in rounds(problem, len(order)):
            covered = _boxes(places, np.unravel_index(order[piece], counts))
            found = whole - masked_scores(problem, ~covered[:, None], hidden, self.score)
            drops += np.tensordot(found.T, covered.astype(np.float64), 1)
            covers += covered.sum(axis=0)
            done += len(covered)
        notes = {
            "windows": f"{done} of {len(order)}",
            "window": "x".join(map(str, sides)),
            "stride": "x".join(map(str, steps)),
            "baseline": name,
            called(problem, self.score): whole,
        }
        return Attribution(problem.on_channels(drops / np.maximum(covers, 1)), notes)

    def _side(self, problem: Problem, length: int) -> int:
        alone = problem.kind.name in ("vector", "tokens")
        return min(self.window or (1 if alone else max(1, length // 8)), length)


def _windows(length: int, side: int, step: int) -> Array:
    """Return which positions of an axis each window covers, bool [windows, length]; the last one ends at the edge."""
    starts = np.unique(np.append(np.arange(0, length - side + 1, step), length - side))[:, None]
    place = np.arange(length)
    return np.asarray((place >= starts) & (place < starts + side))


def _boxes(places: list[Array], which: tuple[Array, ...]) -> Array:
    """Combine windows of several axes, bool [r, *grid]; `which` has the window of each axis for each row."""
    made = np.ones(len(which[0]), bool)
    for place, index in zip(places, which, strict=True):
        made = made[..., None] & place[index].reshape(len(index), *[1] * (made.ndim - 1), -1)
    return made
