"""`onnxlrp explain`: heatmaps of pictures and arrays, in batches, file by file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import heatmap, images
from ..errors import CheckFailed, InputError, NothingToDo, UsageError
from ..explanation import FORMATS, SPACES, Explanation, file_pattern
from ..model import Model
from ..samples import Samples
from ..targets import parse as parse_target
from . import console, request, summary

_STAMP = b"Software\0onnxlrp"


@dataclass(frozen=True)
class Source:
    """A file to explain, and the stem that no other file of the run has."""

    path: Path
    stem: str


@dataclass
class Job:
    """A run: what is asked for, and what has come of it."""

    model: Model
    sources: list[Source]
    methods: dict[str, dict[str, Any]]
    entries: request.Entries
    target: dict[str, Any]
    pattern: str
    formats: list[str]
    args: argparse.Namespace
    console: console.Console
    many: bool = False  # one line is said of each sample, instead of a paragraph
    written: set[Path] = field(default_factory=set)
    samples: int = 0
    rejected: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.many = len(self.sources) > 1
        self.inputs = {source.path.resolve() for source in self.sources}
        self.width = max(console.KEY, *(len(source.stem) + 2 for source in self.sources))


def run(args: argparse.Namespace, console: console.Console) -> int:
    """Explain every input by every method; the exit code."""
    methods, entries = request.methods(args), request.entries(args)
    heatmap.colormap(args.cmap)
    heatmap.limit(np.zeros(1), args.clip)
    if args.space not in SPACES:
        raise UsageError(f'no space "{args.space}"', "give input or original")
    if args.batch_size < 1:
        raise UsageError(f"--batch-size {args.batch_size}", "give 1 or more")
    formats, pattern = _naming(args, len(methods))
    wanted = args.target or ["top1"]
    target = {"target": wanted[0]} if len(wanted) == 1 else {"targets": wanted}
    for word in wanted:
        parse_target(word)
    sources = _sources(args.inputs, console)
    _tells_apart(pattern, len(sources), len(methods))
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
    said = False
    for batch in _batches(job):
        samples = [samples for _, samples in batch]
        if not said:
            _opening(job, samples[0])
            said = True
        pictures = all(s.pictures for s in samples)
        results = []
        for method, options in job.methods.items():
            gradient = job.model.composite(method, pictures=pictures, **options).seed == "one"
            ask: dict[str, Any] = {"method": method, "rules": job.entries, **job.target, **options}
            ask["ledger"] = job.args.ledger or not gradient
            job.model.prepare(pictures=pictures, **ask)
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


def _batches(job: Job) -> Iterator[list[tuple[Source, Samples]]]:
    """The inputs, at most `--batch-size` samples at a time, so that memory does not grow with their number."""
    batch: list[tuple[Source, Samples]] = []
    size, room = job.args.batch_size, job.args.batch_size
    for done, source in enumerate(job.sources):
        job.console.progress(done, len(job.sources), source.path.name)
        try:
            samples = _read(job.model, source)
            job.many = job.many or len(samples) > 1
        except InputError as error:
            if job.args.on_error == "fail":
                raise
            job.console.error(InputError(error.message, f"{error.fix}; skipped"))
            job.console.json({"input": str(source.path), "error": error.message, "fix": error.fix})
            job.rejected.append(str(source.path))
            continue
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


def _read(model: Model, source: Source) -> Samples:
    samples = model.read(source.path)
    names = [source.stem] if len(samples) == 1 else [f"{source.stem}.{i}" for i in range(len(samples))]
    return replace(samples, names=names)


def _opening(job: Job, first: Samples) -> None:
    prep = job.model.preprocessing if first.pictures else None
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


def _one(job: Job, source: Source, results: list[tuple[Explanation, float]]) -> None:
    """Write and report one sample."""
    console = job.console
    job.samples += 1
    for nth, (one, seconds) in enumerate(results):
        began = time.perf_counter()
        paths = _write(job, one)
        seconds += time.perf_counter() - began
        job.unclosed += [f"{source.path}: {row}" for row in summary.open_rows(one)]
        names = ", ".join(map(str, paths))
        sums = [summary.sum_of(one, t) for t in range(len(np.atleast_2d(one.target)))]
        name, top = summary.top(one)
        if job.many:
            stem = one.names[0] if one.names else ""
            best = top if console.verbose else " ".join(top.split(" · ")[0].split("  [")[0].split())
            method = [one.method] if len(results) > 1 else []
            console.line(stem, "   ".join([best, *method, *sums, names]), job.width)
        else:
            if nth == 0:
                console.line(name, top)
            for text in sums:
                console.line("method", f"{one.method}   {text}")
        if job.args.ledger:
            for t in range(len(sums)):
                console.table(summary.table(one, t), right=range(3, 9))
        if not job.many:
            console.line("wrote", f"{names}  {seconds:.2f} s")
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
                raise UsageError(f"{path}: two heatmaps of this run would have this name", "add {stem} or {index} to -o")
            job.written.add(path)
        paths += kept.save(pattern, kind, **look)
    return paths


def _verdict(job: Job) -> int:
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


def _sources(given: list[str], console: console.Console) -> list[Source]:
    """The files, those of folders in their place; of folders without the heatmaps that a run before this one left."""
    paths: list[Path] = []
    for word in given:
        path = Path(word)
        if not path.is_dir():
            paths.append(path)
            continue
        listed = images.listing(path)
        fresh = [p for p in listed if not _ours(p)]
        if len(fresh) < len(listed):
            console.note(f"{path}: {len(listed) - len(fresh)} heatmaps written by onnxlrp are left out")
        if not fresh:
            raise NothingToDo(f"{path}: holds nothing but heatmaps", "give the folder of the pictures")
        paths += fresh
    return [Source(p, stem) for p, stem in zip(paths, request.unique([p.stem for p in paths]), strict=True)]


def _ours(path: Path) -> bool:
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb") as file:
            return _STAMP in file.read(4096)
    except OSError:
        return False


def _naming(args: argparse.Namespace, methods: int) -> tuple[list[str], str]:
    """The formats, and the pattern of the files' names."""
    default = "{stem}.{target}.png" if methods == 1 else "{stem}.{target}.{method}.png"
    pattern = args.output or default
    if pattern.endswith(("/", "\\")) or Path(pattern).is_dir():
        pattern = str(Path(pattern) / default)
    suffix = Path(pattern).suffix.lower().lstrip(".")
    words = args.format.split(",") if args.format else [suffix if suffix in FORMATS else "png"]
    formats = list(dict.fromkeys(word.strip().lower() for word in words if word.strip()))
    for word in formats or [""]:
        if word not in FORMATS:
            raise UsageError(f'no format "{word}"', f"give a list of {', '.join(FORMATS)}")
    folder = Path(pattern).parent
    if "{" not in str(folder) and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", f"mkdir -p '{folder}'")
    for word in formats:
        file_pattern(pattern, word)
    return formats, pattern


def _tells_apart(pattern: str, inputs: int, methods: int) -> None:
    """Refuse a pattern that gives several files one name."""
    if inputs > 1 and not any(f"{{{name}}}" in pattern for name in ("stem", "index")):
        raise UsageError(f"-o {pattern}: one name for {inputs} inputs", "put {stem} into it: -o '{stem}.{target}.png'")
    if methods > 1 and "{method}" not in pattern:
        raise UsageError(f"-o {pattern}: one name for {methods} methods", "put {method} into it")
