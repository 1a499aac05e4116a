"""Whether the numbers can be trusted: finite, the same every time, and a ledger that closes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..explanation import ledger
from ..findings.finding import Finding, MissingData, judged
from .case import Case
from .registry import check

Array = npt.NDArray[Any]


@check("finite")
@dataclass(frozen=True)
class Finite:
    """Logits and relevance hold no NaN and no infinity."""

    def __call__(self, case: Case) -> Iterable[Finding]:
        fix = "onnxlrp explain --ledger shows the layer; a float16 model may overflow: try --engine reference"
        # What is not finite in the logits is said even where it keeps relevance from being computed.
        logits, relevance = case.logits, case.explanation.relevance
        for n, name in enumerate(case.samples.names):
            wrong = {
                what: int((~np.isfinite(a[n])).sum()) for what, a in (("logits", logits), ("relevance", relevance))
            }
            count = sum(wrong.values())
            said = " and ".join(f"{bad} values of the {what}" for what, bad in wrong.items() if bad)
            message = f"{said} are not finite" if said else "all values are finite"
            yield judged(not count, message, name, count, 0, fix)


@check("deterministic")
@dataclass(frozen=True)
class Deterministic:
    """The same question again gets the same answer: |Δ| of logits and relevance, as a share of the largest value, over
    `repeats` more runs is at most `tolerance`."""

    tolerance: float = 0.0
    repeats: int = 1

    def __call__(self, case: Case) -> Iterable[Finding]:
        first = case.explanation
        worst = np.zeros(len(case.samples))
        for _ in range(self.repeats):
            again = case.explain(case.model, case.samples, case.targets, ledger=case.conserves)
            pairs = [(first.relevance, again.relevance), (first.output, again.output)]
            worst = np.maximum(worst, np.max([spread(a, b) for a, b in pairs], axis=0))
        fix = "look for random operators (RandomNormal, Dropout in training mode), or allow it: tolerance = 1e-6"
        for name, value in zip(case.samples.names, worst, strict=True):
            message = "the same every time" if value == 0 else f"differs by {value:.2g} of the largest value"
            yield judged(bool(value <= self.tolerance), message, name, value, self.tolerance, fix)


@check("ledger")
@dataclass(frozen=True)
class Ledger:
    """Every layer's balance closes: what no formula accounts for is at most `residual` of its Σ|R|."""

    residual: float = 1e-4

    def __call__(self, case: Case) -> Iterable[Finding]:
        rows = cast("Sequence[ledger.LedgerRow]", case.explanation.ledger or ())
        if not rows:
            raise MissingData(f"{case.settings.method} keeps no ledger: it does not distribute the logit", "")
        for n, name in enumerate(case.samples.names):
            worst = max((row.of(np.array([n])) for row in rows), key=lambda row: row.error)
            error = worst.error
            message = f"largest residual {error:.1e} of Σ|R|, in {worst.layer}"
            fix = 'compare with engine = "reference" (float64), or raise epsilon'
            yield judged(bool(error <= self.residual), message, name, error, self.residual, fix)


def spread(a: Array, b: Array) -> Array:
    """The largest |a − b| of each sample as a share of its largest |a|: [N]; NaN equals NaN."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0, np.abs(a - b))
    size = np.nanmax(np.abs(np.where(np.isfinite(a), a, 0)), axis=1)
    found: Array = np.where(np.isnan(apart), np.inf, apart).max(axis=1) / np.where(size == 0, 1, size)
    return found
