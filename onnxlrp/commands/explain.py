"""`onnxlrp explain`: heatmaps of pictures and arrays, in batches, file by file."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import CheckFailed, InputError, UsageError
from ..explanation import Explanation, grid
from ..explanation.figures import SPACES
from ..explanation.saving import encoded
from ..explanation.targets import parse as parse_target
from ..graph import facts
from ..methods.registry import METHODS
from ..model import Model
from ..pictures import colors
from ..preprocessing import images
from ..preprocessing.samples import Samples
from . import arguments, extra_input_rows, output_names, summary
from .console import KEY, Console


@dataclass(frozen=True)
class Piece:
    """Samples of one source that run together; `row` is the first's among all samples of the run, where it counts."""

    source: output_names.Source
    samples: Samples
    row: int


@dataclass
class Job:
    """A run: what is asked for, and what has come of it."""

    model: Model
    sources: list[output_names.Source]
    methods: dict[str, dict[str, Any]]
    entries: arguments.Entries
    target: dict[str, Any]
    pattern: str
    formats: list[str]
    args: argparse.Namespace
    console: Console
    conditions: dict[str, list[int]] = field(default_factory=dict)
    many: bool = False  # one line is said of each sample, instead of a paragraph
    written: set[Path] = field(default_factory=set)
    samples: int = 0
    rejected: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)
    drained: dict[str, str] = field(default_factory=dict)
    negative: dict[str, str] = field(default_factory=dict)
    decided: set[str] = field(default_factory=set)
    animated: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.many = len(self.sources) > 1
        self.inputs = {source.path.resolve() for source in self.sources}
        self.width = max(KEY, *(len(source.stem) + 2 for source in self.sources))


def run(args: argparse.Namespace, console: Console) -> int:
    """Explain every input by every method; the exit code."""
    methods, entries = arguments.methods(args), arguments.entries(args)
    colors.colormap(args.cmap)
    colors.limit(np.zeros(1), args.clip)
    if args.space not in SPACES:
        raise UsageError(f'no space "{args.space}"', "give input or original")
    if args.batch_size < 1:
        raise UsageError(f"--batch-size {args.batch_size}", "give 1 or more")
    formats, pattern = output_names.naming(args, len(methods))
    wanted = args.target or ["top1"]
    target = {"target": wanted[0]} if len(wanted) == 1 else {"targets": wanted}
    for word in wanted:
        parse_target(word)
    sources = output_names.sources(args.inputs, console)
    if args.grid and formats != ["png"]:
        raise UsageError("--grid draws a PNG", "leave --format out")
    output_names.tells_apart(pattern, len(sources), 1 if args.grid else len(methods))
    start = time.perf_counter()
    model = arguments.open_model(args)
    for method, options in methods.items():
        if entries and METHODS[method].is_composite:
            arguments.check_matches(model, model.composite(method, rules=entries, **options), entries)
    console.detail(f"{args.model}: {len(model.graph.layers)} layers, read in {time.perf_counter() - start:.2f} s")
    conditions = arguments.conditions(args)
    arguments.refuse_unread(methods, entries=entries, conditions=conditions)
    job = Job(model, sources, methods, entries, target, pattern, formats, args, console, conditions)
    _explain(job)
    return _verdict(job)


def _explain(job: Job) -> None:
    start = time.perf_counter()
    said: set[bool] = set()
    for batch in _batches(job):
        samples = [piece.samples for piece in batch]
        given = extra_input_rows.of(job.model.given, [(piece.row, len(piece.samples)) for piece in batch])
        pictures = samples[0].pictures
        asked = [_asked(job, method, pictures) for method in job.methods]
        if pictures not in said:
            for ask in asked:
                job.model.prepare(pictures=pictures, **ask)
            _opening(job, pictures, first=not said)
            said.add(pictures)
        results = []
        for ask in asked:
            began = time.perf_counter()
            with job.console.passes(ask["method"]) as progress:
                how = {"given": given, "batch_size": job.args.batch_size, "progress": progress}
                whole = job.model.explain(samples, **ask, **how)
            _say_decided(job, whole)
            results.append((whole, (time.perf_counter() - began) / len(whole)))
        at = 0
        for piece in batch:
            for n in range(at, at + len(piece.samples)):
                _one(job, piece.source, [(whole[n], seconds) for whole, seconds in results])
            at += len(piece.samples)
    if job.many and job.written:
        job.console.line("wrote", f"{len(job.written)} files  {time.perf_counter() - start:.2f} s")


def _asked(job: Job, method: str, pictures: bool) -> dict[str, Any]:
    """What `Model.explain` is asked for; the ledger of what conserves anything always, for the summary."""
    options = job.methods[method]
    asked = {"method": method, **job.target, **options}
    if not METHODS[method].is_composite:
        return asked
    conserves = job.model.composite(method, pictures=pictures, **options).seed != "one"
    return {**asked, "rules": job.entries, "conditions": job.conditions, "ledger": job.args.ledger or conserves}


def _batches(job: Job) -> Iterator[list[Piece]]:
    """The inputs, at most `--batch-size` samples at a time, so that memory does not grow with their number; pictures
    and arrays apart. Where one is rejected and that is the end, those before it still come."""
    batch: list[Piece] = []
    size, room = job.args.batch_size, job.args.batch_size
    first = extra_input_rows.starts(job.model, job.sources)
    for done, source in enumerate(job.sources):
        job.console.progress(done, len(job.sources), source.path.name)
        try:
            samples = _read(job.model, source)
            if images.frames(source.path) > 1:
                job.animated.append(str(source.path))
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
        if batch and samples.pictures != batch[0].samples.pictures:
            yield batch
            batch, room = [], size
        start = 0
        while start < len(samples):
            part = samples[start : start + room]
            batch.append(Piece(source, part, first[done] + start))
            start += len(part)
            room -= len(part)
            if not room:
                yield batch
                batch, room = [], size
    if batch:
        yield batch
    job.console.clear()


def _read(model: Model, source: output_names.Source) -> Samples:
    samples = model.read(source.path)
    stems = [source.stem] if len(samples) == 1 else [f"{source.stem}.{i}" for i in range(len(samples))]
    return replace(samples, names=stems)


def _say_decided(job: Job, whole: Explanation) -> None:
    """Once for each method: the layers that --on-unsupported decided."""
    layers = whole.provenance.get("on_unsupported", ())
    if not layers or whole.method in job.decided:
        return
    job.decided.add(whole.method)
    said = ", ".join(f"{layer['op']} {layer['layer']!r}" for layer in layers)
    job.console.note(
        f"{whole.method} has no rule for {said}: {layers[0]['rule']}, by --on-unsupported",
        f"to be sure of one: --rule '{layers[0]['op']}=...'; onnxlrp rules lists them",
    )


def _opening(job: Job, pictures: bool, first: bool) -> None:
    model = job.model
    for note in model.notes if first else ():
        job.console.note(*note)
    said = summary.head(facts.head_of(model.graph, model.graph.outputs[0].name).kind, model.classes)
    if said and first:
        job.console.line("head", said)
    prep = job.model.preprocessing if pictures else None
    job.console.line("prep", summary.preprocessing(prep))
    if job.many:
        job.console.line("method", ", ".join(job.methods))
    if prep is not None and prep.assumed:
        job.console.note(
            f"preprocessing ASSUMED: nobody states {', '.join(prep.assumed)}",
            f"if it is right, say so: {prep.flags()}; onnxlrp inspect {job.args.model} --probe {job.sources[0].path} "
            "ranks others",
        )
    for text in summary.doubts(prep):
        job.console.note(text)
    for text in filter(None, [job.model.graph.metadata.get("onnxlrp.note")]):
        job.console.note(text, "--size HxW states it")


def _one(job: Job, source: output_names.Source, results: list[tuple[Explanation, float]]) -> None:
    """Write and report one sample."""
    console = job.console
    job.samples += 1
    for nth, (one, seconds) in enumerate(results):
        began = time.perf_counter()
        paths = [] if job.args.grid else _write(job, one)
        seconds += time.perf_counter() - began
        if summary.drained(one) and one.method not in job.drained:
            job.drained[one.method] = str(source.path)
        if any(summary.not_positive(one, t) for t in range(len(np.atleast_2d(one.target)))):
            job.negative.setdefault(one.method, str(source.path))
        job.unclosed += [f"{source.path}: {row}" for row in summary.open_rows(one)]
        targets = range(len(np.atleast_2d(one.target)))
        if not job.many and nth == 0:
            console.line(*summary.top(one))
        if job.args.grid:
            paths = _grid(job, [one for one, _ in results]) if nth == len(results) - 1 else []
        for t in targets:
            text = summary.sum_of(one, t)
            if job.many:
                best = summary.top(one, 3 if console.verbose else 1)[1].split("  [")[0]
                method = [one.method] if len(results) > 1 else []
                at_last = [str(p) for p in paths if t == targets[-1]]
                console.line(one.names[0] if one.names else "", "   ".join([best, *method, text, *at_last]), job.width)
            else:
                console.line("method", f"{one.method:<{max(map(len, job.methods))}}   {text}")
            if job.args.ledger:
                console.table(summary.table(one, t), right=range(3, 9))
        if not job.many and paths:
            console.line("wrote", f"{', '.join(map(str, paths))}  {seconds:.2f} s")
        record = summary.record(one, str(source.path), job.args.ledger)
        console.json({**record, "files": [str(p) for p in paths], "seconds": round(seconds, 4)})


def _grid(job: Job, ones: list[Explanation]) -> list[Path]:
    """One sheet of all methods for each target of a sample."""
    pattern = job.pattern.replace("{index}", str(job.samples - 1))
    paths = []
    for t in range(len(np.atleast_2d(ones[0].target))):
        path = _fresh(job, grid.path(pattern, ones[0], t))
        sheet = grid.draw(ones, t, job.args.cmap, job.args.clip)
        made = {one.method: one.to_dict()["provenance"] for one in ones}
        paths.append(
            files.replace(path, encoded(sheet, {"Software": "onnxlrp", "onnxlrp.provenance": json.dumps(made)}))
        )
    return paths


def _fresh(job: Job, path: Path) -> Path:
    """A name that no input has, and no other file of this run."""
    if path.resolve() in job.inputs:
        raise UsageError(f"{path}: the heatmap would replace an input", "choose another name with -o")
    if path in job.written:
        raise UsageError(f"{path}: two heatmaps of this run would have this name", "add {stem} or {index} to -o")
    job.written.add(path)
    return path


def _write(job: Job, one: Explanation) -> list[Path]:
    kept = one if job.args.ledger else replace(one, ledger=None)
    look = {"cmap": job.args.cmap, "clip": job.args.clip, "space": job.args.space}
    pattern = job.pattern.replace("{index}", str(job.samples - 1))
    paths: list[Path] = []
    for kind in job.formats:
        for path in kept.paths(pattern, kind):
            _fresh(job, path)
        paths += kept.save(pattern, kind, **look)
    return paths


def _verdict(job: Job) -> int:
    for method, where in job.negative.items():
        job.console.note(
            f"{where}: the output is not positive, and {method} explains max(f, 0): its heatmap is empty",
            "-m epsilon_plus_flat explains negative outputs too",
        )
    if job.drained:
        told, where = ", ".join(job.drained), next(iter(job.drained.values()))
        job.console.note(
            f"{where}: biases and stabilisers absorb nearly all of the logit under {told}: the heatmap shows where the "
            "rest comes from, and says nothing of the logit's size",
            "--ledger shows which layers absorb it; see whether others agree that pass no biases: "
            "-m epsilon_plus_flat,deep_taylor,grad_cam,occlusion --grid",
        )
    if job.animated:
        more = f" and {len(job.animated) - 1} more" if len(job.animated) > 1 else ""
        job.console.note(
            f"{job.animated[0]}{more}: of several frames the first is explained", "save the frame that you mean"
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
