"""Conservation: relevance adds up to the logit, as a whole and layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..context import EvaluationContext, flat
from .registry import Measurement, metric


@metric("ledger", paper="Bach et al. 2015", better="lower", ledger=True)
@dataclass(frozen=True)
class Ledger:
    """The largest residual of any layer, as a share of its Σ|R|.

    The residual is the relevance that neither the layer below, nor biases, the stabiliser or gates account for. Methods
    that do not redistribute the logit keep no ledger and have no value.

    References:
        Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance
        propagation".
    """

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""
        rows = [row for row in context.explanation.ledger or () if row.conserves]
        if not rows:
            return Measurement(np.full(len(context.samples), np.nan), why="the method keeps no ledger")
        shares = [np.abs(row.residual) / np.maximum(row.scale, 1e-30) for row in rows]
        return Measurement(np.max(shares, axis=0))


@metric("conservation", paper="Bach et al. 2015", better="lower")
@dataclass(frozen=True)
class Conservation:
    """|ΣR - f(x)| / |f(x)|: the distance of the sum of relevance from the logit.

    Biases and gates absorb relevance legitimately; the metric `ledger` shows whether anything else does.

    References:
        Bach et al. 2015, "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance
        propagation".
    """

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""
        logit = context.problem.scores(context.samples.values, np.arange(len(context.samples)))
        apart = np.abs(flat(context.relevance).sum(axis=1) - logit)
        nothing = np.full(len(logit), np.nan)
        return Measurement(np.divide(apart, np.abs(logit), out=nothing, where=logit != 0), why="its logit is 0")
