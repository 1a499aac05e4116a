"""Whether relevance adds up: to the logit as a whole, and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from ...explanation import ledger
from .registry import Measured, metric
from .trial import Trial, flat


@metric("ledger", paper="Bach et al. 2015", better="lower", ledger=True)
@dataclass(frozen=True)
class Ledger:
    """The largest residual of any layer as a share of its Σ|R|: what neither the layer below, nor biases, the
    stabiliser or gates account for. Methods that do not distribute the logit keep no ledger and have no answer."""

    def __call__(self, trial: Trial) -> Measured:
        kept = cast("Sequence[ledger.LedgerRow]", trial.explanation.ledger or ())
        rows = [row for row in kept if row.conserves]
        if not rows:
            return Measured(np.full(len(trial.samples), np.nan), why="the method keeps no ledger")
        shares = [np.abs(row.residual) / np.maximum(row.scale, 1e-30) for row in rows]
        return Measured(np.max(shares, axis=0))


@metric("conservation", paper="Bach et al. 2015", better="lower")
@dataclass(frozen=True)
class Conservation:
    """|ΣR - f(x)| / |f(x)|: how far the map is from adding up to the logit that it explains. Biases and gates take
    their part by right: the ledger says whether nothing else does."""

    def __call__(self, trial: Trial) -> Measured:
        logit = trial.problem.scores(trial.samples.values, np.arange(len(trial.samples)))
        apart = np.abs(flat(trial.relevance).sum(axis=1) - logit)
        nothing = np.full(len(logit), np.nan)
        return Measured(np.divide(apart, np.abs(logit), out=nothing, where=logit != 0), why="its logit is 0")
