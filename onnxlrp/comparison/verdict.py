"""Verdict of a comparison: its result against limits, as findings; no model is needed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import InputError, UsageError, did_you_mean, listed
from ..findings.finding import Finding, Findings
from .compare import SCHEMA
from .divergence import Divergence, LayerDivergence
from .similarity import METRICS

_LONGEST = 1 << 30  # bytes of a file of results

HIGHER = ("top1", *(name for name, metric in METRICS.items() if metric.higher))
LOWER = ("logits", *(name for name, metric in METRICS.items() if not metric.higher))


def limits(least: Sequence[str], most: Sequence[str]) -> dict[str, float]:
    """Parse limits.

    Args:
        least: Lower limits, such as `cosine=0.95` (--min).
        most: Upper limits, such as `mass_shift=0.2` (--max).

    Returns:
        The limits by name.

    Raises:
        UsageError: A limit names no measure, or the side on which the measure is better.
    """
    found: dict[str, float] = {}
    for flag, words, known, other in (("--min", least, HIGHER, LOWER), ("--max", most, LOWER, HIGHER)):
        for word in words:
            name, _, text = word.partition("=")
            if name in other:
                raise UsageError(
                    f'{flag} "{word}": {"higher" if flag == "--max" else "lower"} {name} is better',
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
    """Hold a result against limits.

    Args:
        result: The result of a comparison.
        limits: Limits by the name of a measure.

    Returns:
        A finding for every sample and measure with a limit, and one for every measure without.

    Raises:
        UsageError: A limit is of a measure that was not computed.
    """
    rows = result["samples"]
    for name in limits:
        if name in METRICS and name not in result["metrics"]:
            raise UsageError(f"{name} was not measured", f"compute it: --metric {','.join([*result['metrics'], name])}")
    findings = [_top1(rows, limits.get("top1"))]
    for name in ("logits", *result["metrics"]):
        findings += _with_limit(name, rows, limits[name]) if name in limits else [_without_limit(name, rows)]
    about = {key: value for key, value in result.items() if key not in ("samples", "layers")}
    return Findings([*findings, _divergence(divergence(result))], {**about, "limits": dict(limits)})


def divergence(result: Mapping[str, Any]) -> Divergence:
    """Rebuild the divergence of a result."""
    rows = [
        LayerDivergence(row["layer"], math.nan if row["drift"] is None else row["drift"]) for row in result["layers"]
    ]
    return Divergence(rows, result["floor"])


def save(result: Mapping[str, Any], path: str | Path) -> Path:
    """Write a result as JSON, whole or not at all. Raises InputError."""
    return files.replace(path, (json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read(path: str | Path) -> dict[str, Any]:
    """Read a result that `save` wrote. Raises InputError."""
    path = Path(path)
    files.check(path)
    fix = f"compute it again: onnxlrp compare A B IMAGES --save {path}"
    try:
        result: Any = json.loads(files.read_text(path, _LONGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not the result of a comparison ({files.reason(error)})", fix) from None
    return parsed(result, path)


def parsed(result: Any, path: Path) -> dict[str, Any]:
    """Check a result in JSON's types. Raises InputError."""
    fix = f"compute it again: onnxlrp compare A B IMAGES --save {path}"
    schema = result.get("schema") if isinstance(result, dict) else None
    if schema != SCHEMA:
        raise InputError(f"{path}: not the result of a comparison of schema {SCHEMA} (found {schema!r})", fix)
    if not _is_result(result):
        raise InputError(f"{path}: a damaged result", fix)
    return dict(result)


def _is_result(result: Mapping[str, Any]) -> bool:
    """Return whether a result is complete, with the right types."""
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
    others = [f"{row['name']} ({row['top1_labels'][0]} → {row['top1_labels'][1]})" for row in other]
    message = f"the best class is the same in {len(rows) - len(other)} of {len(rows)}"
    message += f"; not in {listed(others)}" if other else ""
    holds = limit is None or value >= limit
    return _finding(
        "top1",
        holds,
        message,
        "all samples",
        value,
        limit,
        "look at these samples: onnxlrp compare A B IMAGE -o worst.png",
    )


def _with_limit(name: str, rows: Sequence[Mapping[str, Any]], limit: float) -> list[Finding]:
    better: Callable[[float, float], bool] = (
        (lambda value, limit: value >= limit) if name in HIGHER else (lambda value, limit: value <= limit)
    )
    found = []
    for row in rows:
        value = row[name]
        holds = value is not None and better(value, limit)
        message = f"{WORDS[name]} for {row['label']}" if name != "logits" else WORDS[name]
        message = "not a number: NaN or infinity" if value is None else message
        fix = "look at it: onnxlrp compare A B IMAGE -o worst.png"
        found.append(_finding(name, holds, message, row["name"], value, limit, fix))
    return found


def _without_limit(name: str, rows: Sequence[Mapping[str, Any]]) -> Finding:
    """Report a measure without a limit: its mean and its worst sample."""
    pairs = [(row[name], row["name"]) for row in rows if row[name] is not None]
    if not pairs:
        return Finding(name, "skipped", "no sample has a value")
    worst = (min if name in HIGHER else max)(pairs, key=lambda pair: pair[0])
    message = f"{WORDS[name]}; mean {np.mean([value for value, _ in pairs]):.4g}, worst sample shown"
    return Finding(name, "passed", message, "note", worst[1], worst[0])


def _divergence(found: Divergence) -> Finding:
    if not found.rows:
        return Finding("divergence", "skipped", "the models have no layer in common that can be read", "note")
    first, before, steepest = found.first, found.before, found.steepest
    if first is None:
        largest = max(row.drift for row in found.rows)
        message = f"none of {len(found.rows)} layers diverges by more than {found.floor:.2g} (relative L2)"
        return Finding("divergence", "passed", message, "note", "", largest)
    message = f"the first layer that diverges: relative L2 {first.drift:.2g}"
    message += f", {before.drift:.2g} in the layer before ({before.layer})" if before else ", already at the input"
    if steepest is not None and steepest[0] != first:
        message += f"; the largest rise is at {steepest[0].layer}, from {steepest[1]:.2g} to {steepest[0].drift:.2g}"
    return Finding("divergence", "passed", message, "note", first.layer, _finite(first.drift), found.floor)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


WORDS = {
    "logits": "the largest |Δ logit| as a share of the largest |logit| of A",
    "cosine": "cosine of the maps",
    "spearman": "rank correlation of the maps",
    "topk_iou": "overlap of the most relevant tenth of the pixels",
    "mass_shift": "share of |R| that lies elsewhere",
}


def _finding(
    check: str, holds: bool, message: str, subject: str, value: float | None, limit: float | None, fix: str
) -> Finding:
    status, fix = ("passed", "") if holds else ("failed", fix)
    return Finding(check, status, message, "error" if limit is not None else "note", subject, value, limit, fix)
