"""Shared by the benchmarks: the circumstances of a run, files of records, and lists as arguments."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnxlrp

Record = dict[str, Any]


def checkout(text: str) -> Path:
    """Read a folder with another build, as argparse's `type`."""
    path = Path(text)
    if not (path / "onnxlrp").is_dir():
        raise argparse.ArgumentTypeError(f"no build in {path}: name a checkout, such as one by git worktree add")
    return path


def environment(packages: Iterable[str]) -> Record:
    """Return the date, the platform, and the versions of packages; None for one that is not installed.

    onnxlrp is the one that runs: out of a checkout it need not be installed.
    """
    versions: dict[str, str | None] = {}
    for package in packages:
        try:
            versions[package] = onnxlrp.__version__ if package == "onnxlrp" else importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def save(path: Path, content: Record) -> None:
    """Write records as JSON, completely or not at all: a run that is interrupted keeps those of its last step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(part, path)


def words(text: str) -> list[str]:
    """Return the words of a comma-separated argument."""
    return text.split(",")


def numbers(text: str) -> list[int]:
    """Return the integers of a comma-separated argument."""
    return [int(word) for word in text.split(",")]
