"""Sinks of explanations: files whose names are planned before anything runs, none of them written over an input."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import files
from ..errors import UsageError
from ..explanation import Explanation
from ..explanation.names import FORMATS, file_pattern
from ..explanation.saving import encode_png
from ..preprocessing import images


class Sink(Protocol):
    """What explanations are handed to, each of one sample by one method."""

    def expect(self, methods: int) -> None:
        """Be told, before a batch, by how many methods its samples are explained."""
        ...

    def write(self, one: Explanation, sample: int) -> list[Path]:
        """Write an explanation of the run's sample of this number; return the files that are there by now."""
        ...


class Plan(NamedTuple):
    """How the files of a run are named.

    Attributes:
        pattern: A file name with fields such as {stem} and {target}.
        formats: What is written of each explanation, of `explanation.names.FORMATS`.
    """

    pattern: str
    formats: tuple[str, ...]


def planned(out: str | None, formats: str | None, inputs: int, methods: int, as_grid: bool = False) -> Plan:
    """Return the names of a run's files, checked.

    Args:
        out: -o: a pattern or a folder.
        formats: --format: a list between commas; by default that of the pattern's suffix.
        inputs: The number of inputs.
        methods: The number of methods.
        as_grid: One picture of all methods for each sample.

    Raises:
        UsageError: A format that does not exist, or one name for several files.
        UnsupportedError: The library that writes a format is not installed.
    """
    default = "{stem}.{target}.png" if methods == 1 else "{stem}.{target}.{method}.png"
    pattern = out or default
    if pattern.endswith(("/", "\\")) or os.path.isdir(pattern):
        pattern = str(Path(pattern) / default)
    suffix = Path(pattern).suffix.lower().lstrip(".")
    if f".{suffix}" in images.SUFFIXES - {".png"} or suffix in ("pdf", "svg"):
        raise UsageError(f"-o {pattern}: heatmaps are written as PNG", f"-o '{Path(pattern).with_suffix('.png')}'")
    words = formats.split(",") if formats else [suffix if suffix in FORMATS else "png"]
    kinds = tuple(dict.fromkeys(word.strip().lower() for word in words if word.strip()))
    for word in kinds or ("",):
        if word not in FORMATS:
            raise UsageError(f'no format "{word}"', f"give a list of {', '.join(FORMATS)}")
    for word in kinds:
        file_pattern(pattern, word)
    if as_grid and kinds != ("png",):
        raise UsageError("--grid draws a PNG", "leave --format out")
    _tells_apart(pattern, inputs, 1 if as_grid else methods)
    return Plan(pattern, kinds)


def check_rows(plan: Plan, rows: int) -> None:
    """Refuse names that do not tell the rows of one input apart, before the first is written. Raises UsageError."""
    _tells_apart(plan.pattern, rows, 1)


def _tells_apart(pattern: str, inputs: int, methods: int) -> None:
    if inputs > 1 and not any(f"{{{name}}}" in pattern for name in ("stem", "index")):
        fix = (
            f"give a folder, -o '{pattern}/'"
            if not Path(pattern).suffix
            else "put {stem} into it: -o '{stem}.{target}.png'"
        )
        raise UsageError(f"-o {pattern}: one name for {inputs} samples", fix)
    if methods > 1 and "{method}" not in pattern:
        raise UsageError(f"-o {pattern}: one name for {methods} methods", "put {method} into it")


class _Hashes:
    """A set of hashes of 64 bits in 12 to 24 bytes each: a table with open addressing, at most two thirds full."""

    def __init__(self) -> None:
        self._slots, self._count = array("Q", bytes(8 * 64)), 0

    def __len__(self) -> int:
        return self._count

    def add(self, value: int) -> bool:
        """Add a hash; return whether it is new."""
        at, value = self._place(value)
        if self._slots[at] == value:
            return False
        self._slots[at] = value
        self._count += 1
        if 3 * self._count > 2 * len(self._slots):
            kept, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
            for one in filter(None, kept):
                self._slots[self._place(one)[0]] = one
        return True

    def _place(self, value: int) -> tuple[int, int]:
        """Return where a hash is or would be, and how it is kept: 0 marks what is free."""
        value = value & (1 << 64) - 1 or 1
        at = value % len(self._slots)
        while self._slots[at] not in (0, value):
            at = (at + 1) % len(self._slots)
        return at, value


class Written:
    """The files of a run, none of which is an input or was written before.

    Of many files little is kept: of inputs their folders until a file is written into one of them, of what is written a
    hash of 64 bits, two of which agree by chance for one in 10⁷ runs of a million files.

    Args:
        inputs: The inputs, which may be gone through more than once.
    """

    def __init__(self, inputs: Iterable[Path]) -> None:
        self._inputs = inputs
        self._folders = {str(path.resolve().parent) for path in inputs}
        self._hashes = _Hashes()

    def __len__(self) -> int:
        return len(self._hashes)

    @cached_property
    def _resolved(self) -> frozenset[str]:
        return frozenset(str(path.resolve()) for path in self._inputs)

    def claim(self, path: Path) -> Path:
        """Return the path, which is taken from now on. Raises UsageError where it is not free."""
        place = path.resolve()
        if str(place.parent) in self._folders and str(place) in self._resolved:
            raise UsageError(f"{path}: a file of this run would replace an input", "choose another name with -o")
        if not self._hashes.add(hash(str(path))):
            raise UsageError(
                f"{path}: two files of this run would have this name", "name them apart: add {stem} or {index} to -o"
            )
        return path


@dataclass(frozen=True)
class FileSink:
    """A file of each format for every explanation, its name filled in by `Explanation.save`.

    Attributes:
        plan: The names.
        written: The files of the run.
        look: cmap, clip, space, smooth and blend of the figures.
        ledger: Keep the ledger in .npz and .json.
    """

    plan: Plan
    written: Written
    look: Mapping[str, Any] = field(default_factory=dict)
    ledger: bool = False

    def expect(self, methods: int) -> None:
        """Nothing: each file is of one method."""

    def write(self, one: Explanation, sample: int) -> list[Path]:
        """Write one sample's files by one method. Raises UsageError, InputError."""
        kept = one if self.ledger else replace(one, ledger=None)
        pattern = _numbered(self.plan, sample)
        for kind in self.plan.formats:
            for path in kept.paths(pattern, kind):
                self.written.claim(path)
        return [path for kind in self.plan.formats for path in kept.save(pattern, kind, **self.look)]


@dataclass
class GridSink:
    """One labelled sheet of all methods for every target of a sample, drawn when the last of them has come.

    Attributes:
        plan: The names.
        written: The files of the run.
        methods: The number of methods.
        look: cmap, clip, smooth and blend of the heatmaps.
    """

    plan: Plan
    written: Written
    methods: int
    look: Mapping[str, Any] = field(default_factory=dict)
    _waiting: list[Explanation] = field(default_factory=list)

    def expect(self, methods: int) -> None:
        """Draw a sheet of so many methods from now on."""
        self.methods = methods

    def write(self, one: Explanation, sample: int) -> list[Path]:
        """Keep an explanation; with the last method's, write the sheets. Raises UsageError, InputError."""
        from ..explanation import grid

        self._waiting.append(one)
        if len(self._waiting) < self.methods:
            return []
        ones, self._waiting = self._waiting, []
        said = {other.method: other.to_dict()["provenance"] for other in ones}
        words = {"Software": "onnxlrp", "onnxlrp.provenance": json.dumps(said)}
        paths = []
        for target in range(len(np.atleast_2d(one.target))):
            path = self.written.claim(grid.path(_numbered(self.plan, sample), ones[0], target))
            sheet = grid.draw(ones, target, **self.look)
            paths.append(files.replace(path, encode_png(sheet, words)))
        return paths


def _numbered(plan: Plan, sample: int) -> str:
    return plan.pattern.replace("{index}", str(sample))
