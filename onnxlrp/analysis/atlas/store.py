"""The files of an atlas while it is made: rows of samples, the state that a cut run goes on from, its identity."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import files
from ...errors import InputError, UsageError
from .tops import Array

MANIFEST = "manifest.json"
ROWS = "samples.jsonl"
UNITS = "units.npz"
STATE = "atlas.state.npz"
DATA = "atlas.json"
_OPEN = ROWS + ".part"


@dataclass(eq=False)
class Rows:
    """One line of JSON for each sample, appended while a run goes.

    Attributes:
        folder: The folder of the atlas.
        size: Bytes that are written.
    """

    folder: Path
    size: int = 0

    @property
    def path(self) -> Path:
        """The file, under its name of a run that is not at its end."""
        return self.folder / _OPEN

    def begin(self, size: int = 0) -> None:
        """Cut the file to what the state knows of. Raises InputError where that is more than there is."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if size and not self.path.exists() and (self.folder / ROWS).exists():
                os.replace(self.folder / ROWS, self.path)  # the run was cut at its very end
            with open(self.path, "ab") as file:
                there = file.seek(0, os.SEEK_END)
                if there < size:
                    raise InputError(f"{self.path}: shorter than the run left it", "run without --resume")
                file.truncate(size)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({files.reason(error)})", "another folder: -o") from None
        self.size = size

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Append rows. Raises InputError."""
        text = "".join(json.dumps(files.to_jsonable(row), ensure_ascii=True) + "\n" for row in rows).encode()
        try:
            with open(self.path, "ab") as file:
                file.write(text)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({files.reason(error)})", "free some space") from None
        self.size += len(text)

    def end(self) -> Path:
        """Give the file its name."""
        os.replace(self.path, self.folder / ROWS)
        return self.folder / ROWS


def clear(folder: Path) -> None:
    """Remove what runs that were killed while they wrote have left: files under temporary names."""
    for inner in (folder, folder / "units", folder / "classes"):
        for path in inner.glob(files.TEMPORARY) if inner.is_dir() else ():
            path.unlink(missing_ok=True)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, one at a time. Raises InputError."""
    files.check(path)
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                raise InputError(f"{path}: a damaged row", "make the atlas again") from None


def save_state(
    folder: Path, arrays: Mapping[str, Array], identity: Mapping[str, Any], where: Mapping[str, Any]
) -> None:
    """Write the state of a run. Raises InputError."""
    words = {"identity": identity, "where": where}
    write_npz(folder / STATE, {**arrays, "about": np.array(json.dumps(files.to_jsonable(words)))})


def load_state(folder: Path, identity: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read the state of a run.

    Returns:
        Its arrays, and where it was.

    Raises:
        InputError: The file is damaged.
        UsageError: Another model, method or preprocessing made it.
    """
    arrays = read_npz(folder / STATE)
    try:
        about = json.loads(str(arrays.pop("about")))
        before, where = about["identity"], about["where"]
    except (KeyError, ValueError):
        raise InputError(f"{folder / STATE}: not the state of an atlas", "run without --resume") from None
    refuse_other(folder, before, identity)
    return arrays, where


def refuse_other(folder: Path, before: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise UsageError where a folder was made by something else, and say by what."""
    now = files.to_jsonable(identity)
    for key in {**before, **now}:
        if before.get(key) != now.get(key):
            raise UsageError(
                f"{folder}: made with another {key}: {_short(before.get(key))}, now {_short(now.get(key))}",
                "ask for the same, or name another folder with -o; without --resume it is made anew",
            )


def manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a finished atlas, None where there is none. Raises InputError."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    files.check(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found["identity"], dict) or not isinstance(found["layers"], list):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not the manifest of an atlas", "name another folder with -o") from None
    return dict(found)


def write_json(path: Path, value: Any) -> Path:
    """Write JSON, replacing the file as a whole. Raises InputError."""
    return files.replace(path, (json.dumps(files.to_jsonable(value), indent=1, allow_nan=False) + "\n").encode())


def write_npz(path: Path, arrays: Mapping[str, Array]) -> Path:
    """Write arrays, replacing the file as a whole. Raises InputError."""
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(buffer, **named)
    return files.replace(path, buffer.getvalue())


def read_npz(path: Path) -> dict[str, Array]:
    """Read arrays. Raises InputError."""
    files.check(path)
    try:
        with np.load(path, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except Exception as error:  # zipfile and numpy raise anything on a damaged file
        raise InputError(f"{path}: damaged ({files.reason(error)})", "make the atlas again") from None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 200 else text[:197] + "…"
