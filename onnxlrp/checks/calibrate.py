"""Calibration: thresholds proposed from measurements on this model and these samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..explanation import Explanation, maps
from ..findings.finding import Finding, MissingData
from ..methods.baselines import steps
from ..methods.problem import Problem, cast
from . import budgets
from .context import CheckContext
from .numerics import relative_difference
from .registry import configured, thresholds
from .settings import Settings

Array = npt.NDArray[Any]

MARGIN = 10.0  # times the noise of rounding: other machines round differently
_NOISE_MARGIN = 2.0  # times the change by input noise: more than picture decoders differ
_SLACK = 1.25  # times the measured value, where no noise is known


@dataclass(frozen=True)
class Proposal:
    """A proposed threshold of a check.

    Attributes:
        check: The id of the check.
        threshold: The name of the threshold.
        value: The value to set.
        measured: The value measured.
        why: What was measured, in words.
    """

    check: str
    threshold: str
    value: float
    measured: float
    why: str


@dataclass(frozen=True)
class Noise:
    """The largest change of any sample where nothing that matters changed.

    Attributes:
        repeated: Change of relevance in a repeated run, as a share of the largest relevance.
        logits: Change of logits, as a share of the largest logit.
        maps: Change of the pooled heatmap, as 1 − cosine.
    """

    repeated: float
    logits: float
    maps: float


def proposals(context: CheckContext) -> list[Proposal]:
    """Propose thresholds for this model on these samples; checks without their data get none.

    Raises:
        MissingData: There are no samples.
    """
    return [made for family in (_noise, _localization, _budgets) for made in family(context)]


def rounding(context: CheckContext) -> Noise:
    """Measure the noise of rounding: the same run again, and each sample in a batch of its own."""
    found = []
    for part in context.parts:
        again = part.explain(part.model, part.samples, part.targets)
        one = CheckContext(part.model, replace(part.settings, batch_size=1), part.given)
        found.append(_largest(part, [again, one.explain(part.model, part.samples, part.targets)]))
    return _worst(found)


def input_noise(context: CheckContext) -> Noise:
    """Measure the effect of uniform noise of half a grey level, of what is no picture half of `steps` of 1/255.

    Token ids have no noise that is small: none is measured.
    """
    return _worst([_input_noise(part) for part in context.parts])


def _input_noise(part: CheckContext) -> Noise:
    x, prep = part.samples.values, part.model.preprocessing if part.samples.pictures else None
    if part.samples.kind.name == "tokens":
        return Noise(0.0, 0.0, 0.0)
    step = steps(Problem(part.model, x, part.targets, prep), 1 / 255)
    moved = x + np.random.default_rng(0).uniform(-0.5, 0.5, x.shape) * step
    return _largest(part, [part.explain(part.model, cast(moved, x.dtype), part.targets)])


def _worst(found: Sequence[Noise]) -> Noise:
    """The largest changes of samples of several sizes."""
    each = [(one.repeated, one.logits, one.maps) for one in found]
    return Noise(*(max(values) for values in zip(*each, strict=True)))


def _largest(context: CheckContext, runs: Sequence[Explanation]) -> Noise:
    first, now = maps.pooled(context.maps), context.explanation
    return Noise(
        float(relative_difference(now.relevance, runs[0].relevance).max()),
        max(float(relative_difference(now.output, run.output).max()) for run in runs),
        max(1 - float(maps.cosine(first, maps.pooled(context.heat(run))).min()) for run in runs),
    )


def to_toml(proposals: Sequence[Proposal]) -> str:
    """Format proposals as `[checks.…]` tables of an onnxlrp.toml, each with the measurement and the default."""
    lines: list[str] = []
    for id in dict.fromkeys(proposal.check for proposal in proposals):
        lines += ["", f"[checks.{id}]"]
        for p in proposals:
            if p.check == id:
                default = thresholds(id)[p.threshold]
                standard = "no default" if default is None else f"default {default:g}"
                lines.append(f"{p.threshold} = {_written(p.value)}  # measured {p.measured:.4g}: {p.why}; {standard}")
    return "\n".join(lines[1:]) + "\n" if lines else ""


def _noise(context: CheckContext) -> Iterator[Proposal]:
    exact, moved = rounding(context), input_noise(context)
    yield Proposal("deterministic", "tolerance", _up(MARGIN * exact.repeated), exact.repeated, "a repeated run")
    why = "the worst of a repeated run, of each sample alone, and of half a grey level of noise"
    limit = max(MARGIN * exact.logits, _NOISE_MARGIN * moved.logits, 1e-4)
    yield Proposal("logits", "relative", _up(limit), max(exact.logits, moved.logits), why)
    limit = max(MARGIN * exact.maps, _NOISE_MARGIN * moved.maps, 1e-4)
    yield Proposal("drift", "cosine", max(0.0, 1 - _up(limit)), 1 - max(exact.maps, moved.maps), why)
    if all(part.explanation.ledger for part in context.parts):
        worst = max(finding.value or 0.0 for finding in _found(context, "ledger"))
        yield Proposal("ledger", "residual", _up(max(MARGIN * worst, 1e-5)), worst, "the largest residual")


def _localization(context: CheckContext) -> Iterator[Proposal]:
    for id, threshold in (("border", "lift"), ("corners", "lift")):
        values = [finding.value for finding in _found(context, id) if finding.value is not None]
        if values:
            why = "the largest over all samples and over each class; look at it before you allow it"
            yield Proposal(id, threshold, _up(_SLACK * max(values)), max(values), why)
    lifts = [finding.value for finding in _found(context, "inside") if finding.value is not None]
    if lifts:
        yield Proposal("inside", "lift", _down(min(lifts) / _SLACK), min(lifts), "the smallest of all samples")
    for finding in _found(context, "pointing"):
        if finding.value is not None:
            rate = finding.value
            error = math.sqrt(rate * (1 - rate) / len(lifts)) if lifts else 0.0
            why = "minus two standard errors"
            yield Proposal("pointing", "rate", max(0.0, _down(rate - 2 * error)), rate, why)
    for finding in _found(context, "randomised"):
        if finding.value is not None:
            halfway = _down((1 + finding.value) / 2)
            yield Proposal("randomised", "cosine", halfway, finding.value, "halfway to 1 (no change)")


def _budgets(context: CheckContext) -> Iterator[Proposal]:
    forward, whole = budgets.measured(context, 5)
    yield Proposal("latency", "explain_ms", _up(2 * whole), whole, "twice the median of 5 runs of one sample")
    yield Proposal(
        "latency", "forwards", _up(1.5 * whole / forward), whole / forward, "one and a half times the median"
    )
    try:
        peak = budgets.peak(context)
    except MissingData:
        return
    yield Proposal("memory", "peak_mb", _up(_SLACK * peak), peak, "the process, while all samples are explained")


def _found(context: CheckContext, id: str) -> list[Finding]:
    """Run a check with its default thresholds; no findings where its data is missing."""
    try:
        return list(configured(id, Settings())(context))
    except MissingData:
        return []


def _up(value: float) -> float:
    """Round up to two digits."""
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
