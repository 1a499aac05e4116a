"""Checks of numerics: finite values, deterministic results, and a ledger that closes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..explanation.ledger import LedgerRow
from ..findings.finding import Finding, MissingData, judged
from .context import CheckContext
from .registry import check

Array = npt.NDArray[Any]


@check("finite", order=10)
@dataclass(frozen=True)
class Finite:
    """Logits and relevance are finite."""

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        fix = "onnxlrp explain --ledger shows the layer; a float16 model may overflow: try --engine reference"
        # Logits first: where they are not finite, relevance may not be computable.
        logits, relevance = context.logits, context.in_order(lambda part: list(part.explanation.relevance))
        for n, name in enumerate(context.names):
            values = (("logits", logits[n]), ("relevance", relevance[n]))
            wrong = {what: int((~np.isfinite(array)).sum()) for what, array in values}
            count = sum(wrong.values())
            wrong_values = " and ".join(f"{bad} values of the {what}" for what, bad in wrong.items() if bad)
            message = f"{wrong_values} are not finite" if wrong_values else "all values are finite"
            yield judged(not count, message, name, count, 0, fix)


@check("deterministic", order=10)
@dataclass(frozen=True)
class Deterministic:
    """Repeated runs give the same logits and the same relevance.

    Args:
        tolerance: The largest |Δ| of logits and relevance, as a share of the largest value.
        repeats: Repeated runs.
    """

    tolerance: float = 0.0
    repeats: int = 1

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        worst = context.in_order(lambda part: list(self._worst(part)))
        fix = "look for random operators (RandomNormal, Dropout in training mode), or allow them: tolerance = 1e-6"
        for name, value in zip(context.names, worst, strict=True):
            message = "identical in every run" if value == 0 else f"differs by {value:.2g} of the largest value"
            yield judged(bool(value <= self.tolerance), message, name, value, self.tolerance, fix)

    def _worst(self, part: CheckContext) -> Array:
        """The largest difference of any run from the first, of samples of one size."""
        first = part.explanation
        worst = np.zeros(len(part.samples))
        for _ in range(self.repeats):
            again = part.explain(part.model, part.samples, part.targets, ledger=part.conserves)
            pairs = [(first.relevance, again.relevance), (first.output, again.output)]
            worst = np.maximum(worst, np.max([relative_difference(a, b) for a, b in pairs], axis=0))
        return worst


@check("ledger", order=10)
@dataclass(frozen=True)
class Ledger:
    """The ledger of every layer closes: relevance in equals relevance out plus what was absorbed.

    Args:
        residual: The largest relevance that no formula accounts for, as a share of the layer's Σ|R|.
    """

    residual: float = 1e-4

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        if not all(part.explanation.ledger for part in context.parts):
            raise MissingData(f"{context.settings.method} keeps no ledger, for it does not redistribute the logit", "")
        for name, worst in zip(context.names, context.in_order(_largest), strict=True):
            error = worst.error
            message = f"largest residual {error:.1e} of Σ|R|, in {worst.layer}"
            fix = 'compare with engine = "reference" (float64), or raise epsilon'
            yield judged(bool(error <= self.residual), message, name, error, self.residual, fix)


def _largest(part: CheckContext) -> list[LedgerRow]:
    """The row with the largest residual of each sample."""
    rows = part.explanation.ledger or ()
    each = ([row.select(np.array([n])) for row in rows] for n in range(len(part.samples)))
    return [max(own, key=lambda row: row.error) for own in each]


def relative_difference(a: Array, b: Array) -> Array:
    """Compute the largest |a − b| of each sample as a share of its largest |a|: [N]; NaN equals NaN."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0, np.abs(a - b))
    size = np.nanmax(np.abs(np.where(np.isfinite(a), a, 0)), axis=1)
    found: Array = np.where(np.isnan(apart), np.inf, apart).max(axis=1) / np.where(size == 0, 1, size)
    return found
