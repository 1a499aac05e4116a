"""What a comparison of two models comes to: its result against limits, as findings. No model is needed for it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import InputError, UsageError, did_you_mean
from ..findings.finding import Finding, Findings
from .compare import SCHEMA
from .divergence import Divergence, LayerDivergence
from .similarity import METRICS

HIGHER = ("top1", *(name for name, metric in METRICS.items() if metric.higher))
LOWER = ("logits", *(name for name, metric in METRICS.items() if not metric.higher))


def limits(least: Sequence[str], most: Sequence[str]) -> dict[str, float]:
    """The limits of `cosine=0.95` (--min) and `mass_shift=0.2` (--max) by name. Raises UsageError."""
    found: dict[str, float] = {}
    for flag, words, known, other in (("--min", least, HIGHER, LOWER), ("--max", most, LOWER, HIGHER)):
        for word in words:
            name, _, text = word.partition("=")
            if name in other:
                raise UsageError(
                    f'{flag} "{word}": {name} is better {"high" if flag == "--max" else "low"}',
                    f"{'--min' if flag == '--max' else '--max'} {word}",
                )
            if name not in known:
                raise UsageError(f'{flag} "{word}": there is no measure "{name}"', did_you_mean(name, known))
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise UsageError(f'{flag} "{word}" is not NAME=NUMBER', f"write {flag} {name}=0.9")
            if name in found:
                raise UsageError(f"{flag} {name} is given twice", "give it once")
            found[name] = value
    return found


def judge(result: Mapping[str, Any], limits: Mapping[str, float]) -> Findings:
    """A finding for every sample and measure with a limit, and one for every measure without."""
    rows = result["samples"]
    for name in limits:
        if name in METRICS and name not in result["metrics"]:
            raise UsageError(f"{name} was not measured", f"compute it: --metric {','.join([*result['metrics'], name])}")
    findings = [_top1(rows, limits.get("top1"))]
    for name in ("logits", *result["metrics"]):
        findings += _judged(name, rows, limits[name]) if name in limits else [_told(name, rows)]
    about = {key: value for key, value in result.items() if key not in ("samples", "layers")}
    return Findings([*findings, _parts(parting(result))], {**about, "limits": dict(limits)})


def parting(result: Mapping[str, Any]) -> Divergence:
    """Where the models of a result part."""
    rows = [
        LayerDivergence(row["layer"], math.nan if row["drift"] is None else row["drift"]) for row in result["layers"]
    ]
    return Divergence(rows, result["floor"])


def save(result: Mapping[str, Any], path: str | Path) -> Path:
    """The result as a file of JSON, whole or not at all. Raises InputError."""
    return files.replace(path, (json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read(path: str | Path) -> dict[str, Any]:
    """What `save` wrote. Raises InputError."""
    path = Path(path)
    files.check(path)
    fix = f"compute it again: onnxlrp compare A B IMAGES --save {path}"
    try:
        result: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: no result of a comparison ({files.reason(error)})", fix) from None
    return parsed(result, path)


def parsed(result: Any, path: Path) -> dict[str, Any]:
    """A result in JSON's types, checked. Raises InputError."""
    fix = f"compute it again: onnxlrp compare A B IMAGES --save {path}"
    schema = result.get("schema") if isinstance(result, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path}: no result of a comparison of schema {SCHEMA} (found {schema!r})", fix)
    if not _is_result(result):
        raise InputError(f"{path}: a damaged result", fix)
    return dict(result)


def _is_result(result: Mapping[str, Any]) -> bool:
    """Whether everything that is judged is there, in its type."""
    metrics, rows, layers = (result.get(key) for key in ("metrics", "samples", "layers"))
    if not all(isinstance(result.get(side), dict) and {"model", "sha256"} <= result[side].keys() for side in "ab"):
        return False
    if not (all(isinstance(part, list) for part in (metrics, rows, layers)) and _is_number(result.get("floor"))):
        return False
    assert isinstance(metrics, list)
    assert isinstance(rows, list)
    assert isinstance(layers, list)
    if not rows or not all(name in METRICS for name in metrics):
        return False
    words, pairs, numbers = ("name", "label"), ("top1", "top1_labels"), ("logits", *metrics)
    return all(
        isinstance(row, dict)
        and all(isinstance(row.get(key), str) for key in words)
        and all(isinstance(row.get(key), list) and len(row[key]) == 2 for key in pairs)
        and all(key in row and (row[key] is None or _is_number(row[key])) for key in numbers)
        for row in rows
    ) and all(
        isinstance(row, dict)
        and isinstance(row.get("layer"), str)
        and "drift" in row
        and (row["drift"] is None or _is_number(row["drift"]))
        for row in layers
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _top1(rows: Sequence[Mapping[str, Any]], limit: float | None) -> Finding:
    other = [row for row in rows if row["top1"][0] != row["top1"][1]]
    value = 1 - len(other) / len(rows)
    said = [f"{row['name']} ({row['top1_labels'][0]} → {row['top1_labels'][1]})" for row in other[:3]]
    more = f" and {len(other) - 3} more" if len(other) > 3 else ""
    message = f"the best class is the same in {len(rows) - len(other)} of {len(rows)}"
    message += f"; not in {', '.join(said)}{more}" if other else ""
    holds = limit is None or value >= limit
    return _finding("top1", holds, message, "all samples", value, limit, "look at those samples")


def _judged(name: str, rows: Sequence[Mapping[str, Any]], limit: float) -> list[Finding]:
    better: Callable[[float, float], bool] = (
        (lambda value, limit: value >= limit) if name in HIGHER else (lambda value, limit: value <= limit)
    )
    found = []
    for row in rows:
        value = row[name]
        holds = value is not None and better(value, limit)
        message = f"{WORDS[name]} for {row['label']}" if name != "logits" else WORDS[name]
        message = "there is no number: NaN or infinity" if value is None else message
        fix = "look at it: onnxlrp compare A B IMAGE -o worst.png"
        found.append(_finding(name, holds, message, row["name"], value, limit, fix))
    return found


def _told(name: str, rows: Sequence[Mapping[str, Any]]) -> Finding:
    """A measure that nobody limits: its mean and its worst."""
    pairs = [(row[name], row["name"]) for row in rows if row[name] is not None]
    if not pairs:
        return Finding(name, "skipped", "no sample gives a number")
    worst = (min if name in HIGHER else max)(pairs, key=lambda pair: pair[0])
    message = f"{WORDS[name]}; the mean is {np.mean([value for value, _ in pairs]):.4g}, this is the worst"
    return Finding(name, "passed", message, "note", worst[1], worst[0])


def _parts(found: Divergence) -> Finding:
    if not found.rows:
        return Finding("parting", "skipped", "the two have no layer in common", "note")
    first, before, steepest = found.first, found.before, found.steepest
    if first is None:
        largest = max(row.drift for row in found.rows)
        message = f"no layer of {len(found.rows)} drifts by more than {found.floor:.2g} (relative L2)"
        return Finding("parting", "passed", message, "note", "", largest)
    message = f"the first layer at which they part: relative L2 {first.drift:.2g}"
    message += f", {before.drift:.2g} before ({before.layer})" if before else ", before any layer"
    if steepest is not None and steepest[0] != first:
        message += f"; it rises most at {steepest[0].layer}, from {steepest[1]:.2g} to {steepest[0].drift:.2g}"
    return Finding("parting", "passed", message, "note", first.layer, _finite(first.drift), found.floor)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


WORDS = {
    "logits": "the largest |Δ logit| as a share of the largest |logit| of A",
    "cosine": "cosine of the maps",
    "spearman": "rank correlation of the maps",
    "topk_iou": "overlap of the tenth of the pixels that is highest",
    "mass_shift": "share of |R| that lies elsewhere",
}


def _finding(
    check: str, holds: bool, message: str, subject: str, value: float | None, limit: float | None, fix: str
) -> Finding:
    status, fix = ("passed", "") if holds else ("failed", fix)
    return Finding(check, status, message, "error" if limit is not None else "note", subject, value, limit, fix)
