"""`onnxlrp clusters`: find the strategies that a model has for a class, by clustering its heatmaps."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path

from ..analysis.clusters import virelay
from ..analysis.clusters.find import Clusters
from ..analysis.clusters.result import FORMATS
from ..errors import InputError, UsageError
from ..streaming.batches import Rejected
from . import arguments, reading
from .console import Console
from .parsers.groups import METHOD_OPTION

VIRELAY = "virelay"


def run(args: argparse.Namespace, console: Console) -> int:
    """Find the clusters and write them; return the exit code."""
    began = time.perf_counter()
    seed = arguments.seed(vars(args).pop(f"{METHOD_OPTION}seed"))
    formats = arguments.known_words(args.format, (*FORMATS, VIRELAY), "format")
    folder = Path(args.out)
    if folder.is_file():
        raise UsageError(f"-o {folder}: a file, not a folder", "give a folder, such as clusters/")
    options = arguments.explaining_one(args)
    source = reading.files(args, console)
    model = arguments.open_model(args)
    arguments.check_matches(model, options)
    rejected: list[str] = []

    def reject(row: Rejected) -> None:
        reading.reject(row, len(source), args.on_error, console)
        rejected.append(row.item.origin)

    with ExitStack() as stack:
        export = stack.enter_context(virelay.Writer(folder / VIRELAY)) if VIRELAY in formats else None
        told = stack.enter_context(console.passes("clusters"))
        found = Clusters.find(
            model,
            source,
            options.at(),
            grid=args.grid,
            neighbours=args.neighbours,
            null_sets=args.null_sets,
            seed=seed,
            batch_size=args.batch_size,
            progress=told,
            reject=reject,
            watch=None if export is None else export.add,
        )
        written = found.save(folder, [word for word in formats if word != VIRELAY])
        written += [] if export is None else export.close(found)
    _summary(found, console)
    console.line("wrote", f"{', '.join(map(str, written))}  {time.perf_counter() - began:.2f} s", 10)
    console.json({**found.to_dict(), "files": [str(path) for path in written], "rejected": rejected}, 1)
    return InputError.code if rejected else 0


def _summary(found: Clusters, console: Console) -> None:
    console.line("clusters", found.headline(), 10)
    for n in range(found.decision.count if found.found else 0):
        console.line("", found.caption(n), 10)
    console.line("because", found.why(), 10)
    silent = int((found.labels < 0).sum())
    if silent:
        console.note(f"{silent} samples have no relevance at all and are in no cluster")
    if found.target_name() == "several classes":
        console.note("the samples were explained for several classes: clusters may be classes", "name one: -t CLASS")
