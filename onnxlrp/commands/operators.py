"""`onnxlrp operators`: the ONNX operators that relevance passes, and what each is read as."""

from __future__ import annotations

import argparse

from ..graph.decomposition.decompose import decompositions
from ..graph.lowering.lower import LOWERINGS
from ..layers import LAYERS
from ..registry import summary
from .console import Console

READ_AS_OTHERS = "read as the operators that it stands for"


def run(args: argparse.Namespace, console: Console) -> int:
    """List the operators; return the exit code."""
    rows = [(name, row.kind, _without(name, summary(row.build))) for name, row in LAYERS.items()]
    rows += [(name, "", READ_AS_OTHERS) for name in {*decompositions(), *LOWERINGS} - {*LAYERS}]
    rows.sort(key=lambda row: row[0].rpartition("::")[::-1])
    console.table([("operator", "kind", "what it does"), *rows])
    named = ({"name": name, "kind": kind or None, "summary": text} for name, kind, text in rows)
    console.json({"operators": list(named)}, indent=1)
    return 0


def _without(name: str, text: str) -> str:
    """Return a summary without the name that it begins with."""
    return text.removeprefix(f"{name}: ")
