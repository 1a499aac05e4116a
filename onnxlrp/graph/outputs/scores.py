"""Scores of classes as numbers to show, by the head that they come from."""

from __future__ import annotations

import math

import numpy as np

from ..graph import Array

SEPARATE = ("Sigmoid", "LogSigmoid")
AS_THEY_STAND = ("Scores", "Values", "Distances", "Pairs")  # kinds of logits that are no logarithms of chances
_LOGARITHMS = ("LogSoftmax", "LogSigmoid")
_CLOSE = 1e-3  # how near to 1 the sum of probabilities is, in half precision


def shown(scores: Array, kind: str | None) -> Array:
    """Return the scores that a model gives [N, K] as they are shown.

    Log-probabilities become probabilities, logits of classes their softmax, decisions between pairs of classes their
    votes [N, C]; all else is shown as it is: probabilities, values, one value alone, and logits that are probabilities
    already (never negative, with a sum of 1).

    Args:
        scores: What the model gives, in float64.
        kind: The kind of the head (`Head.kind`); None where it is not known.
    """
    if kind in _LOGARITHMS:
        return np.asarray(np.exp(scores))
    if kind == "Pairs":
        return voted(scores)[0]
    return scores if kind or scores.shape[1] < 2 or are_probabilities(scores) else softmax(scores)


def probabilities(logits: Array, kind: str) -> Array:
    """Return the probabilities that logits [N, K] stand for; scores and values as they are.

    Args:
        logits: The logits, in float64.
        kind: The kind of the head (`Head.kind`).
    """
    if kind in SEPARATE:
        return np.asarray(0.5 + 0.5 * np.tanh(logits / 2))
    return logits if kind in AS_THEY_STAND else softmax(logits)


def voted(decisions: Array) -> tuple[Array, Array]:
    """Return the votes [N, C] that decisions [N, C (C - 1) / 2] between pairs of classes make.

    Args:
        decisions: Those between (0, 1), (0, 2), … (1, 2), …, positive for the first.

    Returns:
        Votes with confidences, v + s / (3 (|s| + 1)), s the sum of the decisions for a class; and votes alone.

    References:
        scikit-learn, `sklearn.utils.multiclass._ovr_decision_function`.
    """
    classes = round((1 + math.sqrt(1 + 8 * decisions.shape[1])) / 2)
    votes, sums = (np.zeros((len(decisions), classes)) for _ in range(2))
    for n, (i, j) in enumerate(zip(*np.triu_indices(classes, 1), strict=True)):
        won = decisions[:, n] > 0
        votes[:, i] += won
        votes[:, j] += ~won
        sums[:, i] += decisions[:, n]
        sums[:, j] -= decisions[:, n]
    return votes + sums / (3 * (np.abs(sums) + 1)), votes


def are_probabilities(scores: Array) -> bool:
    """Return whether each row [K] of scores has no negative number and a sum of 1."""
    return bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=_CLOSE))


def softmax(logits: Array) -> Array:
    """Return e^z / Σ e^z of each row of logits [N, K]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
