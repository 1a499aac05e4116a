"""Places: where in an output with many positions the explained score is read."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

from ...errors import UsageError, did_you_mean, one_of

_NUMBERS = re.compile(r"-?\d{1,9}( ?, ?-?\d{1,9})*")
_MASKS = (".png", ".npy", ".bmp", ".gif", ".tif", ".tiff", ".jpg", ".jpeg", ".webp")
SIZES = ("x", "y", "w", "h", "size")  # what is read of a box beside the scores of its classes
OFFSETS = "offsets"  # distances from anchors that the outputs do not hold: such boxes have no place in a picture
BOX_FORMATS = ("cxcywh", "xyxy", "yxyx", OFFSETS)
BOX_LAYOUTS = ("4+C", "5+C")
_ACTIVATIONS = ("sigmoid", "softmax", "as-is")


class Place(NamedTuple):
    """A place in an output that has scores at each of many positions.

    Attributes:
        kind: "default" for what the output has; "predicted" for the positions whose best class is the explained one,
            "all" for all positions, "peak" for the position where the score of each class is best, "last" for the last
            token that is no padding, "at" for numbers, "mask" for the file of a mask; "box" for one of the boxes of a
            detector, by its number or by a point `y,x` in it.
        numbers: One number for each axis of positions, a point that -1 counts from the end; or twice as many, a region
            from the first half up to, not including, the second. Of a box its number, or a point in it. Of a peak that
            nobody asked for the class that is left out of the best, which means no label; -1 for none.
        path: The file of a mask.
        values: Of a box its coordinates are explained, not its classes.
    """

    kind: Literal["default", "predicted", "all", "peak", "last", "at", "mask", "box"]
    numbers: tuple[int, ...] = ()
    path: str = ""
    values: bool = False

    @property
    def of_each(self) -> bool:
        """Whether each sample has a position of its own, which its tokens or scores tell."""
        return self.kind in ("last", "peak")

    def __str__(self) -> str:
        if self.kind == "box":
            return "box" + (f":{self.numbers[0]}" if len(self.numbers) == 1 else "@" + _joined(self.numbers))
        return self.path if self.kind == "mask" else _joined(self.numbers) if self.kind == "at" else self.kind


DEFAULT = Place("default")
PREDICTED = Place("predicted")
LAST = Place("last")  # of each sample; the default of scores of tokens that may be padding
LAST_INPUT = "onnxlrp.last_token"  # metadata of a graph: the name of its input that marks this token
PEAK = Place("peak")
BEST_BOX = Place("box", (1,))


def parse(text: str) -> Place | None:
    """Return the place that the text after an "@" names; None for what names none."""
    word = text.strip()
    for place in (PREDICTED, Place("all"), PEAK):
        if word.lower() == place.kind:
            return place
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


class BoxOptions(NamedTuple):
    """What the user states of a detector.

    Attributes:
        score: Boxes below this score are left out; None for what the model states, else 0.25.
        iou: Of two boxes of a class that overlap by more (intersection over union), the better one stays; None for what
            the model states, else 0.45.
        layout: "4+C" (coordinates and classes) or "5+C" (with objectness between); "" where the model tells.
        format: "cxcywh", "xyxy", "yxyx" or "offsets"; "" where the model tells.
        background: The class that means no object, or "none"; None where the model tells.
        activation: What makes scores of the output: "sigmoid", "softmax" or "as-is"; "" where the model tells.
        boxes: The output of the coordinates.
        scores: The output of the scores.
    """

    score: float | None = None
    iou: float | None = None
    layout: str = ""
    format: str = ""
    background: str | None = None
    activation: str = ""
    boxes: str = ""
    scores: str = ""


def box_options(text: str | None) -> BoxOptions:
    """Return what the user states of a detector, of `score=0.1,iou=0.5,layout=4+C,format=xyxy,background=0`.

    Raises:
        UsageError: A word that is none of these, or a value that does not fit.
    """
    found: dict[str, Any] = {}
    for part in filter(None, (word.strip() for word in (text or "").split(","))):
        name, _, value = part.partition("=")
        if name not in BoxOptions._fields or not value:
            fix = did_you_mean(name, BoxOptions._fields) if value else f"write {name}=…"
            raise UsageError(f'--boxes "{part}": there is no such option of boxes', fix)
        found[name] = value
    for name in ("score", "iou"):
        if name in found:
            try:
                found[name] = float(found[name])
            except ValueError:
                raise UsageError(f'--boxes {name}="{found[name]}" is no number', f"write {name}=0.3") from None
            if not 0 <= found[name] <= 1:
                raise UsageError(f"--boxes {name}={found[name]:g}: no share", "give a number from 0 to 1")
    for name, words in (("layout", BOX_LAYOUTS), ("format", BOX_FORMATS), ("activation", _ACTIVATIONS)):
        if name in found:
            one_of(words, **{f"boxes {name}": found[name]})
    if not re.fullmatch(r"none|-?\d{1,6}", found.get("background", "none")):
        raise UsageError(f"--boxes background={found['background']}", "give none, or a class id")
    return BoxOptions(**found)


def _joined(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
