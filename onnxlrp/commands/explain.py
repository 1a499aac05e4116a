"""`onnxlrp explain`: heatmaps of pictures and arrays, in batches, file by file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import heatmap
from ..errors import CheckFailed, InputError, UsageError
from ..explanation import SPACES, Explanation
from ..model import Model
from ..samples import Samples
from ..targets import parse as parse_target
from . import names, request, summary
from .console import KEY, Console


@dataclass
class Job:
    """A run: what is asked for, and what has come of it."""

    model: Model
    sources: list[names.Source]
    methods: dict[str, dict[str, Any]]
    entries: request.Entries
    target: dict[str, Any]
    pattern: str
    formats: list[str]
    args: argparse.Namespace
    console: Console
    many: bool = False  # one line is said of each sample, instead of a paragraph
    written: set[Path] = field(default_factory=set)
    samples: int = 0
    rejected: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)
    drained: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.many = len(self.sources) > 1
        self.inputs = {source.path.resolve() for source in self.sources}
        self.width = max(KEY, *(len(source.stem) + 2 for source in self.sources))


def run(args: argparse.Namespace, console: Console) -> int:
    """Explain every input by every method; the exit code."""
    methods, entries = request.methods(args), request.entries(args)
    heatmap.colormap(args.cmap)
    heatmap.limit(np.zeros(1), args.clip)
    if args.space not in SPACES:
        raise UsageError(f'no space "{args.space}"', "give input or original")
    if args.batch_size < 1:
        raise UsageError(f"--batch-size {args.batch_size}", "give 1 or more")
    formats, pattern = names.naming(args, len(methods))
    wanted = args.target or ["top1"]
    target = {"target": wanted[0]} if len(wanted) == 1 else {"targets": wanted}
    for word in wanted:
        parse_target(word)
    sources = names.sources(args.inputs, console)
    names.tells_apart(pattern, len(sources), len(methods))
    start = time.perf_counter()
    model = request.open_model(args)
    for method, options in methods.items():
        if entries:
            request.check_matches(model, model.composite(method, rules=entries, **options), entries)
    console.detail(f"{args.model}: {len(model.graph.layers)} layers, read in {time.perf_counter() - start:.2f} s")
    job = Job(model, sources, methods, entries, target, pattern, formats, args, console)
    _explain(job)
    return _verdict(job)


def _explain(job: Job) -> None:
    start = time.perf_counter()
    said: set[bool] = set()
    for batch in _batches(job):
        samples = [samples for _, samples in batch]
        pictures = samples[0].pictures
        asked = [_asked(job, method, pictures) for method in job.methods]
        if pictures not in said:
            for ask in asked:
                job.model.prepare(pictures=pictures, **ask)
            _opening(job, pictures)
            said.add(pictures)
        results = []
        for ask in asked:
            began = time.perf_counter()
            whole = job.model.explain(samples, **ask, batch_size=job.args.batch_size)
            results.append((whole, (time.perf_counter() - began) / len(whole)))
        at = 0
        for source, one in batch:
            for n in range(at, at + len(one)):
                _one(job, source, [(whole[n], seconds) for whole, seconds in results])
            at += len(one)
    if job.many and job.written:
        job.console.line("wrote", f"{len(job.written)} files  {time.perf_counter() - start:.2f} s")


def _asked(job: Job, method: str, pictures: bool) -> dict[str, Any]:
    """What `Model.explain` is asked for; the ledger of what conserves anything always, for the summary."""
    options = job.methods[method]
    conserves = job.model.composite(method, pictures=pictures, **options).seed != "one"
    return {
        "method": method,
        "rules": job.entries,
        "ledger": job.args.ledger or conserves,
        **job.target,
        **options,
    }


def _batches(job: Job) -> Iterator[list[tuple[names.Source, Samples]]]:
    """The inputs, at most `--batch-size` samples at a time, so that memory does not grow with their number; pictures
    and arrays apart. Where one is rejected and that is the end, those before it still come."""
    batch: list[tuple[names.Source, Samples]] = []
    size, room = job.args.batch_size, job.args.batch_size
    for done, source in enumerate(job.sources):
        job.console.progress(done, len(job.sources), source.path.name)
        try:
            samples = _read(job.model, source)
            job.many = job.many or len(samples) > 1
        except InputError as error:
            if job.args.on_error == "fail":
                if batch:
                    yield batch
                more = "; or go on without it: --on-error skip" if len(job.sources) > 1 else ""
                raise InputError(error.message, error.fix + more) from None
            job.console.error(InputError(error.message, f"{error.fix}; skipped"))
            job.console.json({"input": str(source.path), "error": error.message, "fix": error.fix})
            job.rejected.append(str(source.path))
            continue
        if batch and samples.pictures != batch[0][1].pictures:
            yield batch
            batch, room = [], size
        start = 0
        while start < len(samples):
            part = samples[start : start + room]
            batch.append((source, part))
            start += len(part)
            room -= len(part)
            if not room:
                yield batch
                batch, room = [], size
    if batch:
        yield batch
    job.console.clear()


def _read(model: Model, source: names.Source) -> Samples:
    samples = model.read(source.path)
    stems = [source.stem] if len(samples) == 1 else [f"{source.stem}.{i}" for i in range(len(samples))]
    return replace(samples, names=stems)


def _opening(job: Job, pictures: bool) -> None:
    prep = job.model.preprocessing if pictures else None
    job.console.line("prep", summary.preprocessing(prep))
    if job.many:
        job.console.line("method", ", ".join(job.methods))
    if prep is not None and prep.assumed:
        job.console.note(
            f"preprocessing ASSUMED: nobody states {', '.join(prep.assumed)}",
            f"if it is right, say so: {prep.flags()}",
        )
    for text in filter(None, [job.model.graph.metadata.get("onnxlrp.note")]):
        job.console.note(text, "--size HxW states it")


def _one(job: Job, source: names.Source, results: list[tuple[Explanation, float]]) -> None:
    """Write and report one sample."""
    console = job.console
    job.samples += 1
    for nth, (one, seconds) in enumerate(results):
        began = time.perf_counter()
        paths = _write(job, one)
        seconds += time.perf_counter() - began
        if summary.drained(one) and one.method not in job.drained:
            job.drained[one.method] = str(source.path)
        job.unclosed += [f"{source.path}: {row}" for row in summary.open_rows(one)]
        targets = range(len(np.atleast_2d(one.target)))
        if not job.many and nth == 0:
            console.line(*summary.top(one))
        for t in targets:
            text = summary.sum_of(one, t)
            if job.many:
                best = summary.top(one, 3 if console.verbose else 1)[1].split("  [")[0]
                method = [one.method] if len(results) > 1 else []
                at_last = [str(p) for p in paths if t == targets[-1]]
                console.line(one.names[0] if one.names else "", "   ".join([best, *method, text, *at_last]), job.width)
            else:
                console.line("method", f"{one.method}   {text}")
            if job.args.ledger:
                console.table(summary.table(one, t), right=range(3, 9))
        if not job.many:
            console.line("wrote", f"{', '.join(map(str, paths))}  {seconds:.2f} s")
        record = summary.record(one, str(source.path), job.args.ledger)
        console.json({**record, "files": [str(p) for p in paths], "seconds": round(seconds, 4)})


def _write(job: Job, one: Explanation) -> list[Path]:
    kept = one if job.args.ledger else replace(one, ledger=None)
    look = {"cmap": job.args.cmap, "clip": job.args.clip, "space": job.args.space}
    pattern = job.pattern.replace("{index}", str(job.samples - 1))
    paths: list[Path] = []
    for kind in job.formats:
        for path in kept.paths(pattern, kind):
            if path.resolve() in job.inputs:
                raise UsageError(f"{path}: the heatmap would replace an input", "choose another name with -o")
            if path in job.written:
                raise UsageError(
                    f"{path}: two heatmaps of this run would have this name", "add {stem} or {index} to -o"
                )
            job.written.add(path)
        paths += kept.save(pattern, kind, **look)
    return paths


def _verdict(job: Job) -> int:
    for method, where in job.drained.items():
        job.console.note(
            f"{where}: biases absorb nearly all of the logit under {method}; the heatmap shows the little that is left",
            "--ledger shows where; -m deep_taylor credits no biases",
        )
    if job.unclosed:
        text = f"the ledger does not close: {job.unclosed[0]}" + f" (and {len(job.unclosed) - 1} more)" * (
            len(job.unclosed) > 1
        )
        fix = "compare with --engine reference (float64), or raise --epsilon; report it if both leave it open"
        if job.args.ledger:
            raise CheckFailed(text, fix)
        job.console.note(text, fix)
    if job.rejected:
        job.console.note(f"{len(job.rejected)} of {len(job.sources)} inputs were skipped")
        return InputError.code
    return 0
