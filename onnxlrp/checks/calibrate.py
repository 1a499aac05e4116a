"""Thresholds from measurements: what changes where nothing changed, and how far from that a limit should be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..explanation import Explanation, maps
from ..findings.finding import Finding, MissingData
from . import budgets
from .case import Case
from .numerics import spread
from .registry import asked, thresholds
from .settings import Settings

Array = npt.NDArray[Any]

MARGIN = 10.0  # times the noise of rounding: another machine rounds otherwise
_SHAKEN = 2.0  # times the change by noise in the input, which is more than any decoder of pictures makes
_SLACK = 1.25  # times what is measured, where no noise is known


@dataclass(frozen=True)
class Proposal:
    """A threshold of a check: what was `measured`, the `value` to set, and what was measured in words."""

    check: str
    threshold: str
    value: float
    measured: float
    why: str


@dataclass(frozen=True)
class Noise:
    """The largest change of any sample where nothing that matters changed: of its `logits` as a share of the largest,
    and of its pooled map as 1 − cosine. `repeated` is the change of relevance in the same run again."""

    repeated: float
    logits: float
    maps: float


def proposals(case: Case) -> list[Proposal]:
    """Thresholds for this model on these samples; checks without their data get none. Raises Missing, NothingToDo."""
    return [made for family in (_of_noise, _of_places, _of_budgets) for made in family(case)]


def rounding(case: Case) -> Noise:
    """The same run again, and each sample alone."""
    again = case.explain(case.model, case.samples, case.targets)
    one = Case(case.model, replace(case.settings, batch_size=1), case.given)
    return _largest(case, [again, one.explain(case.model, case.samples, case.targets)])


def shaken(case: Case) -> Noise:
    """Uniform noise of half a grey level in the input, or of half a 255th of the range of its values."""
    x = case.samples.values
    if case.samples.pictures:
        low, high = case.model.preprocessing.bounds()
    else:
        low, high = np.asarray(x.min(), np.float64), np.asarray(x.max(), np.float64)
    moved = x + np.random.default_rng(0).uniform(-0.5, 0.5, x.shape) * (high - low) / 255
    moved = (np.rint(moved) if x.dtype.kind in "iu" else moved).astype(x.dtype)
    return _largest(case, [case.explain(case.model, moved, case.targets)])


def _largest(case: Case, runs: Sequence[Explanation]) -> Noise:
    first, now = maps.pooled(case.maps), case.explanation
    return Noise(
        float(spread(now.relevance, runs[0].relevance).max()),
        max(float(spread(now.output, run.output).max()) for run in runs),
        max(1 - float(maps.cosine(first, maps.pooled(case.heat(run))).min()) for run in runs),
    )


def to_toml(found: Sequence[Proposal]) -> str:
    """The `[checks.…]` tables of an onnxlrp.toml, with what was measured and the default beside each number."""
    lines: list[str] = []
    for id in dict.fromkeys(proposal.check for proposal in found):
        lines += ["", f"[checks.{id}]"]
        for p in found:
            if p.check == id:
                default = thresholds(id)[p.threshold]
                said = "no default" if default is None else f"default {default:g}"
                lines.append(f"{p.threshold} = {_written(p.value)}  # measured {p.measured:.4g}: {p.why}; {said}")
    return "\n".join(lines[1:]) + "\n" if lines else ""


def _of_noise(case: Case) -> Iterator[Proposal]:
    exact, moved = rounding(case), shaken(case)
    yield Proposal("deterministic", "tolerance", _up(MARGIN * exact.repeated), exact.repeated, "the same run again")
    why = "the worst of a second run, each sample alone, and half a grey level of noise"
    limit = max(MARGIN * exact.logits, _SHAKEN * moved.logits, 1e-4)
    yield Proposal("logits", "relative", _up(limit), max(exact.logits, moved.logits), why)
    limit = max(MARGIN * exact.maps, _SHAKEN * moved.maps, 1e-4)
    yield Proposal("drift", "cosine", max(0.0, 1 - _up(limit)), 1 - max(exact.maps, moved.maps), why)
    if case.explanation.ledger:
        worst = max(finding.value or 0.0 for finding in _found(case, "ledger"))
        yield Proposal("ledger", "residual", _up(max(MARGIN * worst, 1e-5)), worst, "the largest residual")


def _of_places(case: Case) -> Iterator[Proposal]:
    for id, threshold in (("border", "lift"), ("corners", "lift")):
        values = [finding.value for finding in _found(case, id) if finding.value is not None]
        if values:
            why = "the largest of all samples and of each class; look at it before it is allowed"
            yield Proposal(id, threshold, _up(_SLACK * max(values)), max(values), why)
    lifts = [finding.value for finding in _found(case, "inside") if finding.value is not None]
    if lifts:
        yield Proposal("inside", "lift", _down(min(lifts) / _SLACK), min(lifts), "the least of the samples")
    for finding in _found(case, "pointing"):
        if finding.value is not None:
            rate = finding.value
            error = math.sqrt(rate * (1 - rate) / len(lifts)) if lifts else 0.0
            why = "less two standard errors"
            yield Proposal("pointing", "rate", max(0.0, _down(rate - 2 * error)), rate, why)
    for finding in _found(case, "randomised"):
        if finding.value is not None:
            halfway = _down((1 + finding.value) / 2)
            yield Proposal("randomised", "cosine", halfway, finding.value, "halfway to 1, where nothing would change")


def _of_budgets(case: Case) -> Iterator[Proposal]:
    forward, whole = budgets.measured(case, 5)
    yield Proposal("latency", "explain_ms", _up(2 * whole), whole, "twice the median of 5 runs of one sample")
    yield Proposal(
        "latency", "forwards", _up(1.5 * whole / forward), whole / forward, "one and a half times the median"
    )
    try:
        peak = budgets.peak(case)
    except MissingData:
        return
    yield Proposal("memory", "peak_mb", _up(_SLACK * peak), peak, "the process, all samples")


def _found(case: Case, id: str) -> list[Finding]:
    """The findings of a check with its default thresholds, none where its data is missing."""
    try:
        return list(asked(id, Settings())(case))
    except MissingData:
        return []


def _up(value: float) -> float:
    """Two digits, rounded up."""
    return _rounded(value, math.ceil)


def _down(value: float) -> float:
    return _rounded(value, math.floor)


def _rounded(value: float, direction: Any) -> float:
    if value == 0:
        return 0.0
    digits = 1 - math.floor(math.log10(abs(value)))
    # The quotient is rounded first, so that 0.3 stays 0.3.
    return float(f"{direction(round(value * 10.0**digits, 6)) / 10.0**digits:.12g}")


def _written(value: float) -> str:
    text = f"{value:.12g}"
    return text if any(c in text for c in ".e") else f"{text}.0"
