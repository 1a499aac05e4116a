"""Read an `onnxlrp.toml` into settings, every key checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, UsageError, did_you_mean
from ..findings.finding import SEVERITIES
from ..model.options.declaration import declared
from .registry import make
from .settings import OFF, Settings

_LONGEST = 1 << 22
_KEYS = {f.name: said.toml for f, said in declared(Settings) if said.toml}


def read(path: str | Path) -> Settings:
    """Read the settings of a TOML file.

    Raises:
        InputError: The file cannot be read, or holds a key or value that is not known.
    """
    path = Path(path)
    files.check(path)
    try:
        raw = tomllib.loads(files.read_text(path, _LONGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read as TOML ({files.reason(error)})", "correct the line it names"
        ) from None
    try:
        return parse(raw, path.parent)
    except UsageError as error:
        raise InputError(f"{path}: {error.message}", error.fix) from None


def parse(raw: Mapping[str, Any], folder: Path = Path()) -> Settings:
    """Parse the keys of a TOML file.

    Args:
        raw: The parsed TOML.
        folder: The folder that paths are relative to.

    Raises:
        UsageError: A key or value is not known.
    """
    given: dict[str, Any] = {}
    for key, value in raw.items():
        if key == "checks":
            given["thresholds"], given["severities"] = _checks(value)
        elif key in _KEYS:
            kind = _KEYS[key]
            try:
                given[key] = kind.read(value)
            except (TypeError, ValueError):
                raise UsageError(f"{key} = {value!r}", f"give {kind.expects}") from None
        else:
            raise UsageError(f'there is no setting "{key}"', did_you_mean(key, [*_KEYS, "checks"]))
    if isinstance(labels := given.get("prep", {}).get("labels"), str):
        given["prep"] = {**given["prep"], "labels": str(folder / labels)}
    if isinstance(preset := given.get("prep", {}).get("prep"), str) and preset.endswith(".toml"):
        given["prep"] = {**given["prep"], "prep": str(folder / preset)}
    if "options" in given:  # a background, patterns
        given["options"] = {
            k: str(folder / v) if isinstance(v, str) and v and (folder / v).exists() else v
            for k, v in given["options"].items()
        }
    if "given" in given:
        given["given"] = {k: str(folder / v) if isinstance(v, str) else v for k, v in given["given"].items()}
    return Settings(**given, folder=folder)


def _checks(value: Any) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Parse the thresholds and severities of `[checks.ID]`; `ID = "warning"` sets the severity alone."""
    if not isinstance(value, dict):
        raise UsageError(f"checks = {value!r}", "write a table for each check, such as [checks.drift]")
    thresholds: dict[str, dict[str, Any]] = {}
    severities: dict[str, str] = {}
    for id, entry in value.items():
        table = dict(entry) if isinstance(entry, dict) else {"severity": entry}
        if "severity" in table:
            severities[id] = _severity(id, table.pop("severity"))
        make(id, **table)
        thresholds[id] = table
    return thresholds, severities


def _severity(id: str, word: Any) -> str:
    known = (*SEVERITIES, OFF)
    if word not in known:
        raise UsageError(f"check {id}: severity = {word!r}", f"give one of {', '.join(known)}")
    return str(word)
