"""Places: where in an output with many positions the explained score is read."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal, NamedTuple

_NUMBERS = re.compile(r"-?\d{1,9}( ?, ?-?\d{1,9})*")
_MASKS = (".png", ".npy", ".bmp", ".gif", ".tif", ".tiff", ".jpg", ".jpeg", ".webp")
SIZES = ("x", "y", "w", "h", "size")  # what is read of a box beside the scores of its classes


class Place(NamedTuple):
    """A place in an output that has scores at each of many positions.

    Attributes:
        kind: "default" for what the output has; "predicted" for the positions whose best class is the explained one,
            "all" for all positions, "at" for numbers, "mask" for the file of a mask; "box" for one of the boxes of a
            detector, by its number or by a point `y,x` in it.
        numbers: One number for each axis of positions, a point that -1 counts from the end; or twice as many, a region
            from the first half up to, not including, the second. Of a box its number, or a point in it.
        path: The file of a mask.
        values: Of a box its coordinates are explained, not its classes.
    """

    kind: Literal["default", "predicted", "all", "at", "mask", "box"]
    numbers: tuple[int, ...] = ()
    path: str = ""
    values: bool = False

    def __str__(self) -> str:
        if self.kind == "box":
            return "box" + (f":{self.numbers[0]}" if len(self.numbers) == 1 else "@" + _joined(self.numbers))
        return self.path if self.kind == "mask" else _joined(self.numbers) if self.kind == "at" else self.kind


DEFAULT = Place("default")
PREDICTED = Place("predicted")


def parse(text: str) -> Place | None:
    """Return the place that the text after an "@" names; None for what names none."""
    word = text.strip()
    if word.lower() in ("predicted", "all"):
        return Place("predicted" if word.lower() == "predicted" else "all")
    if _NUMBERS.fullmatch(word):
        return Place("at", tuple(map(int, word.split(","))))
    return Place("mask", path=word) if PurePath(word).suffix.lower() in _MASKS else None


def box(text: str) -> tuple[Place, str] | None:
    """Return the box that a target names, and what is explained of it.

    Args:
        text: `box:N`, `box@Y,X`, each perhaps with `:CLASS` or `:x`, `:y`, `:w`, `:h`, `:size` behind.

    Returns:
        The place and the class, "" for the best one; None for a text of another kind.
    """
    found = re.fullmatch(r"(?i)\s*box(?::(\d{1,9})|@(\d{1,9} ?, ?\d{1,9}))(?::(.+))?", text)
    if found is None:
        return None
    numbers = tuple(map(int, (found[1] or found[2]).split(",")))
    what = (found[3] or "").strip()
    return Place("box", numbers, values=what in SIZES), what


def _joined(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
