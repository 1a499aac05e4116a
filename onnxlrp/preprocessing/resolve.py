"""Resolve a preprocessing: stated fields are checked against the model's input, the others assumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import OnnxLrpError, UnsupportedError
from ..inputs import InputKind, decide
from . import labels
from .fields import COLORS_OF, FORMULA, PRESETS, Source, per_channel
from .sources import FieldSources
from .transform import Preprocessing

_DTYPES = {"float": "float32", "double": "float64"}


def resolve(stated: FieldSources, model: str, kind: InputKind, dtype: str) -> Preprocessing:
    """Check the stated fields against the model's input, and fill in the others.

    Args:
        stated: Values and sources by field.
        model: The name of the model in messages.
        kind: The kind of the input.
        dtype: The type of the input.

    Raises:
        OnnxLrpError: A stated field does not fit the model; the class of error is that of its source.
        UnsupportedError: The input is no picture.
    """
    value = {key: v for key, (v, _) in stated.items()}
    layout, unsure = _layout(stated, model, kind)
    assumed = ["layout"] if unsure else []
    size = _size(stated, kind)
    if size is None:
        size = (224, 224)
        assumed.append("size")
    channels = kind.channels
    by = {source.name for key, (_, source) in stated.items() if key in FORMULA}
    color = value.get("color", "RGB" if channels == 3 else "grey")
    if (color == "grey") != (channels == 1):
        raise stated["color"][1].wrong(
            "color",
            f"{color}, but {model} has {channels} channel{'s' * (channels > 1)}",
            ("state RGB or BGR" if channels == 3 else "state grey, with a preset such as 0-1"),
        )
    if "color" not in stated and channels == 3 and not by - {"graph"}:
        assumed.append("color")  # a source that states a formula knows the colours too, but for the graph
    guess, missing = _guess(value, dtype, channels, color)
    numbers = {}
    for key in ("mean", "std"):
        numbers[key] = value.get(key, guess[key])
        if len(numbers[key]) not in (1, channels):
            raise stated[key][1].wrong(
                key, f"{len(numbers[key])} values, but {model} has {channels} channel", "give one value"
            )
    resize = value.get("resize", "shorter-crop")
    crop, resize_to = _crop(stated, size, resize)
    prep = Preprocessing(
        size=size,
        color=color,
        layout=layout,
        scale=value.get("scale", guess["scale"]),
        mean=per_channel(numbers["mean"], channels),
        std=per_channel(numbers["std"], channels),
        resize=resize,
        crop=crop,
        interpolation=value.get("interpolation", "bilinear"),
        dtype=dtype,
        resize_to=resize_to,
        offset=value.get("offset", "round"),
        assumed=(*assumed, *missing, *_geometry(stated, crop)),
    )
    if np.dtype(dtype).kind in "iu" and float(np.ptp(np.concatenate([b.ravel() for b in prep.bounds()]))) < 100:
        source = next(source for key, (_, source) in stated.items() if key in FORMULA and source.name != "graph")
        raise source.wrong("scale", f"{prep.describe()} leaves few levels for a {dtype} input", "leave the formula out")
    return prep


def _guess(value: Mapping[str, Any], dtype: str, channels: int, color: str) -> tuple[Mapping[str, Any], list[str]]:
    """Return a formula for the fields that are not stated, and which of those are assumptions."""
    stated = [key for key in FORMULA if key in value]
    if np.dtype(dtype).kind in "iu":
        raw = {"scale": 1.0, "mean": (128.0,) if dtype == "int8" else (0.0,), "std": (1.0,)}
        return raw, [] if dtype == "uint8" or stated else list(FORMULA)
    if not stated:
        guess = dict(PRESETS["imagenet" if channels == 3 else "0-1"])
        if color == "BGR":
            guess |= {"mean": guess["mean"][::-1], "std": guess["std"][::-1]}
        return guess, list(FORMULA)
    guess = dict(PRESETS["0-1"])
    if "scale" in value:
        return guess, []
    small = max(map(abs, (*value.get("mean", (0,)), *value.get("std", (0,))))) <= 1
    return {**guess, "scale": 1 / 255 if small else 1.0}, ["scale"]


def _geometry(stated: FieldSources, crop: float) -> list[str]:
    """Return what is assumed of how a picture is resized and cut: a stated crop tells both."""
    if "crop" in stated:
        return []
    if "resize" not in stated:
        return ["resize", "crop"]
    return ["crop"] if crop != 1 else []


def _crop(stated: FieldSources, size: tuple[int, int], resize: str) -> tuple[float, tuple[int, ...]]:
    """Return the share of the shorter side that is cut out, and the size to resize to where it is stated in pixels."""
    short = min(size)
    value, source = stated.get("crop", (None, None))
    if resize != "shorter-crop":
        pixels = value if isinstance(value, tuple) and len(value) == 2 and resize == "stretch" else ()
        if source is not None and any(p < s for p, s in zip(pixels, size, strict=False)):
            raise source.wrong("resize_to", f"{pixels} is below the input's {size}", "give a larger one")
        return 1.0, pixels if pixels != size else ()
    if isinstance(value, tuple) and len(value) == 1 and source is not None:
        if value[0] < short:
            raise source.wrong("resize_to", f"{value[0]} is below the input's {short}", "give a larger one")
        return short / value[0], value
    return value if isinstance(value, float) else 0.875 if short >= 160 else 1.0, ()


def numpy_name(name: str, model: str) -> str:
    """Return numpy's name of a type. Raises UnsupportedError for an input that is not numeric."""
    name = _DTYPES.get(name.lower(), name.lower())
    try:
        if np.dtype(name).kind in "iuf":
            return name
    except TypeError:
        pass
    raise UnsupportedError(f"{model}: an input of {name} is no picture", "give the input as an .npy array")


def _layout(stated: FieldSources, model: str, kind: InputKind) -> tuple[str, bool]:
    """Return the layout of a picture, and whether it is assumed, where two would fit."""
    stated_layout, source = stated.get("layout", (None, None))
    if kind.layout is None or kind.channels not in COLORS_OF:
        if source is not None and (fits := decide(kind.shape)).channels in COLORS_OF and fits.layout:
            raise _misfit(stated_layout, source, model, fits)
        if kind.is_image:
            problem, fix = "is no picture of 1 or 3 channels", ""
        else:
            problem = f"is a {kind.name}, no picture [{kind.source}]".replace("a tokens", "a row of tokens")
            fix = ", or say that it is one: --kind image" * (len(kind.shape) in (2, 3))
        raise UnsupportedError(
            f"{model}: an input of shape {kind.shape} per sample {problem}",
            f"give the input as an .npy array in the model's own layout{fix}",
        )
    ends = {kind.shape[0], kind.shape[-1]}
    if source is None:
        return kind.layout, not kind.is_told and kind.channel_axis is not None and ends <= COLORS_OF.keys()
    if stated_layout != kind.layout:
        raise _misfit(stated_layout, source, model, kind)
    return kind.layout, False


def _misfit(layout: Any, source: Source, model: str, kind: InputKind) -> OnnxLrpError:
    """Make the error for a stated layout that the input does not have."""
    problem = f"{layout} does not fit {model}, an input of {kind.shape} per sample [{kind.source}]"
    return source.wrong("layout", problem, f"give {kind.layout}")


def _size(stated: FieldSources, kind: InputKind) -> tuple[int, int] | None:
    """Return height and width of the input, free ones (below 1) as stated; None where no source states them."""
    fixed = kind.grid
    if "size" not in stated:
        return (fixed[0], fixed[1]) if min(fixed) > 0 else None
    size, source = stated["size"]
    if any(f > 0 and f != s for f, s in zip(fixed, size, strict=True)):
        expected = "x".join(str(f) if f > 0 else "*" for f in fixed)
        raise source.wrong(
            "size", f"{size[0]}x{size[1]}, but the model takes {expected}", f"give {expected}, or leave it out"
        )
    return (size[0], size[1])


def class_names(stated: FieldSources, n_outputs: int | None) -> tuple[tuple[str, ...] | None, bool]:
    """Return the class names as stated, else those of ImageNet, and whether they are assumed."""
    if "labels" not in stated:
        names = labels.imagenet(n_outputs)
        return names, names is not None
    names, source = stated["labels"]
    if n_outputs is not None and len(names) != n_outputs:
        raise source.wrong(
            "labels",
            f"{len(names)} class names for {n_outputs} outputs",
            "give one name for each output, in their order",
        )
    return names, False
