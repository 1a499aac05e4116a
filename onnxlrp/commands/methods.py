"""`onnxlrp methods`: the presets, what each does, and its options."""

from __future__ import annotations

import argparse

from ..composites import PRESETS, options_of
from ..model import DEFAULT
from ..tables import summary
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """List the methods; the exit code."""
    rows = [(name, summary(make), " ".join(f"--{o}" for o in options_of(name))) for name, make in PRESETS.items()]
    console.table([("method", "what it does", "options"), *rows])
    console.json(
        {
            "default": DEFAULT,
            "methods": [{"name": name, "summary": text, "options": list(options_of(name))} for name, text, _ in rows],
        },
        indent=1,
    )
    return 0
