"""`onnxlrp atlas`: what every unit of a model answers to, as one offline page."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from ..analysis.atlas import build, pages, store
from ..analysis.atlas.asked import FORMATS, Asked
from ..analysis.atlas.build import Atlas, Interrupted
from ..analysis.atlas.notes import Concepts
from ..analysis.atlas.source import Pictures, pictures
from ..errors import InputError, UsageError, at_least
from ..streaming.batches import Rejected
from . import arguments
from .console import Console
from .parsers.groups import SOURCE

_INTERRUPTED = 130  # as of the whole command
_WIDTH = 10
_KEPT = "the folder keeps what was read: the same command with --resume goes on"


def run(args: argparse.Namespace, console: Console) -> int:
    """Make an atlas and its page; return the exit code."""
    began = time.perf_counter()
    formats = arguments.known_words(args.format, FORMATS, "format")
    options = arguments.explaining_one(args)
    asked = _asked(args, options.target)
    at_least(0, whole=True, prototypes=args.prototypes)
    folder = Path(args.out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"-o {folder}: a file, not a folder", "give a folder: -o atlas/")
    source = pictures(args.inputs, **{name: getattr(args, name) for name in SOURCE})
    if source.left_out:
        console.note(f"{source.left_out} heatmaps written by onnxlrp are left out")
    model = arguments.open_model(args)
    model.refuse_maps()
    concepts = None if args.concepts is None else Concepts.read(Path(args.concepts))
    if args.resume and not ((folder / store.STATE).exists() or (folder / store.MANIFEST).exists()):
        console.note(f"{folder} holds no run to go on with: it begins anew")
    rules, words = build.propagation(model, options.at(), {})
    if "relevance" in asked.by:
        arguments.check_matches(model, options)
    try:
        made = _collected(model, source, folder, asked, rules, words, args.resume, formats, console)
        with console.passes("pictures", _KEPT) as told:
            page = pages.Pages(made, model, source, rules, asked, concepts, args.prototypes)
            written = page.write(told)
    except Interrupted:
        return _INTERRUPTED
    _report(made, model, console)
    if page.heated.units is not None and page.refused is None:
        what = f"heatmaps {page.heated.describe()} alone"
        console.note(what, f"--heatmaps {page.heated.ranks} draws those of all: up to {page.heated.left} passes")
    if page.refused is not None:
        console.note(f"no heatmaps: {page.refused.message}", page.refused.command)
    console.line("wrote", f"{written[0]}  {len(written)} pages, {time.perf_counter() - began:.2f} s", _WIDTH)
    about = {key: made.about[key] for key in ("samples", "rejected", "identity", "layers")}
    console.json({**about, "page": str(written[0]), "pages": len(written), "folder": str(folder)}, 1)
    return InputError.code if made.about["rejected"] else 0


def _collected(
    model: Any,
    source: Pictures,
    folder: Path,
    asked: Asked,
    rules: Any,
    words: dict[str, Any],
    resume: bool,
    formats: list[str],
    console: Console,
) -> Atlas:
    def reject(row: Rejected) -> None:
        console.error(InputError(row.error.message, f"{row.error.command}; skipped"))

    with console.passes("atlas", _KEPT) as told:
        return Atlas.collect(
            model, source, folder, asked, rules, words, formats=formats, resume=resume, progress=told, reject=reject
        )


def _asked(args: argparse.Namespace, target: Any) -> Asked:
    return Asked(
        layers=args.layers,
        top=args.top,
        by=arguments.known_words(args.by, ("activation", "relevance"), "order"),
        value=args.value,
        target=target,
        folders=args.folders,
        batch_size=args.batch_size,
        heatmaps=args.heatmaps,
    )


def _report(made: Atlas, model: Any, console: Console) -> None:
    about, units = made.about, sum(one.unit.channels for one in made.layers)
    how = ", ".join(f"{word} ({name})" for word, name in (("activation", "ActMax"), ("relevance", "RelMax"))
                    if word in about["identity"]["by"])  # fmt: skip
    console.line("units", f"{units} of {len(made.layers)} layers, by {how}", _WIDTH)
    groups = "by their folders" if about["identity"]["folders"] else "as the model predicts them"
    console.line("samples", f"{about['samples'] - about['rejected']}, {len(made.classes.ids)} classes {groups}", _WIDTH)
    if about["rejected"]:
        console.note(
            f"{about['rejected']} of {about['samples']} samples have no values: see {made.folder / store.ROWS}"
        )
    silent = sum(
        int((one.tops["activation"].values[:, 0] == 0).sum()) for one in made.layers if "activation" in one.tops
    )
    if silent:
        console.note(f"{silent} units are active in no sample, and have no pictures")
