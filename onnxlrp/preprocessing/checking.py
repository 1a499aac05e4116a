"""The pieces of a preprocessing as somebody states them, checked; never trusted."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OnnxLrpError, UsageError, did_you_mean
from . import labels
from .fields import COLORS, FORMULA, INTERPOLATIONS, LAYOUTS, OFFSETS, PRESETS, RESIZES, Pieces, Source, shown

_LARGEST_SIDE = 8192


def checked(raw: Mapping[str, Any], rung: Source) -> Pieces:
    """What one rung states, checked as far as it can be without the graph; a preset gives what is not beside it.

    `resize_to` comes back as `crop`, a tuple of pixels. Raises the rung's error.
    """
    pieces: Pieces = {}
    for key, value in raw.items():
        if key not in _PARSERS:
            hint = did_you_mean(str(key), _PARSERS)
            raise rung.error(f"{rung.name}: {str(key)[:60]!r} is no piece of a preprocessing", hint)
        pieces[key] = _PARSERS[key](key, value, rung)
    if "preset" in pieces:
        preset = dict(PRESETS[pieces.pop("preset")])
        if {preset.get("color"), pieces.get("color")} == {"RGB", "BGR"}:
            preset.update(mean=preset["mean"][::-1], std=preset["std"][::-1])
        pieces = {**preset, **pieces}
    if "resize_to" in pieces:
        if "crop" in pieces:
            raise rung.wrong("resize_to", "crop says the same in another way", "state one of crop and resize_to")
        pieces["crop"] = pieces.pop("resize_to")
    return pieces


def sifted(raw: Mapping[str, Any], rung: Source) -> tuple[Pieces, list[str]]:
    """The same of a rung that was not written for onnxlrp: what cannot be understood is left out, and why is said."""
    pieces: Pieces = {}
    notes: list[str] = []
    for key, value in raw.items():
        try:
            pieces |= checked({key: value}, rung)
        except OnnxLrpError as error:
            notes.append(f"{error.message}: not used")
    if any(key in raw and key not in pieces for key in FORMULA):
        pieces = {key: value for key, value in pieces.items() if key not in FORMULA}  # half of a formula misleads
    return pieces, notes


def _parse_numbers(key: str, value: Any, rung: Source) -> tuple[float, ...]:
    fix = f"give {key} as one number, or one for each channel, such as 0.485,0.456,0.406"
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    elif not isinstance(value, (list, tuple, np.ndarray)):
        value = [value]
    numbers = tuple(_parse_number(key, v, rung, fix) for v in value)
    if len(numbers) not in (1, 3):
        raise rung.wrong(key, f"{len(numbers)} numbers", fix)
    if key == "std" and min(numbers) <= 0:
        raise rung.wrong(key, f"{shown(numbers)} is not above 0", "a standard deviation is positive")
    return numbers


def _parse_number(key: str, value: Any, rung: Source, fix: str) -> float:
    number = math.nan
    with contextlib.suppress(ValueError, ZeroDivisionError, OverflowError):
        if isinstance(value, str):
            top, _, bottom = value.strip().partition("/")  # 1/255 reads better than its decimals
            number = float(top) / float(bottom) if bottom else float(top)
        elif isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
            number = float(value)
    if not math.isfinite(number) or abs(number) >= 1e30:
        raise rung.wrong(key, f"{str(value)[:60]!r} is no finite number", fix)
    return number


def _parse_scale(key: str, value: Any, rung: Source) -> float:
    fix = "give what pixel values 0..255 are multiplied by, such as 1/255"
    number = _parse_number(key, value, rung, fix)
    if number <= 0:
        raise rung.wrong(key, f"{number:g} is not above 0", fix)
    return number


def _parse_crop(key: str, value: Any, rung: Source) -> float:
    fix = "give the share of the shorter side that the model sees, such as 0.875"
    number = _parse_number(key, value, rung, fix)
    if not 0.01 <= number <= 1:
        raise rung.wrong(key, f"{number:g} is not between 0.01 and 1", fix)
    return number


def _parse_side(key: str, value: Any, rung: Source) -> int:
    fix = f"give a number of pixels from 1 to {_LARGEST_SIDE}"
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        value = int(value)
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 1 <= value <= _LARGEST_SIDE:
        raise rung.wrong(key, f"{str(value)[:60]!r} is no size in pixels", fix)
    return int(value)


def _parse_sides(key: str, value: Any, rung: Source, fix: str) -> list[int]:
    if isinstance(value, str):
        value = value.lower().replace("x", " ").replace(",", " ").split()
    elif not isinstance(value, (list, tuple)):
        value = [value]
    sides = [_parse_side(key, v, rung) for v in value]
    if len(sides) not in (1, 2):
        raise rung.wrong(key, f"{len(sides)} numbers", fix)
    return sides


def _parse_size(key: str, value: Any, rung: Source) -> tuple[int, int]:
    sides = _parse_sides(key, value, rung, "give HEIGHTxWIDTH, such as 224x224")
    return (sides[0], sides[-1])


def _parse_resize_to(key: str, value: Any, rung: Source) -> tuple[int, ...]:
    return tuple(_parse_sides(key, value, rung, "give the shorter side's pixels, or height and width"))


def _parse_labels(key: str, value: Any, rung: Source) -> tuple[str, ...]:
    if rung.error is UsageError and isinstance(value, (str, Path)):
        return labels.read(value)
    return labels.from_json(list(value) if isinstance(value, tuple) else value, f"{rung.name}: {key}")


def _one_of(words: Sequence[str]) -> Any:
    def parse(key: str, value: Any, rung: Source) -> str:
        known = {word.lower(): word for word in words}
        word = str(value).lower().replace("gray", "grey")
        if word not in known:
            raise rung.wrong(key, f"{str(value)[:60]!r} is not known", f"give one of {', '.join(words)}")
        return known[word]

    return parse


_PARSERS: Mapping[str, Any] = {
    "preset": _one_of(tuple(PRESETS)),
    "size": _parse_size,
    "color": _one_of(COLORS),
    "layout": _one_of(LAYOUTS),
    "scale": _parse_scale,
    "mean": _parse_numbers,
    "std": _parse_numbers,
    "resize": _one_of(RESIZES),
    "crop": _parse_crop,
    "resize_to": _parse_resize_to,
    "offset": _one_of(OFFSETS),
    "interpolation": _one_of(INTERPOLATIONS),
    "labels": _parse_labels,
}
