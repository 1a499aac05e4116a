"""Formats of findings: one module for each, `FORMATS` by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath

from ...errors import UsageError, did_you_mean
from ..finding import Findings
from . import github, json, junit, markdown, sarif, table

Format = Callable[[Findings], str]

FORMATS: Mapping[str, Format] = {
    "table": table.text,
    "json": json.text,
    "junit": junit.text,
    "sarif": sarif.text,
    "github": github.text,
    "markdown": markdown.text,
}
SUFFIXES = {".json": "json", ".xml": "junit", ".sarif": "sarif", ".md": "markdown", ".txt": "table"}


def named(name: str) -> Format:
    """Return the format of a name. Raises UsageError."""
    if name not in FORMATS:
        raise UsageError(f'there is no format "{name}"', did_you_mean(name, FORMATS))
    return FORMATS[name]


def of_file(path: str) -> str:
    """Return the name of the format of a file, by its suffix. Raises UsageError."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{path}: the suffix names no format", f"end it in {', '.join(SUFFIXES)}, or name the format: junit={path}"
        )
    return SUFFIXES[suffix]
