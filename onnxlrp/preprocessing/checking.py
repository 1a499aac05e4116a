"""Check the fields of a preprocessing as a source states them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OnnxLrpError, UsageError, did_you_mean
from . import labels
from .fields import (
    COLORS,
    FORMULA,
    INTERPOLATIONS,
    LARGEST_SIDE,
    LAYOUTS,
    OFFSETS,
    PRESETS,
    RESIZES,
    Fields,
    Source,
    format_numbers,
)


def check_fields(raw: Mapping[str, Any], source: Source) -> Fields:
    """Check what a source states, as far as possible without the graph.

    Args:
        raw: Fields by name; a preset fills in the fields that are not given beside it.
        source: The source.

    Returns:
        The fields; `resize_to` becomes `crop`, a tuple of pixels.

    Raises:
        OnnxLrpError: A field does not exist or has a wrong value; the class of error is that of the source.
    """
    fields: Fields = {}
    for key, value in raw.items():
        if key not in _PARSERS:
            hint = did_you_mean(str(key), _PARSERS)
            raise source.error(f"{source.name}: {str(key)[:60]!r} is no field of a preprocessing", hint)
        fields[key] = _PARSERS[key](key, value, source)
    if "preset" in fields:
        preset = dict(PRESETS[fields.pop("preset")])
        if {preset.get("color"), fields.get("color")} == {"RGB", "BGR"}:
            preset.update(mean=preset["mean"][::-1], std=preset["std"][::-1])
        fields = {**preset, **fields}
    if "resize_to" in fields:
        if "crop" in fields:
            raise source.wrong(
                "resize_to", "crop is stated too, which means the same", "state one of crop and resize_to"
            )
        fields["crop"] = fields.pop("resize_to")
    return fields


def check_foreign_fields(raw: Mapping[str, Any], source: Source) -> tuple[Fields, list[str]]:
    """Check what a source states that was not written for onnxlrp.

    Args:
        raw: Fields by name.
        source: The source.

    Returns:
        The fields that are understood, and notes on the others.
    """
    fields: Fields = {}
    notes: list[str] = []
    for key, value in raw.items():
        try:
            fields |= check_fields({key: value}, source)
        except OnnxLrpError as error:
            notes.append(f"{error.message}: not used")
    if any(key in raw and key not in fields for key in FORMULA):
        fields = {key: value for key, value in fields.items() if key not in FORMULA}  # half a formula misleads
    return fields, notes


def _parse_numbers(key: str, value: Any, source: Source) -> tuple[float, ...]:
    fix = f"give {key} as one number, or one for each channel, such as 0.485,0.456,0.406"
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    elif not isinstance(value, (list, tuple, np.ndarray)):
        value = [value]
    numbers = tuple(_parse_number(key, v, source, fix) for v in value)
    if len(numbers) not in (1, 3):
        raise source.wrong(key, f"{len(numbers)} numbers", fix)
    if key == "std" and min(numbers) <= 0:
        raise source.wrong(key, f"{format_numbers(numbers)} is not above 0", "a standard deviation is positive")
    return numbers


def _parse_number(key: str, value: Any, source: Source, fix: str) -> float:
    number = math.nan
    with contextlib.suppress(ValueError, ZeroDivisionError, OverflowError):
        if isinstance(value, str):
            top, _, bottom = value.strip().partition("/")  # 1/255 is easier to read than its decimals
            number = float(top) / float(bottom) if bottom else float(top)
        elif isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
            number = float(value)
    if not math.isfinite(number) or abs(number) >= 1e30:
        raise source.wrong(key, f"{str(value)[:60]!r} is not a finite number", fix)
    return number


def _parse_scale(key: str, value: Any, source: Source) -> float:
    fix = "give the factor of pixel values 0..255, such as 1/255"
    number = _parse_number(key, value, source, fix)
    if number <= 0:
        raise source.wrong(key, f"{number:g} is not above 0", fix)
    return number


def _parse_crop(key: str, value: Any, source: Source) -> float:
    fix = "give the share of the shorter side that the model sees, such as 0.875"
    number = _parse_number(key, value, source, fix)
    if not 0.01 <= number <= 1:
        raise source.wrong(key, f"{number:g} is not between 0.01 and 1", fix)
    return number


def _parse_side(key: str, value: Any, source: Source) -> int:
    fix = f"give a number of pixels from 1 to {LARGEST_SIDE}"
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        value = int(value)
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 1 <= value <= LARGEST_SIDE:
        raise source.wrong(key, f"{str(value)[:60]!r} is not a size in pixels", fix)
    return int(value)


def _parse_sides(key: str, value: Any, source: Source, fix: str) -> list[int]:
    if isinstance(value, str):
        value = value.lower().replace("x", " ").replace(",", " ").split()
    elif not isinstance(value, (list, tuple)):
        value = [value]
    sides = [_parse_side(key, v, source) for v in value]
    if len(sides) not in (1, 2):
        raise source.wrong(key, f"{len(sides)} numbers", fix)
    return sides


def _parse_size(key: str, value: Any, source: Source) -> tuple[int, int]:
    sides = _parse_sides(key, value, source, "give HEIGHTxWIDTH, such as 224x224")
    return (sides[0], sides[-1])


def _parse_resize_to(key: str, value: Any, source: Source) -> tuple[int, ...]:
    return tuple(_parse_sides(key, value, source, "give the shorter side's pixels, or height and width"))


def _parse_labels(key: str, value: Any, source: Source) -> tuple[str, ...]:
    if source.error is UsageError and isinstance(value, (str, Path)):
        return labels.read(value)
    return labels.from_json(list(value) if isinstance(value, tuple) else value, f"{source.name}: {key}")


def _one_of(words: Sequence[str]) -> Any:
    def parse(key: str, value: Any, source: Source) -> str:
        known = {word.lower(): word for word in words}
        word = str(value).lower().replace("gray", "grey")
        if word not in known:
            raise source.wrong(key, f"{str(value)[:60]!r} is not known", f"give one of {', '.join(words)}")
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
