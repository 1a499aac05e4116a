"""The pieces of a preprocessing as flags, a sidecar or a model's metadata state them: read, checked, never trusted."""

from __future__ import annotations

import contextlib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxlrp import labels
from onnxlrp.errors import InputError, OnnxLrpError, UsageError, did_you_mean
from onnxlrp.files import reason

METADATA_KEY = "onnxlrp.prep"
COLORS = ("RGB", "BGR", "grey")
LAYOUTS = ("NCHW", "NHWC", "NHW")
RESIZES = ("shorter-crop", "stretch")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box")
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "imagenet": {"color": "RGB", "scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "0-1": {"scale": 1 / 255, "mean": (0.0,), "std": (1.0,)},
    "-1-1": {"scale": 1 / 255, "mean": (0.5,), "std": (0.5,)},
    "0-255": {"scale": 1.0, "mean": (0.0,), "std": (1.0,)},
    "caffe-bgr": {"color": "BGR", "scale": 1.0, "mean": (103.939, 116.779, 123.68), "std": (1.0,)},
}

_LARGEST_SIDE = 8192
_LONGEST_TEXT = 4 << 20


@dataclass(frozen=True)
class Rung:
    """One place that states pieces: what it is called, and what its mistakes raise."""

    name: str
    error: type[OnnxLrpError]

    def wrong(self, key: str, problem: str, fix: str) -> OnnxLrpError:
        where = f"--{key}" if self.error is UsageError else f"{self.name}: {key}"
        return self.error(f"{where}: {problem}", fix)


Stated = dict[str, tuple[Any, Rung]]


def read(flags: Mapping[str, Any], model_path: str | Path | None, metadata: Mapping[str, str]) -> Stated:
    """Every piece that is stated and the first rung that states it: flags, the file beside the model, its metadata."""
    stated: Stated = {}
    for rung, pieces in _rungs(flags, model_path, metadata):
        for key, value in pieces.items():
            stated.setdefault(key, (value, rung))
    return stated


def _rungs(
    flags: Mapping[str, Any], model_path: str | Path | None, metadata: Mapping[str, str]
) -> Iterator[tuple[Rung, dict[str, Any]]]:
    by_hand = Rung("flags", UsageError)
    given = {key: value for key, value in flags.items() if value is not None}
    prep = given.pop("prep", None)
    named = str(prep).endswith(".toml")
    if prep is not None and not named:
        if str(prep) not in PRESETS:
            raise UsageError(
                f"--prep {prep}: no such preset", did_you_mean(str(prep), PRESETS) + " Or give a .toml file"
            )
        given["preset"] = prep
    if given:
        yield by_hand, _pieces(given, by_hand)
    if named:
        yield _sidecar(Path(str(prep)))
    if model_path is not None:
        beside = Path(model_path).with_name(Path(model_path).stem + ".prep.toml")
        if beside.exists():
            yield _sidecar(beside)
    if METADATA_KEY in metadata:
        yield _stored(metadata[METADATA_KEY])


def _stored(text: str) -> tuple[Rung, dict[str, Any]]:
    rung = Rung("model metadata", InputError)
    fix = f"store a JSON object under {METADATA_KEY}, or override it by a model.prep.toml beside the model"
    try:
        value = json.loads(text) if len(text) <= _LONGEST_TEXT else None
    except (ValueError, RecursionError) as error:
        raise InputError(f"model metadata: {METADATA_KEY} is not valid JSON ({reason(error)})", fix) from None
    if not isinstance(value, dict):
        raise InputError(f"model metadata: {METADATA_KEY} is no JSON object of at most 4 MiB", fix)
    return rung, _pieces(value, rung)


def _sidecar(path: Path) -> tuple[Rung, dict[str, Any]]:
    rung = Rung(path.name, InputError)
    fix = "write it as TOML, such as: mean = [0.485, 0.456, 0.406]"
    try:
        if path.stat().st_size > _LONGEST_TEXT:
            raise InputError(f"{path}: larger than 4 MiB", fix)
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path after --prep") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as TOML ({reason(error)})", fix) from None
    if isinstance(value.get("labels"), str):
        name = Path(value["labels"])
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{path}: labels: {name} is not beside it", "name a file in the same folder")
        value["labels"] = labels.read(path.parent / name)
    return rung, _pieces(value, rung)


def _pieces(raw: Mapping[str, Any], rung: Rung) -> dict[str, Any]:
    """What one rung states, checked as far as it can be without the graph; a preset gives what is not beside it."""
    pieces: dict[str, Any] = {}
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
        pieces["crop"] = pieces.pop("resize_to")  # an int: pixels of the shorter side, until the size is known
    return pieces


def _parse_numbers(key: str, value: Any, rung: Rung) -> tuple[float, ...]:
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


def _parse_number(key: str, value: Any, rung: Rung, fix: str) -> float:
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


def _parse_scale(key: str, value: Any, rung: Rung) -> float:
    fix = "give what pixel values 0..255 are multiplied by, such as 1/255"
    number = _parse_number(key, value, rung, fix)
    if number <= 0:
        raise rung.wrong(key, f"{number:g} is not above 0", fix)
    return number


def _parse_crop(key: str, value: Any, rung: Rung) -> float:
    fix = "give the share of the shorter side that the model sees, such as 0.875"
    number = _parse_number(key, value, rung, fix)
    if not 0.01 <= number <= 1:
        raise rung.wrong(key, f"{number:g} is not between 0.01 and 1", fix)
    return number


def _parse_side(key: str, value: Any, rung: Rung) -> int:
    fix = f"give a number of pixels from 1 to {_LARGEST_SIDE}"
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        value = int(value)
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 1 <= value <= _LARGEST_SIDE:
        raise rung.wrong(key, f"{str(value)[:60]!r} is no size in pixels", fix)
    return int(value)


def _parse_size(key: str, value: Any, rung: Rung) -> tuple[int, int]:
    if isinstance(value, str):
        value = value.lower().replace("x", " ").replace(",", " ").split()
    elif not isinstance(value, (list, tuple)):
        value = [value]
    sides = [_parse_side(key, v, rung) for v in value]
    if len(sides) not in (1, 2):
        raise rung.wrong(key, f"{len(sides)} numbers", "give HEIGHTxWIDTH, such as 224x224")
    return (sides[0], sides[-1])


def _parse_labels(key: str, value: Any, rung: Rung) -> tuple[str, ...]:
    if rung.error is UsageError and isinstance(value, (str, Path)):
        return labels.read(value)
    return labels.from_json(list(value) if isinstance(value, tuple) else value, f"{rung.name}: {key}")


def _one_of(words: Sequence[str]) -> Any:
    def parse(key: str, value: Any, rung: Rung) -> str:
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
    "resize_to": _parse_side,
    "interpolation": _one_of(INTERPOLATIONS),
    "labels": _parse_labels,
}


def wide(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    return tuple(numbers) * (channels if len(numbers) == 1 else 1)


def shown(numbers: Sequence[float]) -> str:
    if len(set(numbers)) == 1:
        return f"{numbers[0]:.6g}"
    return ",".join(f"{n:.6g}" for n in numbers)
