"""The files of an atlas while it is made: rows of samples, the state that a cut run goes on from, its identity."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ... import files
from ...errors import InputError
from ...files import refuse_other
from .tops import Array

MANIFEST = "manifest.json"
ROWS = "samples.jsonl"
UNITS = "units.npz"
STATE = "atlas.state.npz"
DATA = "atlas.json"
OTHER = "ask for the same, or name another folder with -o; without --resume it is made anew"


def clear(folder: Path) -> None:
    """Remove what runs that were killed while they wrote have left: files under temporary names."""
    for inner in (folder, folder / "units", folder / "classes"):
        for path in inner.glob(files.TEMPORARY) if inner.is_dir() else ():
            path.unlink(missing_ok=True)


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
    refuse_other(folder, before, identity, OTHER)
    return arrays, where


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
