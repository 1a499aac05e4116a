"""`onnxlrp prototype`: make the pictures that a class or a unit prefers."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..analysis import resuming
from ..analysis.ascent.domain import Domain, decide
from ..analysis.ascent.optimize import Progress
from ..analysis.prototypes import evidence
from ..analysis.prototypes import files as prototype_files
from ..analysis.prototypes.figure import draw
from ..analysis.prototypes.generator import Generator, open_generator
from ..analysis.prototypes.search import Asked, Prototype, identity, prototype, resolve
from ..errors import UsageError
from ..explanation.names import file_word
from ..files import replace
from . import arguments
from .console import Console

_INTERRUPTED = 130  # as of the whole command
_WIDTH = 14


def run(args: argparse.Namespace, console: Console) -> int:
    """Make prototypes and write them; return the exit code."""
    began = time.perf_counter()
    stated = arguments.stated(args)
    asked = _asked(args, stated)
    model = arguments.open_model(args)
    model.refuse_maps()
    chosen = resolve(model, asked)
    images = None if args.images is None else evidence.read(model, args.images)
    where = decide(chosen.model, images and images.samples, asked.low, asked.high)
    paths = _paths(args, chosen.word, where)
    state_path = paths[0].with_suffix(".state.npz")
    start = None if args.start is None else model.read(args.start)
    through = _generator(args, model, where)
    about = identity(model, asked, args.start, args.images)
    if through is not None:
        about |= {"generator": through.network.model.graph.sha256, "code layer": through.layer and through.layer.label}
    resume = _resumed(args, state_path, about, console)
    with console.passes("prototype") as told:

        def progress(at: Progress) -> bool:
            return bool(told(at.done, at.total, f"objective {np.mean(at.values):.4g}"))

        found = prototype(
            model,
            asked,
            images=images,
            start=start,
            through=through,
            progress=progress,
            resume=resume,
            keep=lambda state: resuming.store(state_path, state, about),
        )
    written = [file for path in paths for file in prototype_files.write(found, path)]
    if args.cutout is not None:
        written += prototype_files.write_cutouts(found, Path(args.cutout))
    if args.figure is not None:
        written.append(replace(args.figure, prototype_files.figure_bytes(found, draw(found))))
    if not found.stopped:
        state_path.unlink(missing_ok=True)
    _report(found, console)
    if found.stopped:
        console.note(f"{state_path} holds the state of the run", "the same command with --resume goes on")
    console.line("wrote", f"{', '.join(map(str, written))}  {time.perf_counter() - began:.2f} s", _WIDTH)
    console.json({**prototype_files.record(found), "files": [str(path) for path in written]}, 1)
    return _INTERRUPTED if found.stopped else 0


def _asked(args: argparse.Namespace, stated: dict[str, Any]) -> Asked:
    words = [word.strip() for word in args.regularisers.split(",") if word.strip() not in ("", "none")]
    target = stated.get("target")
    if isinstance(target, list):
        raise UsageError("one class at a time", f"-t {target[0]}")
    return Asked(
        target=target,
        unit=args.unit,
        style=args.style or Asked.style,
        steps=args.steps,
        objective=args.objective,
        n=args.n,
        diversity=args.diversity,
        low=arguments.numbers(args, "low"),
        high=arguments.numbers(args, "high"),
        yosinski=words,
        seed=args.seed,
        batch_size=stated["batch_size"],
    )


def _generator(args: argparse.Namespace, model: Any, where: Domain) -> Generator | None:
    """The generator, where one is named. Raises UsageError where it does not fit, or its options stand alone."""
    pixels = arguments.pixels(args, "generator")
    if args.generator is None:
        if args.code_layer is not None:
            raise UsageError("--code-layer is of a generator's codes, and none is given", "--generator FILE")
        return None
    if args.style is not None:
        raise UsageError(f"--style {args.style}: pictures of a generator have no style", "leave out --style")
    network = arguments.open_network(args.generator, args)
    return open_generator(model, network, Path(args.generator).name, args.code_layer, where, pixels)


def _paths(args: argparse.Namespace, word: str, where: Domain) -> list[Path]:
    """The files to write, one for each format. Raises UsageError for a picture of an input that is none."""
    pictures = where.preprocessing is not None
    name = f"{file_word(word)}.prototype.{'png' if pictures else 'npz'}"
    paths = arguments.picture_files(args, name, prototype_files.check)
    cutout = arguments.png_file(args, "cutout", "a picture with transparency")
    if not pictures:
        for one in paths:
            if one.suffix.lower() == ".png":
                fix = f"-o '{one.with_suffix('.npz')}'; --figure draws it"
                raise UsageError(f"{one}: the input is {where.kind.describe()}, not a picture", fix)
        if cutout is not None:
            raise UsageError(f"--cutout {cutout}: the input is {where.kind.describe()}, not a picture", "leave it out")
    if cutout in paths:
        raise UsageError(f"--cutout {cutout}: is the file of the bare picture too", "another name")
    if args.start is not None and Path(args.start).resolve() in {one.resolve() for one in paths}:
        raise UsageError(f"{args.start}: the prototype would replace the picture that it starts from", "another -o")
    return paths


def _resumed(args: argparse.Namespace, path: Path, about: dict[str, Any], console: Console) -> Any:
    if not args.resume:
        return None
    if not path.exists():
        console.note(f"{path} is not there: the run begins at its first step")
        return None
    return resuming.load(path, about)


def _report(found: Prototype, console: Console) -> None:
    """Print what is known of the best picture, and what is not."""
    facts, about = found.evidence, found.about
    words = [f"{about['objective']}; {about['style']}, {about['steps']} steps, seed {about['seed']}"]
    if "generator" in about:
        words.append(f"codes: {about['codes']}")
    if about["colours"]:
        words.append(f"colours: {about['colours']}")
    console.line("prototype", f"{found.name}  ({'; '.join(words)})", _WIDTH)
    console.line("range", about["range"], _WIDTH)
    for key, text in evidence.lines(facts):
        console.line(key, text, _WIDTH)
    for text, fix in evidence.doubts(found.name, facts, found.dead):
        console.note(text, fix)
