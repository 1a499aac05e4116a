"""`onnxlrp compare`: outputs, heatmaps and layers of two models on the same samples."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..comparison import compare, side_by_side, verdict, worst_samples
from ..comparison.similarity import METRICS
from ..errors import CheckFailed, UsageError, did_you_mean
from ..findings import formats
from ..findings.finding import Findings
from ..model import DEFAULT, Model
from ..streaming import extra_rows
from ..streaming.sources import Files
from . import arguments, reading, summary
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """Compare two models, or read saved results, and judge them; return the exit code."""
    limits = verdict.limits(args.min, args.max)
    if args.floor is not None and not 0 <= args.floor < float("inf"):
        raise UsageError(f"--floor {args.floor}", "give 0 or more, such as --floor 0.01")
    shown = formats.named("json" if args.json else args.format)
    pictures = [Path(word) for word in args.out if Path(word).suffix.lower() == ".png"]
    reports = [(formats.of_file(word), Path(word)) for word in args.out if Path(word) not in pictures]
    if args.judged is not None:
        _refuse_models(args)
        result: Mapping[str, Any] = _again(verdict.read(args.judged), args, limits)
        _draw(result, args.judged, pictures)
    else:
        result = _computed(args, console, pictures, limits)
    findings = verdict.judge(result, limits)
    for format, path in reports:
        files.replace(path, formats.FORMATS[format](findings).encode())
        console.detail(f"wrote {path}")
    _print(findings, shown(findings), args, console)
    if not limits:
        console.note("no threshold is given, so nothing can fail", "--min cosine=0.95 --max logits=0.05")
    return CheckFailed.code if findings.fails else 0


def _computed(
    args: argparse.Namespace, console: Console, pictures: list[Path], limits: Mapping[str, float]
) -> Mapping[str, Any]:
    if args.model is None or args.other is None or not (args.inputs or args.from_list):
        raise UsageError("compare takes two models and pictures", "onnxlrp compare A.onnx B.onnx images/")
    for word in (args.model, args.other):
        if Path(word).is_dir() or Path(word).suffix.lower() != ".onnx":
            raise UsageError(f'"{word}" is not an .onnx file', "onnxlrp compare A.onnx B.onnx images/")
    if args.worst < 1:
        raise UsageError(f"--worst {args.worst}", "give 1 or more")
    if args.save and Path(args.save).suffix.lower() != ".json":
        raise UsageError(f"--save {args.save}: results are JSON", f"--save {Path(args.save).stem}.json")
    asked = arguments.explaining_one(args)
    metrics = _metrics(args.metric, limits)
    source = reading.files(args, console)
    a = arguments.open_model(args)
    b = arguments.open_model(argparse.Namespace(**{**vars(args), "model": args.other}))
    for model in (a, b):
        extra_rows.starts(model, source)
        arguments.check_matches(model, asked)
        for note in model.notes:
            console.note(*note)
        if model.graph.opaque is not None:
            console.note(f"layers are not compared: those of {model.path} cannot be read")
        _say_assumed(model, source, console)
    worst = args.worst if pictures or args.save else 0
    how = compare.CompareOptions(**vars(asked), metrics=metrics, floor=args.floor, worst=worst)
    found = compare.compare(a, b, source, how, console.progress)
    console.clear()
    if args.save:
        verdict.save(found.result, args.save)
        maps = worst_samples.save(found.worst, found.result, args.save)
        console.detail(f"wrote {args.save} {maps}")
    for path in pictures:
        side_by_side.save(found, path)
        console.detail(f"wrote {path}")
    return found.result


def _say_assumed(model: Model, source: Files, console: Console) -> None:
    """Print what is assumed of the preprocessing of one of the two."""
    if not source.pictures:
        return
    prep = model.preprocessing_as_read
    if prep.assumed:
        beside = f" (for both), or {Path(str(model.path)).stem}.prep.toml beside it"
        text, fix = summary.assumed(prep, beside)
        console.note(f"{model.path}: {text}", fix)


def _metrics(text: str | None, limits: Mapping[str, float]) -> list[str]:
    """The metrics that are asked for, and those that have a threshold."""
    words = list(METRICS) if text is None else [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in METRICS:
            raise UsageError(f'--metric: there is no metric "{word}"', did_you_mean(word, METRICS))
    if not words:
        raise UsageError("--metric names no metric", f"give some of {','.join(METRICS)}")
    return list(dict.fromkeys([*words, *(name for name in limits if name in METRICS)]))


def _again(result: Mapping[str, Any], args: argparse.Namespace, limits: Mapping[str, float]) -> Mapping[str, Any]:
    """A saved result with another floor, and those of its metrics that are asked for."""
    metrics = result["metrics"] if args.metric is None else _metrics(args.metric, limits)
    for name in metrics:
        if name not in result["metrics"]:
            raise UsageError(f"{name} is not in {args.judged}", f"it has {', '.join(result['metrics'])}")
    return {**result, "metrics": metrics, "floor": result["floor"] if args.floor is None else args.floor}


def _refuse_models(args: argparse.Namespace) -> None:
    """Refuse models and options beside saved results: nothing is computed again."""
    if args.model is not None:
        raise UsageError(
            f"--from {args.judged}: models and pictures are not read", "give either saved results or models"
        )
    if args.target not in (None, "top1") or args.method not in (None, DEFAULT) or args.rules:
        raise UsageError(f"--from {args.judged}: target, method and rules are those of the file", "leave them out")
    if args.save:
        raise UsageError(f"--save: {args.judged} exists already", "copy the file")


def _draw(result: Mapping[str, Any], saved: str, pictures: list[Path]) -> None:
    """The worst pictures, from the maps beside a saved result."""
    kept = worst_samples.read(result, saved) if pictures else []
    if pictures and not kept:
        raise UsageError(
            f"-o {pictures[0]}: no {worst_samples.beside(saved).name} beside {saved}", "save both in one folder"
        )
    for path in pictures:
        side_by_side.save(compare.Comparison(dict(result), kept), path)


def _print(findings: Findings, text: str, args: argparse.Namespace, console: Console) -> None:
    if console.quiet and not args.json and args.format == "table":
        return
    console.clear()
    sys.stdout.write(text)
