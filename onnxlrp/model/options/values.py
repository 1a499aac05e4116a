"""Values of options, as a settings file and the command line state them.

Importing this module imports nothing heavy; readers that need rules or targets import them when they are called.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ...errors import UsageError


class Kind(NamedTuple):
    """A kind of value in a settings file.

    Attributes:
        read: Return the value as Python wants it. Raises ValueError or TypeError for another kind of value, UsageError
            where it knows more.
        expects: What to give instead, for the error.
    """

    read: Callable[[Any], Any]
    expects: str


# -- values of a settings file (TOML)


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


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _counts(value: Any) -> tuple[int, ...]:
    return tuple(_count(item) for item in (value if isinstance(value, list) else [value]))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value


def _lengths(value: Any) -> tuple[int, ...] | dict[str, int]:
    """Lengths in order, or by the names of axes."""
    return {name: _count(item) for name, item in value.items()} if isinstance(value, dict) else _counts(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _rules(value: Any) -> dict[str, str]:
    from ...rules import parse

    table = {match: _text(rule) for match, rule in _table(value).items()}
    for rule in table.values():
        parse(rule)
    return table


def _preprocessing(value: Any) -> dict[str, Any]:
    return {"prep": value} if isinstance(value, str) else _table(value)


def _target(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError
    from ...explanation.targets import parse

    if parse(value).k > 1:
        raise ValueError
    return value


TEXT = Kind(_text, "a text")
TEXTS = Kind(_texts, 'a list of texts, such as ["images/*.png"]')
COUNT = Kind(_count, "a whole number from 1")
NUMBER = Kind(_number, "a number")
LENGTHS = Kind(_lengths, "[height, width], a length, or lengths by name, such as { length = 16000 }")
INPUT_KIND = Kind(_text, 'a kind of input, such as "signal" or "image:NHWC"')
SIZE = Kind(_text, 'a size, such as "8G"')
PREPROCESSING = Kind(_preprocessing, 'a preset, such as "imagenet", or a table of mean, std, scale, …')
SWITCH = Kind(_switch, "true or false")
TARGET = Kind(_target, 'a class id, a label, or "top1"')
RULES = Kind(_rules, 'a table of texts, such as [rules] Conv = "gamma(0.25)"')


def table(expects: str) -> Kind:
    """Return the kind of a table, with what one should hold."""
    return Kind(_table, expects)


def word_of(words: Sequence[str]) -> Kind:
    """Return the kind of a text that is one of some words."""

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return Kind(read, ", ".join(f'"{word}"' for word in words[:-1]) + f' or "{words[-1]}"')


# -- texts of the command line


def target_words(found: str | list[str]) -> str | list[str]:
    """Return the text of --target, or the texts of several. Raises UsageError where one names nothing."""
    from ...explanation.targets import parse

    for word in [found] if isinstance(found, str) else found:
        parse(word)
    return found


def samples_at_a_time(count: int) -> int:
    """Return the number of --batch-size. Raises UsageError for less than one."""
    if count < 1:
        raise UsageError(f"--batch-size {count}", "give 1 or more")
    return count


def rule_entries(words: Sequence[str]) -> list[tuple[str, Any]]:
    """Return the (pattern, rule) entries of --rule LAYER=RULE. Raises UsageError."""
    from ...rules import parse

    entries = []
    for word in words:
        # Patterns and a rule's options may hold "=" too.
        found = re.fullmatch(r"(.+?)=(\s*\w+\s*(?:\(.*\))?\s*)", word)
        if found is None:
            raise UsageError(f'--rule "{word}" is not LAYER=RULE', "write it as in --rule 'Conv=gamma(0.25)'")
        entries.append((found[1].strip(), parse(found[2])))
    return entries


def channels(words: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """Return the channels by module of --condition LAYER:CHANNELS. Raises UsageError."""
    found: dict[str, list[int]] = {}
    for word in words:
        path, _, numbers = word.rpartition(":")
        ids = [number.strip() for number in numbers.split(",")]
        if not path or not all(number.isdecimal() for number in ids):
            raise UsageError(f'--condition "{word}" is not LAYER:CHANNELS', "write it as in --condition 'layer3:12,45'")
        found.setdefault(path, []).extend(map(int, ids))
    return found


def input_values(words: Sequence[str]) -> Mapping[str, float | str]:
    """Return the values by input of --given NAME=VALUE: numbers, or paths of .npy files. Raises UsageError."""
    found: dict[str, float | str] = {}
    for word in words:
        name, _, value = word.rpartition("=")
        if not (name and value):
            raise UsageError(f'--given "{word}" is not NAME=VALUE', "write --given mask=mask.npy or --given scale=0.5")
        if name in found:
            raise UsageError(f"--given {name} is given twice", "give it once")
        try:
            found[name] = float(value)
        except ValueError:
            if not value.lower().endswith(".npy"):
                raise UsageError(
                    f'--given {name}: "{value}" is no number and no .npy file', f"--given {name}=0 or {name}.npy"
                ) from None
            found[name] = value
    return found
