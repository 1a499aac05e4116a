"""Which files `explain` reads, and what those are called that it writes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from ..errors import NothingToDo, UsageError
from ..explanation.names import FORMATS, file_pattern
from ..files import unique_names
from ..preprocessing import images
from .console import Console

_STAMP = b"Software\0onnxlrp"


@dataclass(frozen=True)
class Source:
    """A file to explain, and the stem that no other file of the run has."""

    path: Path
    stem: str


def sources(given: list[str], console: Console) -> list[Source]:
    """The files, those of folders in their place; of folders without the heatmaps that a run before this one left."""
    paths: list[Path] = []
    for word in given:
        path = Path(word)
        if not path.is_dir():
            paths.append(path)
            continue
        listed = images.listing(path)
        fresh = [p for p in listed if not _ours(p)]
        if not fresh:
            raise NothingToDo(f"{path}: holds nothing but heatmaps", "give the folder of the pictures")
        if len(fresh) < len(listed):
            console.note(f"{path}: {len(listed) - len(fresh)} heatmaps written by onnxlrp are left out")
        paths += fresh
    return [Source(p, stem) for p, stem in zip(paths, unique_names(p.stem for p in paths), strict=True)]


def _ours(path: Path) -> bool:
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb") as file:
            return _STAMP in file.read(4096)
    except OSError:
        return False


def naming(args: argparse.Namespace, methods: int) -> tuple[list[str], str]:
    """The formats, and the pattern of the files' names."""
    default = "{stem}.{target}.png" if methods == 1 else "{stem}.{target}.{method}.png"
    pattern = args.out or default
    if pattern.endswith(("/", "\\")) or Path(pattern).is_dir():
        pattern = str(Path(pattern) / default)
    suffix = Path(pattern).suffix.lower().lstrip(".")
    if f".{suffix}" in images.SUFFIXES - {".png"} or suffix in ("pdf", "svg"):
        raise UsageError(f"-o {pattern}: heatmaps are written as PNG", f"-o '{Path(pattern).with_suffix('.png')}'")
    words = args.format.split(",") if args.format else [suffix if suffix in FORMATS else "png"]
    formats = list(dict.fromkeys(word.strip().lower() for word in words if word.strip()))
    for word in formats or [""]:
        if word not in FORMATS:
            raise UsageError(f'no format "{word}"', f"give a list of {', '.join(FORMATS)}")
    folder = Path(pattern).parent
    if "{" not in str(folder) and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", f"mkdir -p '{folder}'")
    for word in formats:
        file_pattern(pattern, word)
    return formats, pattern


def tells_apart(pattern: str, inputs: int, methods: int) -> None:
    """Refuse a pattern that gives several files one name."""
    if inputs > 1 and not any(f"{{{name}}}" in pattern for name in ("stem", "index")):
        raise UsageError(f"-o {pattern}: one name for {inputs} inputs", "put {stem} into it: -o '{stem}.{target}.png'")
    if methods > 1 and "{method}" not in pattern:
        raise UsageError(f"-o {pattern}: one name for {methods} methods", "put {method} into it")
