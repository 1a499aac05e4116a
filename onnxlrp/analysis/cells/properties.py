"""Properties of the places of a text that a cell may track, and columns of the user's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError, UsageError, did_you_mean, one_of
from ...preprocessing import tables

Array = npt.NDArray[Any]

_PREFIX = re.compile(r"(?<![^\W_])[rRbBfFuU]{1,2}$")  # letters that belong to a string of Python
_LOOK_BACK = 3


def quotes(text: str) -> Array:
    """Return 1 between quotation marks, the opening one included and the closing one not; else 0 [characters].

    `"` and “ ” span lines up to the next empty one, `'` only one line, and three of either anything. A mark that is
    not closed there opens nothing, nor does an apostrophe within or behind a word.
    """
    found = np.zeros(len(text), np.float64)
    at = 0
    while at < len(text):
        end = _closing(text, at)
        if end is None:
            at += 1
            continue
        found[at : end[0]] = 1
        at = end[1]
    return found


def column(text: str) -> Array:
    """Return the number of characters since the line began, 0 for the first [characters]."""
    places = np.arange(len(text))
    after = np.array([n + 1 for n, character in enumerate(text) if character == "\n"], np.int64)
    starts = np.concatenate([[0], after])
    return np.asarray(places - starts[np.searchsorted(starts, places, side="right") - 1], np.float64)


def indentation(text: str) -> Array:
    """Return the blanks that the line begins with, so far; a tab goes on to the next multiple of 8 [characters]."""
    found, blanks, inside = np.zeros(len(text), np.float64), 0, True
    for n, character in enumerate(text):
        if character == "\n":
            found[n] = 0 if inside else blanks
            blanks, inside = 0, True
            continue
        inside = inside and character in " \t"
        if inside:
            blanks = blanks + 1 if character == " " else (blanks // 8 + 1) * 8
        found[n] = blanks
    return found


def brackets(text: str) -> Array:
    """Return how many of ( [ { are open, the character itself included; those within quotes do not count."""
    quoted, depth = quotes(text), 0
    found = np.zeros(len(text), np.float64)
    for n, character in enumerate(text):
        if not quoted[n]:
            depth = max(0, depth + (character in "([{") - (character in ")]}"))
        found[n] = depth
    return found


PROPERTIES: Mapping[str, Callable[[str], Array]] = {
    "quotes": quotes,
    "column": column,
    "indentation": indentation,
    "brackets": brackets,
}


def of_texts(texts: list[str], words: list[str]) -> dict[str, Array]:
    """Return properties of the characters of texts, one behind the other.

    Args:
        texts: The texts; none goes on in the next.
        words: Names of `PROPERTIES`.

    Raises:
        UsageError: There is no such property.
    """
    for word in words:
        one_of(PROPERTIES, property=word)
    return {word: np.concatenate([PROPERTIES[word](text) for text in texts]) for word in words}


def of_table(path: str | Path, places: int) -> dict[str, Array]:
    """Return the columns of a table as properties, a row for each place.

    Args:
        path: A `.csv` or `.parquet` file, of numbers.
        places: The number of characters, tokens or steps.

    Raises:
        InputError: The file cannot be read, holds something else, or has another number of rows.
    """
    table = tables.read(path)
    if table.height != places:
        raise InputError(
            f"{path}: {table.height} rows for {places} places of the text",
            "give a row for each character (line ends too), or for each token or step",
        )
    values = table.values
    if not np.isfinite(values).all():
        raise InputError(f"{path}: a value is missing", "give a number in every row")
    stem = Path(path).stem
    names = table.columns or tuple(stem if table.width == 1 else f"{stem} {n}" for n in range(table.width))
    return {name: values[:, n] for n, name in enumerate(names)}


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the names of properties, and the files of tables, among words.

    Raises:
        UsageError: A word is neither.
    """
    files = [word for word in words if tables.is_table(word)]
    names = [word for word in words if word not in files]
    for word in names:
        if word not in PROPERTIES:
            raise UsageError(
                f'there is no property "{word}"', f"{did_you_mean(word, PROPERTIES)}; or give a table: FILE.csv"
            )
    return names, files


def _closing(text: str, at: int) -> tuple[int, int] | None:
    """Return where a quotation that opens at a place ends, before and behind its mark; None where none opens."""
    mark = text[at]
    if mark == "“":
        end = text.find("”", at + 1, _empty_line(text, at))
        return None if end < 0 else (end, end + 1)
    if mark not in "\"'" or (mark == "'" and _within_word(text, at)) or _is_escaped(text, at):
        return None
    if text.startswith(mark * 3, at):
        end = _unescaped(text, mark * 3, at + 3, len(text))
        return None if end < 0 else (end, end + 3)
    last = text.find("\n", at) if mark == "'" else _empty_line(text, at)
    end = _unescaped(text, mark, at + 1, len(text) if last < 0 else last)
    return None if end < 0 else (end, end + 1)


def _within_word(text: str, at: int) -> bool:
    """Whether a letter stands before an apostrophe, other than the letters of a string of Python."""
    before = text[max(0, at - _LOOK_BACK) : at]
    return bool(before) and before[-1].isalnum() and not _PREFIX.search(before)


def _is_escaped(text: str, at: int) -> bool:
    slashes = len(text[:at]) - len(text[:at].rstrip("\\")) if at and text[at - 1] == "\\" else 0
    return slashes % 2 == 1


def _unescaped(text: str, mark: str, start: int, end: int) -> int:
    at = text.find(mark, start, end)
    while at >= 0 and _is_escaped(text, at):
        at = text.find(mark, at + 1, end)
    return at


def _empty_line(text: str, at: int) -> int:
    """The place of the next empty line, or the end of the text."""
    found = text.find("\n\n", at)
    return len(text) if found < 0 else found
