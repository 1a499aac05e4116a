"""`onnxlrp methods`: what each does, what it costs, and its options."""

from __future__ import annotations

import argparse

from ..composites import PRESETS, options_of
from ..methods.registry import options_of as method_options
from ..methods.registry import registry
from ..model import DEFAULT
from ..tables import PROPAGATION, summary
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """List the methods; the exit code."""
    rows = [(name, summary(make), PROPAGATION, options_of(name)) for name, make in PRESETS.items()]
    for name, entry in registry().items():
        text = f"{summary(entry.make).rstrip('.:')} ({entry.paper})."
        rows.append((name, text, entry.passes, method_options(name)))
    flags = [" ".join(f"--{option.replace('_', '-')}" for option in options) for *_, options in rows]
    shown = [(name, text, cost, own) for (name, text, cost, _), own in zip(rows, flags, strict=True)]
    console.table([("method", "what it does", "passes a sample", "options"), *shown])
    console.json(
        {
            "default": DEFAULT,
            "methods": [
                {"name": name, "summary": text, "passes": cost, "options": list(options)}
                for name, text, cost, options in rows
            ],
        },
        indent=1,
    )
    return 0
