"""Class names: from a file, or those of ImageNet for models with its number of outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import read_text, reason

Labels = tuple[str, ...]

_IMAGENET = Path(__file__).with_name("data") / "imagenet_classes.txt"
_LONGEST_FILE = 8 << 20
_LONGEST_NAME = 500
_BETWEEN_SYNONYMS = re.compile(r"(?<!\d),|,(?!\d)")
_WORDNET_ID = re.compile(r"^n\d{8}\s+")


def read(path: str | Path) -> Labels:
    """Read class names from a text file (one on each line) or a JSON file (a list, or an object of id to name).

    `{"id2label": …}`, `{"0": ["n01440764", "tench"]}` and WordNet ids before names are understood.

    Raises:
        InputError: The file is missing, or holds no class names.
    """
    path = Path(path)
    fix = "give one class name on each line, or a JSON list of names, in the order of the model's outputs"
    try:
        text = read_text(path, _LONGEST_FILE)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of class names", "check the path after --labels") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({reason(error)})", fix) from None
    if path.suffix.lower() == ".json":
        try:
            return from_json(json.loads(text), str(path))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not valid JSON ({reason(error)})", fix) from None
    return clean([_WORDNET_ID.sub("", line.strip()) for line in text.rstrip().splitlines()], str(path))


def from_json(value: Any, where: str) -> Labels:
    """Parse class names from a JSON value; `where` names its origin in errors. Raises InputError."""
    fix = 'write a list of names, or an object of id to name as in {"0": "cat", "1": "dog"}'
    if isinstance(value, Mapping):
        if isinstance(value.get("id2label"), Mapping):
            value = value["id2label"]
        table: dict[int, Any] = {}
        for key, name in value.items():
            if isinstance(name, int) and not isinstance(name, bool):
                key, name = name, key
            if not (isinstance(key, int) or (isinstance(key, str) and key.isdecimal() and len(key) < 10)):
                raise InputError(f"{where}: {_shown(key)} is not a class id", fix)
            table[int(key)] = name
        if sorted(table) != list(range(len(table))):
            raise InputError(f"{where}: the class ids are not 0 to {len(table) - 1} without a gap", fix)
        value = [table[i] for i in range(len(table))]
    if not isinstance(value, list):
        raise InputError(f"{where}: class names are a list or an object, not {type(value).__name__}", fix)
    return clean([name[-1] if isinstance(name, list) and name else name for name in value], where)


def clean(names: Sequence[Any], where: str) -> Labels:
    """Check names, and replace control characters by blanks. Raises InputError for empty names."""
    cleaned = []
    for i, name in enumerate(names):
        fix = f"give class {i} a name"
        if not isinstance(name, str):
            raise InputError(f"{where}: the name of class {i} is {_shown(name)}, not text", fix)
        name = "".join(c if c.isprintable() else " " for c in name).strip()
        if not name or len(name) > _LONGEST_NAME:
            raise InputError(f"{where}: the name of class {i} is empty or longer than {_LONGEST_NAME} characters", fix)
        cleaned.append(name)
    if not cleaned:
        raise InputError(f"{where}: holds no class name", "give one name for each output of the model")
    return tuple(cleaned)


@cache
def imagenet(n_outputs: int | None) -> Labels | None:
    """Return ImageNet's names for 1000 outputs, with `background` first for 1001; None for any other number."""
    if n_outputs not in (1000, 1001):
        return None
    names = tuple(_IMAGENET.read_text(encoding="utf-8").splitlines())
    return names if n_outputs == 1000 else ("background", *names)


def short(label: str) -> str:
    """Return the first of a label's synonyms: "tench" of "tench, Tinca tinca"; a comma between digits is part of it."""
    return _BETWEEN_SYNONYMS.split(label)[0].strip() or label


def name(labels: Sequence[str] | None, class_id: int) -> str:
    """Return the name of a class in titles: its short label, or its id where it has none."""
    return short(labels[class_id]) if labels and 0 <= class_id < len(labels) else str(class_id)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
