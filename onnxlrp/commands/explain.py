"""`onnxlrp explain`: write heatmaps of pictures and arrays, batch by batch."""

from __future__ import annotations

import argparse
import time
from array import array
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, UnsupportedError, UsageError
from ..explanation import Explanation
from ..explanation.figures import SPACES
from ..explanation.result import has_tokens
from ..methods.default import PICTURES
from ..model import ExplainOptions, Model
from ..model.options.explain import is_default
from ..pictures import colors, heatmap
from ..pictures.smoothing import Smoothing
from ..streaming import extra_rows, sinks
from ..streaming.batches import Batch, Rejected, batches
from ..streaming.sources import Files, Item, Paths
from . import arguments, explain_run, reading, summary
from .console import KEY, Console, printable
from .explain_notes import Notes

if TYPE_CHECKING:
    from ..analysis.bilrp import Lines

STRONGEST = 6  # tokens that are printed

Timed = tuple[Explanation, float]  # an explanation and the seconds it took


def run(args: argparse.Namespace, console: Console) -> int:
    """Explain every input by every method; return the exit code."""
    started = time.perf_counter()
    asked = arguments.explaining(args)
    colors.colormap(args.cmap)
    colors.limit(np.zeros(1), args.clip)
    Smoothing.parse(args.smooth)
    heatmap.check_blend(args.blend)
    if args.space not in SPACES:
        raise UsageError(f'no space "{args.space}"', "give input or original")
    table = explain_run.checked(args)
    source = reading.files(args, console).compact()
    _check_lines(args, source, asked)
    plan = sinks.planned(args.out, args.format, len(source), len(asked), args.grid)
    written = sinks.Written(Paths(source, [Path(args.similar_to)] if args.similar_to else []))
    if args.lines is not None:
        written.claim(Path(args.lines))
    start = time.perf_counter()
    model = arguments.open_model(args)
    methods = arguments.methods(asked, model)
    for options in asked:
        arguments.check_matches(model, options)
    console.detail(f"{args.model}: {len(model.graph.layers)} layers, read in {time.perf_counter() - start:.2f} s")
    notes = Notes(console, model, source, methods, args.ledger, any(map(is_default, asked)))
    sink = _sink(args, plan, written, len(asked))
    report = Report(console, sink, notes, methods, args.ledger, len(source) > 1, started)
    report.every = arguments.names_all(args)
    report.cmap, report.clip = args.cmap, args.clip
    report.widen(item.name for item in source)
    named = dict(zip(methods, asked, strict=True))
    how = [{"method": name, **options.options, **options.recorded()} for name, options in named.items()]
    record = explain_run.record(args, model, source, table, plan, written, how, console)
    report.record, report.samples, notes.rejected = record, record.samples, record.rejected
    before = len(written)
    # Before the heatmap: what two samples cannot be asked for is refused before a file is written.
    lines = None if args.lines is None else _lines(args, asked[0], model, source)
    with record.writing():
        _run(args, model, named, plan, source, report)
    if lines is not None:
        console.line("lines", f"ΣR {summary.number(lines.relevance.sum())} of {summary.number(lines.similarity)}")
        console.line("wrote", str(lines.save(args.lines, cmap=args.cmap)))
    console.clear()
    if report.many and len(written) > before:
        console.line("wrote", f"{len(written) - before} files  {time.perf_counter() - started:.2f} s")
    notes.closing()
    return InputError.code if notes.rejected else 0


def _run(
    args: argparse.Namespace,
    model: Model,
    asked: dict[str, ExplainOptions],
    plan: sinks.Plan,
    source: Files,
    report: Report,
) -> None:
    """Explain what is left of a run, batch by batch."""
    console, notes, record = report.console, report.notes, report.record
    prepared: dict[tuple[bool, tuple[int, ...]], dict[str, ExplainOptions]] = {}
    starts = extra_rows.starts(model, source)
    on_error = args.on_error or ("skip" if record.run else "fail")
    # What is made again is in no batch with what was not done: the batches of the rest stay what they are.
    again = [(one.position, one.item) for one in record.again.values()]
    todo = [(source, starts)] if record.left is None else [_part(part, starts) for part in (again, record.left)]
    made = (batches(part, [model], args.batch_size, rows, console.progress) for part, rows in todo)
    for batch in chain.from_iterable(made):
        if isinstance(batch, Rejected):
            reading.reject(batch, len(source), on_error, console)
            console.json({"input": batch.item.origin, "error": batch.error.message, "fix": batch.error.fix})
            notes.rejected += 1
            record.reject(batch)
            continue
        sinks.check_rows(plan, max(piece.size for piece in batch))
        first = batch[0].samples[0]
        pictures, key = first.pictures, first.form
        report.many = report.many or any(piece.size > 1 for piece in batch)
        if key not in prepared:
            sized = model.at(first.kind.shape, first.own_size)
            named = _possible(sized, asked, pictures, notes) if report.every else asked
            prepared[key] = {name: _prepared(sized, options, pictures) for name, options in named.items()}
            notes.opening(sized, pictures, report.many)
            if "png" in plan.formats:
                look = {"smooth": args.smooth, "blend": args.blend, "space": args.space, "grid": args.grid}
                notes.look(sized.kind, pictures, **look)
        _explain(model, batch, prepared[key], report)
        record.batch(batch)


def _part(items: Sequence[tuple[int, Item]], starts: Sequence[int]) -> tuple[Files, Sequence[int]]:
    """Return some items of a source, with the row of each item's first sample that is read."""
    from ..streaming.run_folder import Items

    return Files(Items(items)), array("Q", (starts[n] + item.start for n, item in items))


def _check_lines(args: argparse.Namespace, source: Sized, asked: Sequence[ExplainOptions]) -> None:
    """Raise UsageError where --lines has nothing to compare, is no such file, or is of several pictures or methods."""
    if args.lines is None:
        return
    from ..analysis.bilrp import check_file

    if args.similar_to is None:
        raise UsageError("--lines without --similar-to", "name the other picture: --similar-to FILE")
    if len(source) != 1:
        raise UsageError(f"--lines of {len(source)} pictures", "give one picture, and --similar-to another")
    if len(asked) != 1:
        raise UsageError(f"--lines of {len(asked)} methods", f"name one composite: -m {PICTURES}")
    for name in ("conditions", "positions"):
        if getattr(asked[0], name):
            flag = arguments.FLAGS[name].words[-1]
            raise UsageError(f"{flag} beside --lines: lines share the whole similarity", f"leave out {flag} or --lines")
    check_file(args.lines)


def _lines(args: argparse.Namespace, options: ExplainOptions, model: Model, source: Files) -> Lines:
    """Compute the lines between a picture and the one that it is compared with."""
    names = ("output", "input", "given", "rules", "on_unsupported", "conditions", "positions", "similarity")
    how: dict[str, Any] = {name: getattr(options, name) for name in names}
    how |= {"batch_size": options.batch_size, **options.options}
    (item,) = source
    return model.bilrp(item.read(model), options.similar_to, model.decided(options).method, **how)


def _sink(args: argparse.Namespace, plan: sinks.Plan, written: sinks.Written, methods: int) -> sinks.Sink:
    look = {"cmap": args.cmap, "clip": args.clip, "smooth": args.smooth, "blend": args.blend}
    if args.grid:
        return sinks.GridSink(plan, written, methods, look)
    return sinks.FileSink(plan, written, {**look, "space": args.space}, args.ledger)


def _possible(
    model: Model, named: dict[str, ExplainOptions], pictures: bool, notes: Notes
) -> dict[str, ExplainOptions]:
    """Return those of all methods that can explain a model, and note why the others cannot. Raises UsageError."""
    found, errors = {}, []
    for name, options in named.items():
        if error := arguments.refused(model, options.at(), pictures):
            notes.skipped(name, error)
            errors.append(error)
        else:
            found[name] = options
    if not found:
        raise errors[0] if errors else UsageError("--method all: there is no method", "onnxlrp methods lists them")
    return found


def _prepared(model: Model, options: ExplainOptions, pictures: bool) -> ExplainOptions:
    """The options of samples of one kind, compiled; the ledger of what conserves anything always, for the summary."""
    options = options.at()
    if arguments.is_composite(model.decided(options).method):
        conserves = model.composite(options, pictures=pictures).seed != "one"
        options = replace(options, ledger=options.ledger or conserves)
    model.prepare(options, pictures=pictures)
    return options


def _explain(model: Model, batch: Batch, asked: dict[str, ExplainOptions], report: Report) -> None:
    """Explain a batch by every method, and report its samples in order."""
    console, notes = report.console, report.notes
    for piece in batch:
        notes.reads(piece)
    results: dict[str, Timed] = {}
    given = extra_rows.of_batch(model, batch)
    for name, options in [*asked.items()]:
        began = time.perf_counter()
        with console.passes(name) as progress:
            samples = [piece.samples[0] for piece in batch]
            try:
                whole = model.explain(samples, options.at(given), progress=report.record.whole(progress))
            except (UsageError, UnsupportedError) as error:
                if not report.every or len(asked) == 1:
                    raise
                notes.skipped(name, error)
                del asked[name]
                continue
        notes.decided(whole)
        results[name] = whole, (time.perf_counter() - began) / len(whole)
    report.sink.expect(len(results))
    items = [(piece.item, piece.start + k) for piece in batch for k in range(len(piece))]
    for piece in batch:
        names = piece.samples[0].names  # of a table ITEM.N: the last of its rows may come in a later batch
        first, counted = names[0], f".{piece.start}"
        last = [f"{first.removesuffix(counted)}.{piece.size - 1}"] if first.endswith(counted) else []
        report.widen([*names, *last])
    for n, (item, sample) in enumerate(items):
        report.sample(item, sample, [(whole[n], seconds) for whole, seconds in results.values()])


@dataclass
class Report:
    """Writes the files of each sample and prints its lines: a paragraph of a sample that is alone, else a line.

    Attributes:
        console: Where lines are printed.
        sink: What writes the files.
        notes: Collects the notes of the end.
        methods: The names of the methods.
        ledger: Print the ledger.
        many: The run has several samples.
        started: When the run began, before the model was read.
        width: Of the column of names.
        samples: The number of samples so far.
        every: All methods are asked for: one that cannot explain the model is left out.
        record: What the run writes down.
        cmap: The colour map of tokens.
        clip: The percentile of |R| that their colours span.
    """

    console: Console
    sink: sinks.Sink
    notes: Notes
    methods: Sequence[str]
    ledger: bool
    many: bool
    started: float
    width: int = KEY
    samples: int = 0
    every: bool = False
    cmap: str = "RdBu_r"
    clip: float = 99.5
    record: explain_run.Record = field(init=False)

    def sample(self, item: Item, sample: int, results: Sequence[Timed]) -> None:
        """Write and report a sample of an item, explained by each method."""
        if not self.many:
            self.console.line(*summary.top(results[0][0]))
            if text := summary.boxes(results[0][0]):
                self.console.line("boxes", text)
        number = self.record.number(item, sample, self.samples)
        for one, seconds in results:
            began = time.perf_counter()
            paths = self.sink.write(one, number)
            seconds += time.perf_counter() - began
            self.notes.found(one, item.origin)
            self.record.explained(one, item, sample, paths)
            self._lines(one, paths, len(results) > 1)
            if not self.many and paths:
                whole = time.perf_counter() - self.started
                self.console.line("wrote", f"{', '.join(map(str, paths))}  {whole:.2f} s")
            record = summary.record(one, item.origin, self.ledger)
            self.console.json({**record, "files": [str(p) for p in paths], "seconds": round(seconds, 4)})
        self.samples += number == self.samples

    def widen(self, names: Iterable[str]) -> None:
        """Let the column of names take these, and two spaces."""
        self.width = max(self.width, *(len(printable(name)) + 2 for name in names))

    def _lines(self, one: Explanation, paths: Sequence[Path], several: bool) -> None:
        """Print how much of the score a heatmap accounts for, for each target."""
        console, targets = self.console, len(np.atleast_2d(one.target))
        for t in range(targets):
            text = summary.sum_of(one, t)
            if self.many:
                best = summary.top(one, 3 if console.verbose else 1)[1].split("  [")[0]
                method = [one.method] if several else []
                files = [str(path) for path in paths if t == targets - 1]
                name = one.names[0] if one.names else ""
                self.widen([name])
                console.line(name, "   ".join([best, *method, text, *files]), self.width)
            else:
                console.line("method", f"{one.method:<{max(map(len, self.methods))}}   {text}")
            if has_tokens(one, 0):
                self._tokens(one, t)
            if self.ledger:
                console.table(summary.table(one, t), right=range(3, 9))

    def _tokens(self, one: Explanation, target: int) -> None:
        """Print the strongest tokens, and on a terminal all of them in colour."""
        from ..explanation.tokens import colors, sign, tokens
        from ..pictures.colors import is_dark

        found = tokens(one, 0, target)
        strongest = sorted(found, key=lambda token: -abs(token.relevance))[:STRONGEST]
        words = " · ".join(f"{sign(token.text)} {summary.number(token.relevance)}" for token in strongest)
        self.console.line("tokens", words)
        shades = colors(found, self.cmap, self.clip)
        shown = [(token.text, shade, is_dark(shade)) for token, shade in zip(found, shades, strict=True)]
        self.console.words("", shown)
