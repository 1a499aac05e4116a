"""`onnxlrp report`: one HTML page of the files of explain, check, compare and evaluate."""

from __future__ import annotations

import argparse

from .. import report
from ..errors import listed
from .arguments import out_file
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the report; return the exit code."""
    out = out_file(args.out, "report.html")
    read = report.write(args.runs, out)
    if read.foreign:
        names = listed([str(path) for path in read.foreign])
        console.note(f"{names}: left out: not written by explain, check, compare or evaluate")
    size = out.stat().st_size
    counts = {
        "heatmaps": len(read.maps),
        "findings": sum(len(found.findings) for found in read.findings),
        "comparisons": len(read.comparisons),
        "evaluations": len(read.evaluations),
    }
    what = ", ".join(f"{count} {name if count > 1 else name[:-1]}" for name, count in counts.items() if count)
    console.line("wrote", f"{out}  {what}, {size / 1e6:.2f} MB")
    console.json(
        {
            "file": str(out),
            "bytes": size,
            "heatmaps": len(read.maps),
            "checks": len(read.findings),
            "comparisons": len(read.comparisons),
            "evaluations": len(read.evaluations),
        },
        indent=1,
    )
    return 0
