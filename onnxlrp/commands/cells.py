"""`onnxlrp cells`: show what the cells of a recurrent network do along a text."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ..analysis.cells.find import Cells
from ..analysis.cells.saving import FORMATS
from ..errors import UsageError
from ..files import to_jsonable
from . import arguments
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """Watch cells and write what was found; return the exit code."""
    began = time.perf_counter()
    out = Path(args.out)
    formats = _formats(args.format, out)
    if any(out.resolve() == Path(word).resolve() for word in args.inputs):
        raise UsageError(f"-o {out}: the text itself", "choose another name with -o")
    model = arguments.open_model(args)

    def told(done: int, total: int) -> bool:
        console.progress(done, total, "cells")
        return True

    found = Cells.find(
        model,
        args.inputs,
        args.property or None,
        shown=args.cell,
        level=args.alpha,
        window=args.window,
        excerpt=args.excerpt,
        start=args.start,
        progress=told,
    )
    console.clear()
    written = found.save(out, formats)
    _summary(found, console)
    console.line("wrote", f"{', '.join(map(str, written))}  {time.perf_counter() - began:.2f} s", 10)
    console.json({**found.to_dict(), "files": to_jsonable(written)}, 1)
    return 0


def _summary(found: Cells, console: Console) -> None:
    for run in found.runs:
        way = ", backwards" if run.layer.reverse else ""
        console.line("layer", f"{run.layer.label}: {run.layer.op}{way}, {run.layer.width} cells", 10)
    for gate in found.saturation():
        text = f"{gate['gate']}: left-saturated {gate['left']:.0%} of the time, right {gate['right']:.0%}"
        console.line("gate", text, 10)
    if tested := [one for one in found.tracked if one.null is not None]:
        rows = [["property", "cell", "", "first half", "second half", "chance", "p", "beyond chance"]]
        for one in tested:
            numbers = [f"{value:.2f}" for value in (one.chosen, one.value, one.threshold)]
            said = "yes" if one.is_outside else "no"
            rows.append([one.name, found.unit(one.cell), one.statistic, *numbers, f"{one.p:.2g}", said])
        console.table(rows, right=(3, 4, 5, 6))
    for one in found.tracked:
        if one.null is None:
            console.note(f"{one.name}: not tested, {one.why_not}")
    for text, fix in found.notes:
        console.note(text, fix)


def _formats(text: str | None, out: Path) -> list[str]:
    if text:
        return arguments.known_words(text, FORMATS, "format")
    suffix = out.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise UsageError(f"-o {out}: the name does not tell the format", f"-o '{out}.html', or --format html")
    return [suffix]
