"""Read an `onnxlrp.toml` into settings, every key checked."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, UsageError, did_you_mean
from ..findings.finding import SEVERITIES
from .registry import make
from .settings import OFF, Settings

_LONGEST = 1 << 22


def read(path: str | Path) -> Settings:
    """Read the settings of a TOML file.

    Raises:
        InputError: The file cannot be read, or holds a key or value that is not known.
    """
    path = Path(path)
    files.check(path)
    try:
        if path.stat().st_size > _LONGEST:
            raise InputError(f"{path}: larger than 4 MiB", "give a settings file")
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
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
            kind, wanted = _KEYS[key]
            try:
                given[key] = kind(value)
            except (TypeError, ValueError):
                raise UsageError(f"{key} = {value!r}", f"give {wanted}") from None
        else:
            raise UsageError(f'there is no setting "{key}"', did_you_mean(key, [*_KEYS, "checks"]))
    if isinstance(labels := given.get("prep", {}).get("labels"), str):
        given["prep"] = {**given["prep"], "labels": str(folder / labels)}
    if isinstance(preset := given.get("prep", {}).get("prep"), str) and preset.endswith(".toml"):
        given["prep"] = {**given["prep"], "prep": str(folder / preset)}
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


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in (value if isinstance(value, list) else [value]))


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError
    return value


def _rules(value: Any) -> dict[str, str]:
    from .. import rules

    table = {match: _text(rule) for match, rule in _table(value).items()}
    for rule in table.values():
        rules.parse(rule)
    return table


def _prep(value: Any) -> dict[str, Any]:
    return {"prep": value} if isinstance(value, str) else _table(value)


def _target(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError
    from ..explanation import targets

    if targets.parse(value).k > 1:
        raise ValueError
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _size(value: Any) -> tuple[int, ...]:
    return tuple(_count(item) for item in (value if isinstance(value, list) else [value]))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _unsupported(value: Any) -> str:
    if value not in ("error", "gradient", "pass"):
        raise ValueError
    return str(value)


_WORD, _LIST = (_text, "a text"), (_texts, 'a list of texts, such as ["images/*.png"]')
_KEYS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "model": _WORD,
    "samples": _LIST,
    "masks": _WORD,
    "expected": _LIST,
    "baseline": _WORD,
    "method": _WORD,
    "options": (_table, "a table, such as [options] epsilon = 1e-6"),
    "rules": (_rules, 'a table of texts, such as [rules] Conv = "gamma(0.25)"'),
    "on_unsupported": (_unsupported, '"error", "gradient" or "pass"'),
    "target": (_target, 'a class id, a label, or "top1"'),
    "output": _WORD,
    "input": _WORD,
    "given": (_table, "a table of numbers and .npy files by the names of inputs"),
    "kind": (_text, 'a kind of input, such as "signal" or "image:NHWC"'),
    "engine": _WORD,
    "prep": (_prep, 'a preset, such as "imagenet", or a table of mean, std, scale, …'),
    "strict": (_flag, "true or false"),
    "size": (_size, "[height, width]"),
    "batch_size": (_count, "a whole number from 1"),
    "max_memory": (_text, 'a size, such as "8G"'),
    "allow_linked_data": (_flag, "true or false"),
}
