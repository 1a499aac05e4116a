"""`onnxlrp rules`: what `--rule` can name."""

from __future__ import annotations

import argparse
import dataclasses

from .. import rules
from ..tables import summary
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """List the rules; the exit code."""
    found = {
        name: (summary(cls), [field.name for field in dataclasses.fields(cls)])
        for name, cls in sorted(rules.registry().items())
    }
    rows = [(f"{name}({', '.join(options)})" if options else name, text) for name, (text, options) in found.items()]
    console.table([("rule", "what it does"), *rows])
    console.json(
        {"rules": [{"name": name, "summary": text, "options": o} for name, (text, o) in found.items()]}, indent=1
    )
    return 0
