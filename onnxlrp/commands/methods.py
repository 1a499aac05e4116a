"""`onnxlrp methods`: a sentence about each method, its cost and its options."""

from __future__ import annotations

import argparse

from ..methods.default import DEFAULTS
from ..methods.registry import METHODS
from .console import Console
from .method_options import flag


def run(args: argparse.Namespace, console: Console) -> int:
    """List the methods; return the exit code."""
    rows = [(name, entry.summary, entry.passes, " ".join(map(flag, entry.options))) for name, entry in METHODS.items()]
    console.table([("method", "what it does", "passes a sample", "options"), *rows])
    console.json(
        {
            "default": DEFAULTS["image"],
            "defaults": DEFAULTS,
            "methods": [
                {"name": name, "summary": entry.summary, "passes": entry.passes, "options": list(entry.options)}
                for name, entry in METHODS.items()
            ],
        },
        indent=1,
    )
    return 0
