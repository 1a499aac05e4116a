"""`onnxlrp evaluate`: evaluate methods by metrics: a table, JSON and curves."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UnsupportedError, UsageError, did_you_mean
from ..evaluation import curves
from ..evaluation.evaluate import evaluate
from ..evaluation.metrics.registry import METRICS, make
from ..evaluation.results import Evaluation, read
from ..model import ExplainOptions, Model
from ..preprocessing.samples import Samples
from ..streaming import collect
from . import arguments, reading, summary
from .console import Console
from .parsers.groups import METHOD_OPTION
from .parsers.judging import METHODS_DEFAULT


def run(args: argparse.Namespace, console: Console) -> int:
    """Evaluate every method by every metric, or list the metrics; return the exit code."""
    if args.list:
        return _list(console)
    if args.model is None or not (args.inputs or args.from_list):
        raise UsageError("evaluate takes a model and samples", "onnxlrp evaluate MODEL images/")
    seed = arguments.seed(vars(args).pop(f"{METHOD_OPTION}seed"))
    asked = arguments.explaining(args)
    metrics = _metrics(args)
    if args.out is not None:
        args.out = str(arguments.out_file(args.out, "evaluation.json"))
    if args.out is not None and Path(args.out).suffix.lower() != ".json":
        raise UsageError(f"-o {args.out}: results are JSON", f"-o {Path(args.out).with_suffix('.json')}")
    source = reading.files(args, console, by_folder=True)
    model = arguments.open_model(args)
    methods = arguments.methods(asked, model)
    samples = collect.samples(model, source)
    first = samples[0]
    for note in model.at(first.kind.shape, first.own_size).notes:
        console.note(*note)
    if any(part.pictures for part in samples) and (prep := model.preprocessing_as_read).assumed:
        console.note(*summary.assumed(prep))
    reading.say_reordered(any(one.reordered for one in samples), console)
    if arguments.names_all(args) or args.method == METHODS_DEFAULT:
        methods, asked = _possible(model, samples, methods, asked, console)
    found = evaluate(
        model,
        samples,
        methods,
        metrics,
        target=asked[0].target,
        masks=args.masks,
        options={name: model.decided(one).keywords() for name, one in zip(methods, asked, strict=True)},
        seed=seed,
        out=args.out,
        batch_size=asked[0].batch_size,
        progress=console.progress,
    )
    console.clear()
    console.table(found.rows(), right=range(1, 1 + len(metrics)))
    console.json(found.to_dict())
    _notes(found, console)
    if args.out is not None:
        written = [Path(args.out), *curves.save(read(args.out), args.out)]
        console.line("wrote", ", ".join(map(str, written)))
    return UnsupportedError.code if any(cell.refused for cell in found.cells) else 0


def _possible(
    model: Model,
    samples: Sequence[Samples],
    methods: Sequence[str],
    asked: Sequence[ExplainOptions],
    console: Console,
) -> tuple[list[str], list[ExplainOptions]]:
    """Return those of all methods that can explain a model, and note why the others cannot. Raises UsageError."""
    found, errors = [], []
    forms = {one.form: (model.at(one.kind.shape, one.own_size), one.pictures) for one in samples}
    for name, options in zip(methods, asked, strict=True):
        wrong = (arguments.refused(own, options.at(), pictures) for own, pictures in forms.values())
        if error := next(filter(None, wrong), None):
            console.note(f"{name} left out: {error.message}")
            errors.append(error)
        else:
            found.append((name, options))
    if not found:
        raise errors[0] if errors else UsageError("--methods all: there is no method", "onnxlrp methods lists them")
    return [name for name, _ in found], [options for _, options in found]


def _list(console: Console) -> int:
    rows = [(name, entry.better, " ".join(entry.options), entry.summary) for name, entry in METRICS.items()]
    console.table([("metric", "better", "options", "what it measures"), *rows])
    keys = ("metric", "better", "options", "summary")
    listed = [
        dict(zip(keys, (name, better, options.split(), text), strict=True)) for name, better, options, text in rows
    ]
    console.json({"metrics": listed}, indent=1)
    return 0


def _metrics(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Each metric that is asked for with its options; of "all", those that ask for masks where there are some."""
    words = list(dict.fromkeys(filter(None, (word.strip() for word in args.metric.split(",")))))
    if words == ["all"]:
        words = [name for name, entry in METRICS.items() if args.masks is not None or not entry.masks]
    if not words:
        raise UsageError("--metric names no metric", "known: " + ", ".join(METRICS))
    metrics: dict[str, dict[str, Any]] = {name: {} for name in words}
    for name in words:
        if name not in METRICS:
            raise METRICS.unknown(name)
    for text in args.set:
        key, _, value = text.partition("=")
        name, _, option = key.partition(".")
        if not (name and option and value):
            raise UsageError(f'--set "{text}" is not METRIC.OPTION=VALUE', "write --set pixel_flipping.steps=64")
        if name not in metrics:
            raise UsageError(f'--set {name}: "{name}" is not evaluated', did_you_mean(name, metrics))
        known = METRICS[name].options
        if option not in known:
            raise UsageError(f'metric "{name}" has no option "{option}"', did_you_mean(option, known))
        metrics[name][option] = _value(text, value, known[option].type)
    for name, options in metrics.items():
        make(name, **options)
    return metrics


def _value(text: str, value: str, kind: str) -> Any:
    try:
        return {"int": int, "float": float}.get(kind, str)(value)
    except ValueError:
        raise UsageError(
            f'--set {text}: "{value}" is no {"whole " if kind == "int" else ""}number', "give a number, such as 8"
        ) from None


def _notes(found: Evaluation, console: Console) -> None:
    """Once for each reason why a cell has no number, or not of every sample."""
    for note, where in found.notes().items():
        text, _, fix = note.partition("\n")
        console.note(f"{text} ({where})", fix)
