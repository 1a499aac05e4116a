"""`onnxlrp cache`: what is kept of models for later runs, and its removal."""

from __future__ import annotations

import argparse
from typing import Any

from ..cache.store import FOLDER, LIMIT, OFF, SIZE, Usage, of_environment
from ..graph.reading.memory_limit import size
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """Show the cache, or remove all of its entries."""
    store = of_environment()
    if store is None:
        console.line("cache", f"none: {FOLDER}={OFF}, or there is no home folder")
        console.json({"folder": None})
        return 0
    before = store.clear() if args.clear else store.usage()
    console.line("cache", described(before))
    if args.clear:
        console.line("removed", f"{before.entries} entries, {size(before.bytes)}")
    console.json({**as_json(before), "removed": bool(args.clear)})
    return 0


def usage() -> Usage:
    """Return what the cache of this environment holds."""
    store = of_environment()
    return Usage(None, 0, 0, 0, f"{FOLDER}={OFF}") if store is None else store.usage()


def as_json(found: Usage) -> dict[str, Any]:
    """Return what a cache holds, in JSON's types."""
    return {**found._asdict(), "folder": None if found.folder is None else str(found.folder)}


def described(found: Usage) -> str:
    """Return where a cache is and how large, on one line."""
    if found.folder is None:
        return f"none ({found.why})"
    if found.why:
        return found.why
    held = f"{found.entries} entries, {size(found.bytes)} of {size(found.limit)}" if found.entries else "empty"
    return f"{found.folder}  {held}  ({SIZE}, default {LIMIT}; onnxlrp cache --clear)"
