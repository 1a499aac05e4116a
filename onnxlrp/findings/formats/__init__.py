"""Findings as text: one module for each format, `FORMATS` by name."""

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
    """The format of a name. Raises UsageError."""
    if name not in FORMATS:
        raise UsageError(f'there is no format "{name}"', did_you_mean(name, FORMATS))
    return FORMATS[name]


def of_file(path: str) -> str:
    """The name of the format that a file's suffix stands for. Raises UsageError."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: which format?", f"end it in {', '.join(SUFFIXES)}, or say it: junit={path}")
    return SUFFIXES[suffix]
