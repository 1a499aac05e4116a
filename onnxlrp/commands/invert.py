"""`onnxlrp invert`: make the picture that a layer cannot tell from another."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from ..analysis.ascent.domain import decide
from ..analysis.ascent.optimize import Progress
from ..analysis.inversion import files as inversion_files
from ..analysis.inversion import invert as inverting
from ..analysis.inversion import result as inversion_result
from ..analysis.inversion.invert import Inverted
from ..analysis.inversion.search import Inversion
from ..analysis.prototypes import evidence
from ..errors import UsageError
from ..explanation.names import file_word
from ..files import replace
from . import arguments
from .console import Console

_INTERRUPTED = 130  # as of the whole command
_WIDTH = 15


def run(args: argparse.Namespace, console: Console) -> int:
    """Invert the representation of a picture; return the exit code."""
    began = time.perf_counter()
    stated = arguments.stated(args)
    size = stated["batch_size"]
    bounds = {name: arguments.numbers(args, name) for name in ("low", "high")}
    pixels = arguments.pixels(args, "decoder")
    how = Inversion(args.steps, args.restarts, args.regularisation, args.alpha, args.beta, args.seed, size)
    model = arguments.open_model(args)
    samples = model.read(args.sample)
    model = model.at(samples.kind.shape, samples.own_size)
    where = decide(model, samples, **bounds)
    paths = _paths(args, where.preprocessing is not None)
    mean = None if args.images is None else evidence.read(model, args.images).samples
    if args.decoder is not None:
        decoder, name = arguments.open_network(args.decoder, args), Path(args.decoder).name
        how_drawn: dict[str, Any] = {"mean": mean, "pixels": pixels, "batch_size": size, **bounds}
        found = inverting.by_decoder(model, samples, args.layer, decoder, name, **how_drawn)
    else:
        with console.passes("invert") as told:

            def progress(at: Progress) -> bool:
                return bool(told(at.done, at.total, f"error {-float(at.values.mean()):.3g}"))

            how_found: dict[str, Any] = {"mean": mean, "progress": progress, **bounds}
            found = inverting.by_optimisation(model, samples, args.layer, how, **how_found)
    written = [file for path in paths for file in inversion_files.write(found, path)]
    if args.figure is not None:
        written.append(replace(args.figure, inversion_files.png(found, found.figure())))
    _report(found, console)
    console.line("wrote", f"{', '.join(map(str, written))}  {time.perf_counter() - began:.2f} s", _WIDTH)
    console.json({**inversion_files.record(found), "files": [str(path) for path in written]}, 1)
    return _INTERRUPTED if found.stopped else 0


def _paths(args: argparse.Namespace, pictures: bool) -> list[Path]:
    """The files to write, one for each format."""
    name = f"{file_word(Path(args.sample).stem)}.inverted.{'png' if pictures else 'npz'}"
    paths = arguments.picture_files(args, name, inversion_files.check)
    for one in paths:
        if one.suffix.lower() == ".png" and not pictures:
            raise UsageError(
                f"{one}: {args.sample} is no picture, or holds no pixels", f"-o '{one.with_suffix('.npz')}'"
            )
    written = [*paths, *([Path(args.figure)] if args.figure else [])]
    if Path(args.sample).resolve() in {one.resolve() for one in written}:
        raise UsageError(f"{args.sample}: the result would replace the picture itself", "choose another name with -o")
    return paths


def _report(found: Inverted, console: Console) -> None:
    """Print what was done and how near it came."""
    about = found.about
    if about["method"] == "decoder":
        words = f"by {about['decoder']}"
    else:
        starts = f"{about['restarts']} start{'s' * (about['restarts'] > 1)}"
        words = f"{about['done']} of {about['steps']} steps, {starts}, seed {about['seed']}"
        words += f", regularisation {about['regularisation']:.3g}"
    console.line("inversion", words, _WIDTH)
    console.line("range", about["range"], _WIDTH)
    for key, text in inversion_result.lines(found):
        console.line(key, text, _WIDTH)
    for text, fix in inversion_result.doubts(found):
        console.note(text, fix)
