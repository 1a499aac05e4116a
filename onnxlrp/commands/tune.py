"""`onnxlrp tune`: find the method of rules that explains a model best on pictures, and keep it beside the model."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError
from ..evaluation import tuning
from ..evaluation.evaluate import evaluate
from ..model.tuned import tuned_path, write_tuned
from ..streaming import collect
from . import arguments, reading, summary
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """Measure candidates on pictures, and write the best one if it beats the default; return the exit code."""
    asked = arguments.stated(args)
    path = tuned_path(Path(args.model))
    if path.exists():
        raise UsageError(f"{path}: exists already, and is the default of this model", f"remove it first: rm '{path}'")
    source = reading.files(args, console, by_folder=True)
    model = arguments.open_model(args)
    samples = collect.samples(model, source)
    reading.say_reordered(any(one.reordered for one in samples), console)
    count = sum(map(len, samples))
    if count < tuning.LEAST:
        raise UsageError(f"{count} pictures: too few to choose on", f"give {tuning.LEAST} or more")
    if any(part.pictures for part in samples) and (prep := model.preprocessing_as_read).assumed:
        console.note(*summary.assumed(prep))
    found = tuning.candidates(model.at(samples[0].kind.shape, samples[0].own_size), samples[0].pictures)
    if args.out is not None and Path(args.out).suffix.lower() != ".json":
        raise UsageError(f"-o {args.out}: results are JSON", f"-o {Path(args.out).with_suffix('.json')}")
    result = evaluate(
        model,
        samples,
        {str(one): one.method for one in found},
        {"abpc": {"cells": args.cells}},
        target=asked.get("target", "top1"),
        options={str(one): one.options for one in found},
        seed=args.seed,
        out=args.out,
        batch_size=asked.get("batch_size", 32),
        progress=console.progress,
    )
    console.clear()
    console.table(result.rows(), right=[1])
    choice = tuning.choose(tuning.measured(result, found), args.seed)
    best, default = found[choice.best], found[0]
    interval = f"{choice.gain:+.3f} [{choice.low:+.3f}, {choice.high:+.3f}]"
    console.line("best", f"{best}: abpc {choice.mean:.3f}, the mean of {count} pictures")
    console.line("gain", f"{interval} on pictures left out, better than {default} on {choice.pairs} of {count}")
    console.line("chance", f"{choice.chance:.3f} that the best of {len(found)} is so far above where none is better")
    if choice.wins:
        remark = f"onnxlrp tune, {count} pictures: abpc {choice.mean:.3f}; on pictures left out {interval}"
        write_tuned(path, best.method, best.options, model.graph.sha256, f"{remark} against {default}.")
        console.line("wrote", f"{path}: the default of this model from now on")
    else:
        console.note(
            f"nothing beats the default, {default}: nothing is written",
            f"a choice is written where the interval of its gain lies above 0, and chance is at most {tuning.CHANCE}",
        )
    console.json(
        {
            "default": default._asdict(),
            "best": best._asdict(),
            "choice": choice._asdict(),
            "file": str(path) if choice.wins else None,
            "evaluation": result.to_dict(),
        },
        1,
    )
    return 0
