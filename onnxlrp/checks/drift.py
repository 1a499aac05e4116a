"""Checks against a baseline: the same logits, and the same heatmaps, as when it was made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import listed
from ..explanation import maps
from ..findings.finding import Finding, MissingData, judged, skipped
from ..preprocessing import labels
from . import baseline
from .baseline import FILE, UPDATE, Baseline
from .context import CheckContext
from .registry import check

Array = npt.NDArray[Any]


@check("baseline", order=30)
@dataclass(frozen=True)
class BaselinePresent:
    """A baseline exists that was made with this preprocessing, this method and these samples."""

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        stored = _stored(context)
        if stored is None:
            yield judged(False, f"{_folder(context)} holds no {FILE}", "baseline", fix=UPDATE)
            return
        stale = _stale(context, stored)
        for what in ("preprocessing", "method"):
            then, now = stored.descriptions.get(what, ""), baseline.describe(context)[what]
            message = f"stale: made with {then}, now {now}" if what in stale else now
            yield judged(what not in stale, message, what, fix=UPDATE)
        gone = [name for name in stored.names if name not in context.names]
        message = f"{len(stored.names)} samples" if not gone else f"missing: {listed(gone)}"
        yield judged(not gone, message, "samples", len(gone), 0, f"give all samples of the baseline, or {UPDATE}")


@check("baseline_model", severity="warning", order=30)
@dataclass(frozen=True)
class BaselineModel:
    """The model file is the one that the baseline was made with."""

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        stored, here = _usable(context), context.model.graph.sha256
        then = stored.hashes.get("model", "")
        same = then == here
        message = "the same file" if same else f"another file (sha256 {here[:12]}, the baseline's is {then[:12]})"
        yield judged(same, message, context.name, fix=f"{UPDATE}; until then, drift is measured")


@check("logits", severity="warning", order=30)
@dataclass(frozen=True)
class Logits:
    """The logits of every sample are close to those of the baseline.

    Args:
        relative: The largest |Δ logit|, as a share of the sample's largest |logit| in the baseline.
    """

    relative: float = 0.05

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        stored = _usable(context)
        if stored.logits.shape[1] != context.model.classes:
            message = f"{context.model.classes} classes, the baseline has {stored.logits.shape[1]}"
            yield judged(False, message, context.name, fix=UPDATE)
            return
        for n, row in _pairs(context, stored):
            if isinstance(row, Finding):
                yield row
                continue
            new, old = context.logits[n].astype(np.float64), stored.logits[row].astype(np.float64)
            value = float(np.abs(new - old).max() / max(np.abs(old).max(), np.finfo(np.float32).tiny))
            best = [labels.name(context.model.labels, int(logits.argmax())) for logits in (old, new)]
            changed = f"; the best class is {best[1]}, not {best[0]}" if best[0] != best[1] else ""
            message = f"logits differ by {value:.2g} of the largest{changed}"
            fix = f"compare training and export of the two; {UPDATE}"
            yield judged(value <= self.relative, message, context.names[n], value, self.relative, fix)


@check("drift", order=30)
@dataclass(frozen=True)
class Drift:
    """The heatmap of every sample, for the class of the baseline, is close to the one in the baseline.

    Args:
        cosine: The smallest cosine of the two heatmaps, each pooled to 56 x 56.
    """

    cosine: float = 0.95

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        stored = _usable(context)
        pairs = list(_pairs(context, stored))
        known = {n: row for n, row in pairs if isinstance(row, int)}
        cosines = _cosines(context, stored, known) if known else {}
        for n, row in pairs:
            if isinstance(row, Finding):
                yield row
                continue
            value = cosines[n]
            label = labels.name(context.model.labels, int(stored.target[row]))
            message = f"the heatmap for {label} has a cosine of {value:.4f} with the baseline's"
            fix = f"compare both: onnxlrp compare OLD NEW SAMPLE; {UPDATE}"
            yield judged(value >= self.cosine, message, context.names[n], value, self.cosine, fix)


def _cosines(context: CheckContext, stored: Baseline, known: dict[int, int]) -> dict[int, float]:
    """Compute the cosine of each heatmap with its stored one, explaining the stored class where it differs."""
    rows = np.array(list(known.values()))
    if stored.target[rows].max() >= context.model.classes:
        raise MissingData(
            f"the baseline explains a class that the model does not have ({context.model.classes})", UPDATE
        )
    pooled = context.in_order(lambda part: list(maps.pooled(part.maps)))
    wanted = context.targets.copy()
    wanted[list(known)] = stored.target[rows]
    for part, places in zip(context.parts, context.places, strict=True):
        moved = np.flatnonzero(wanted[places] != part.targets)
        if len(moved):
            samples = part.model.read([part.samples[n : n + 1] for n in moved])
            again = part.explain(part.model, samples, wanted[places[moved]], ledger=part.conserves)
            for n, one in zip(places[moved], maps.pooled(part.heat(again)), strict=True):
                pooled[n] = one
    found = [pooled[n] for n in known]
    for one in found:
        if one.shape != stored.maps.shape[1:]:
            raise MissingData(f"heatmaps of {one.shape}, the baseline has {stored.maps.shape[1:]}", UPDATE)
    here = np.stack(found)
    # Both are rounded alike, so that a model compared with itself has cosine 1.
    top = np.abs(here).max(axis=(1, 2), keepdims=True)
    here = (here / np.where(top == 0, 1, top)).astype(np.float16).astype(np.float64)
    cosines = maps.cosine(here, stored.maps[rows])
    return {n: float(value) for n, value in zip(known, cosines, strict=True)}


def _pairs(context: CheckContext, stored: Baseline) -> Iterator[tuple[int, int | Finding]]:
    """Yield each sample with its row in the baseline, or with the finding that says why it is not compared."""
    hashes = baseline.sample_hashes(context)
    for n, name in enumerate(context.names):
        row = stored.row(name)
        if row is None:
            yield n, skipped("the baseline lacks this sample", name, UPDATE)
        elif stored.samples[row] != hashes[n]:
            yield n, skipped("the sample changed since the baseline was made", name, UPDATE)
        else:
            yield n, row


def _usable(context: CheckContext) -> Baseline:
    """Read the baseline. Raises MissingData where there is none, or a stale one."""
    stored = _stored(context)
    if stored is None:
        raise MissingData(f"{_folder(context)} holds no {FILE}", UPDATE)
    stale = _stale(context, stored)
    if stale:
        raise MissingData(f"the baseline is stale: the {' and the '.join(stale)} changed", UPDATE)
    return stored


def _stale(context: CheckContext, stored: Baseline) -> list[str]:
    here = baseline.hashes(context)
    return [what for what in ("preprocessing", "method") if stored.hashes.get(what) != here[what]]


def _stored(context: CheckContext) -> Baseline | None:
    folder = _folder(context)
    return baseline.read(folder) if os.path.exists(folder / FILE) else None


def _folder(context: CheckContext) -> Path:
    if context.settings.baseline is None:
        raise MissingData("no baseline is given", 'onnxlrp check … --baseline DIR --update-baseline; baseline = "DIR"')
    return context.settings.path(context.settings.baseline)
