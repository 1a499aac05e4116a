"""The method of rules that a model is explained best by: measured on pictures, by patches (ABPC)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import OnnxLrpError, UsageError
from ..methods.default import ATTENTION, default_method
from ..methods.registry import Array
from ..model import Model
from .results import Evaluation, summary

CHANCE = 0.025  # of a win where nothing is better
LEAST = 4  # pictures: of fewer, one that is left out is too much
_DRAWS = 10_000
_DENSE, _FIRST = (0.02, 0.05, 0.1, 0.25), (0.25, 1.0)
_NETWORKS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("epsilon_plus_flat", {}),
    ("epsilon_plus", {}),
    ("epsilon_alpha2_beta1", {}),
    ("epsilon_alpha2_beta1_flat", {}),
    ("epsilon_gamma_box", {}),
    ("epsilon", {}),
    *(("gamma", {"gamma": gamma}) for gamma in (0.1, 0.25, 1.0)),
)


class Candidate(NamedTuple):
    """A method with options.

    Attributes:
        method: The method's name.
        options: Its options.
    """

    method: str
    options: Mapping[str, Any]

    def __str__(self) -> str:
        return " ".join([self.method, *(f"{key}={value:g}" for key, value in self.options.items())])


class Choice(NamedTuple):
    """What the measurement of candidates says.

    Attributes:
        best: The index of the candidate with the largest mean.
        mean: That mean.
        gain: How much more than the default the choice gives on a picture that it was not made on: the mean over
            pictures, each left out once.
        low: The lower bound of the 95 % bootstrap interval of the gain.
        high: The upper bound.
        pairs: On how many pictures the choice was better than the default.
        chance: The probability that the best of as many candidates is so far above the default where none is better.
    """

    best: int
    mean: float
    gain: float
    low: float
    high: float
    pairs: int
    chance: float

    @property
    def wins(self) -> bool:
        """Whether the best candidate is to replace the default."""
        return self.best != 0 and self.low > 0 and self.chance <= CHANCE


def candidates(model: Model, pictures: bool = True) -> list[Candidate]:
    """Return the candidates for a model, its default first.

    With attention: the value path or AttnLRP, γ of dense layers, γ of the first layer or flat there. Else the presets
    of networks of convolutions, those that need no bounds that nobody states.

    Args:
        model: The model.
        pictures: Preprocessing makes the inputs; it gives zBox its bounds.
    """
    found: list[tuple[str, Mapping[str, Any]]] = []
    if default_method(model.kind, model.graph).name == ATTENTION:
        found += [("attention", {"gamma": g, "first_gamma": f}) for g in _DENSE for f in _FIRST]
        found += [("attention_flat", {"gamma": g}) for g in _DENSE]
        found += [("attnlrp", {"gamma": g, "first_gamma": f}) for g in (0.0, 0.05, 0.25) for f in _FIRST]
        found += [("epsilon_plus_flat", {})]
    else:
        found += _NETWORKS
    default = Candidate(model.default_method.name, dict(model.default_method.options))
    made = [default]
    for method, options in found:
        if (one := Candidate(method, options)) != default and _fits(model, one, pictures):
            made.append(one)
    return made


def _fits(model: Model, one: Candidate, pictures: bool) -> bool:
    try:
        model.prepare(method=one.method, pictures=pictures, **one.options)
    except OnnxLrpError:
        return False
    return True


def choose(values: Array, seed: int = 0) -> Choice:
    """Choose the best candidate, and tell by leaving out one picture at a time what the choice is worth.

    For each picture the candidate is chosen that is best on all others; its gain is its value there less that of the
    default. Folds share the pictures that they choose on, so that this interval alone lies above 0 too often where many
    candidates are noise (in one of ten runs, with twelve of them). So `chance` tells how often the best of as many
    candidates is so far above the default where none is better.

    Args:
        values: A value of each candidate on each picture [candidates, pictures], the default first.
        seed: The seed of the bootstrap and of the signs.

    Raises:
        UsageError: There are fewer than four pictures.
    """
    count = values.shape[1]
    if count < LEAST:
        raise UsageError(f"{count} pictures: too few to choose on", f"give {LEAST} or more")
    others = values.sum(axis=1, keepdims=True) - values
    picked = others.argmax(axis=0)
    gains = values[picked, np.arange(count)] - values[0]
    mean, low, high = summary(gains, seed)
    best = int(values.mean(axis=1).argmax())
    pairs = int((gains > 0).sum())
    return Choice(best, float(values[best].mean()), float(mean), float(low), float(high), pairs, _chance(values, seed))


def _chance(values: Array, seed: int) -> float:
    """The share of draws in which the largest mean difference from the first candidate is as large.

    The deviations of the differences from their means get random signs, of one picture the same for all candidates; a
    candidate that is clearly worse than the default stays so (Hansen, A test for superior predictive ability, 2005).
    """
    differences = values - values[0]
    count = values.shape[1]
    means = differences.mean(axis=1)
    errors = differences.std(axis=1, ddof=1) / np.sqrt(count)
    worse = np.where(means < -np.sqrt(2 * np.log(np.log(count))) * errors, means, 0.0)
    rest = (differences - means[:, np.newaxis]) * np.sqrt(count / (count - 1))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_DRAWS, count))
    drawn = (signs @ rest.T / count + worse).max(axis=1)
    return float((1 + (drawn >= means.max() - 1e-12).sum()) / (1 + _DRAWS))


def measured(found: Evaluation, asked: Sequence[Candidate]) -> Array:
    """Return the values of candidates on pictures [candidates, pictures] of an evaluation by `abpc`.

    Args:
        found: The evaluation, its methods named as the candidates.
        asked: The candidates.
    """
    return np.array([found.cell(str(one), "abpc").values for one in asked], np.float64)
