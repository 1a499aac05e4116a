"""Whether the model still answers, and for the same reasons, as when its baseline was made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..explanation import maps
from ..findings.finding import Finding, MissingData, judged, skipped
from ..preprocessing import labels
from . import baseline
from .baseline import FILE, UPDATE, Baseline
from .case import Case
from .registry import check

Array = npt.NDArray[Any]


@check("baseline")
@dataclass(frozen=True)
class Present:
    """There is a baseline, made with this preprocessing and this method, of all of these samples."""

    def __call__(self, case: Case) -> Iterable[Finding]:
        stored = _stored(case)
        if stored is None:
            yield judged(False, f"{_folder(case)} holds no {FILE}", "baseline", fix=UPDATE)
            return
        stale = _stale(case, stored)
        for what in ("preprocessing", "method"):
            then, now = stored.said.get(what, ""), baseline.said(case)[what]
            message = f"stale: made with {then}; now it is {now}" if what in stale else now
            yield judged(what not in stale, message, what, fix=UPDATE)
        gone = [name for name in stored.names if name not in case.samples.names]
        message = f"{len(stored.names)} samples" if not gone else f"not among the samples: {_list(gone)}"
        yield judged(not gone, message, "samples", len(gone), 0, f"give all of its samples, or {UPDATE}")


@check("baseline_model", severity="warning")
@dataclass(frozen=True)
class SameModel:
    """The model is the file that the baseline was made with."""

    def __call__(self, case: Case) -> Iterable[Finding]:
        stored, here = _fresh(case), case.model.graph.sha256
        then = stored.hashes.get("model", "")
        same = then == here
        message = "the same file" if same else f"another file (sha256 {here[:12]}, the baseline's is {then[:12]})"
        yield judged(same, message, case.name, fix=f"{UPDATE}; until then its drift is measured")


@check("logits", severity="warning")
@dataclass(frozen=True)
class Logits:
    """Logits are those of the baseline: |Δ| is at most `relative` of the sample's largest |logit| there."""

    relative: float = 0.05

    def __call__(self, case: Case) -> Iterable[Finding]:
        stored = _fresh(case)
        if stored.logits.shape[1] != case.model.classes:
            message = f"{case.model.classes} classes, the baseline has {stored.logits.shape[1]}"
            yield judged(False, message, case.name, fix=UPDATE)
            return
        for n, row in _pairs(case, stored):
            if isinstance(row, Finding):
                yield row
                continue
            new, old = case.logits[n].astype(np.float64), stored.logits[row].astype(np.float64)
            value = float(np.abs(new - old).max() / max(np.abs(old).max(), np.finfo(np.float32).tiny))
            best = [labels.name(case.model.labels, int(logits.argmax())) for logits in (old, new)]
            changed = f"; the best class is {best[1]}, not {best[0]}" if best[0] != best[1] else ""
            message = f"logits moved by {value:.2g} of the largest{changed}"
            fix = f"compare training and export of the two; {UPDATE}"
            yield judged(value <= self.relative, message, case.samples.names[n], value, self.relative, fix)


@check("drift")
@dataclass(frozen=True)
class Drift:
    """The heatmap is that of the baseline, for the class that was explained there: the cosine of the maps, pooled to
    56 x 56, is at least `cosine`."""

    cosine: float = 0.95

    def __call__(self, case: Case) -> Iterable[Finding]:
        stored = _fresh(case)
        pairs = list(_pairs(case, stored))
        known = {n: row for n, row in pairs if isinstance(row, int)}
        alike = _alike(case, stored, known) if known else {}
        for n, row in pairs:
            if isinstance(row, Finding):
                yield row
                continue
            value = alike[n]
            of = labels.name(case.model.labels, int(stored.target[row]))
            message = f"the map for {of} has cosine {value:.4f} with the baseline's"
            fix = f"look at both: onnxlrp compare OLD NEW with the sample; {UPDATE}"
            yield judged(value >= self.cosine, message, case.samples.names[n], value, self.cosine, fix)


def _alike(case: Case, stored: Baseline, known: dict[int, int]) -> dict[int, float]:
    """The cosine of each sample's map with its stored one; where another class was explained, it is explained anew."""
    rows = np.array(list(known.values()))
    if stored.target[rows].max() >= case.model.classes:
        raise MissingData(f"the baseline explains a class that the model does not have ({case.model.classes})", UPDATE)
    target = case.targets.copy()
    target[list(known)] = stored.target[rows]
    pooled = maps.pooled(case.maps)
    moved = np.flatnonzero(target != case.targets)
    if len(moved):
        samples = case.model.read([case.samples[n : n + 1] for n in moved])
        again = case.explain(case.model, samples, target[moved], ledger=case.conserves)
        pooled[moved] = maps.pooled(case.heat(again))
    here = pooled[list(known)]
    if here.shape[1:] != stored.maps.shape[1:]:
        raise MissingData(f"maps of {here.shape[1:]}, the baseline's are {stored.maps.shape[1:]}", UPDATE)
    # Both are rounded alike, so that a model against itself has cosine 1.
    top = np.abs(here).max(axis=(1, 2), keepdims=True)
    here = (here / np.where(top == 0, 1, top)).astype(np.float16).astype(np.float64)
    found = maps.cosine(here, stored.maps[rows])
    return {n: float(value) for n, value in zip(known, found, strict=True)}


def _pairs(case: Case, stored: Baseline) -> Iterator[tuple[int, int | Finding]]:
    """Each sample's place in the baseline, or why it is not compared."""
    for n, name in enumerate(case.samples.names):
        row = stored.row(name)
        if row is None:
            yield n, skipped("the baseline does not have it", name, UPDATE)
        elif stored.samples[row] != baseline.sample_hash(case, n):
            yield n, skipped("the sample itself changed since the baseline", name, UPDATE)
        else:
            yield n, row


def _fresh(case: Case) -> Baseline:
    """The baseline, where it can be compared with. Raises Missing."""
    stored = _stored(case)
    if stored is None:
        raise MissingData(f"{_folder(case)} holds no {FILE}", UPDATE)
    stale = _stale(case, stored)
    if stale:
        raise MissingData(f"the baseline is stale: another {' and '.join(stale)}", UPDATE)
    return stored


def _stale(case: Case, stored: Baseline) -> list[str]:
    here = baseline.hashes(case)
    return [what for what in ("preprocessing", "method") if stored.hashes.get(what) != here[what]]


def _stored(case: Case) -> Baseline | None:
    folder = _folder(case)
    return baseline.read(folder) if (folder / FILE).exists() else None


def _folder(case: Case) -> Path:
    if case.settings.baseline is None:
        raise MissingData("no baseline is given", 'onnxlrp check … --baseline DIR --update-baseline; baseline = "DIR"')
    return case.settings.path(case.settings.baseline)


def _list(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
