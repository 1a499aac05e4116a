"""`onnxlrp rules`: the rules that `--rule` can name."""

from __future__ import annotations

import argparse

from ..registry import options_of, summary
from ..rules import RULES
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """List the rules; return the exit code."""
    found = {name: (summary(cls), list(options_of(cls))) for name, cls in sorted(RULES.items())}
    rows = [(f"{name}({', '.join(options)})" if options else name, text) for name, (text, options) in found.items()]
    console.table([("rule", "what it does"), *rows])
    console.json(
        {"rules": [{"name": name, "summary": text, "options": o} for name, (text, o) in found.items()]}, indent=1
    )
    return 0
