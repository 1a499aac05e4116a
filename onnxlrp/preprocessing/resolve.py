"""What is stated of a preprocessing, checked against the model's input, and the rest assumed and said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import OnnxLrpError, UnsupportedError
from ..inputs import InputKind, decide
from . import labels
from .fields import COLORS_OF, FORMULA, PRESETS, Source, wide
from .sources import Stated
from .transform import Preprocessing

_DTYPES = {"float": "float32", "double": "float64"}


def settle(stated: Stated, model: str, kind: InputKind, dtype: str) -> Preprocessing:
    """The stated pieces checked against the graph, and the rest filled in."""
    value = {key: v for key, (v, _) in stated.items()}
    layout, unsure = _layout(stated, model, kind)
    assumed = ["layout"] if unsure else []
    size = _size(stated, kind)
    if size is None:
        size = (224, 224)
        assumed.append("size")
    channels = kind.channels
    by = {rung.name for key, (_, rung) in stated.items() if key in FORMULA}
    color = value.get("color", "RGB" if channels == 3 else "grey")
    if (color == "grey") != (channels == 1):
        raise stated["color"][1].wrong(
            "color",
            f"{color}, but {model} has {channels} channel{'s' * (channels > 1)}",
            ("state RGB or BGR" if channels == 3 else "state grey, with a preset such as 0-1"),
        )
    if "color" not in stated and channels == 3 and not by - {"graph"}:
        assumed.append("color")  # who states a formula looked at the colours too, but for the graph
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
        mean=wide(numbers["mean"], channels),
        std=wide(numbers["std"], channels),
        resize=resize,
        crop=crop,
        interpolation=value.get("interpolation", "bilinear"),
        dtype=dtype,
        resize_to=resize_to,
        offset=value.get("offset", "round"),
        assumed=(*assumed, *missing),
    )
    if np.dtype(dtype).kind in "iu" and float(np.ptp(np.concatenate([b.ravel() for b in prep.bounds()]))) < 100:
        rung = next(rung for key, (_, rung) in stated.items() if key in FORMULA and rung.name != "graph")
        raise rung.wrong("scale", f"{prep.describe()} leaves few levels of a {dtype} input", "leave the formula out")
    return prep


def _guess(value: Mapping[str, Any], dtype: str, channels: int, color: str) -> tuple[Mapping[str, Any], list[str]]:
    """A formula to fill in what is not stated of it, and which pieces of that nobody could know."""
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


def _crop(stated: Stated, size: tuple[int, int], resize: str) -> tuple[float, tuple[int, ...]]:
    """The share of the shorter side that is seen, and what the picture is resized to where that is stated in pixels."""
    short = min(size)
    value, rung = stated.get("crop", (None, None))
    if resize != "shorter-crop":
        pixels = value if isinstance(value, tuple) and len(value) == 2 and resize == "stretch" else ()
        if rung is not None and any(p < s for p, s in zip(pixels, size, strict=False)):
            raise rung.wrong("resize_to", f"{pixels} is below the input's {size}", "give a larger one")
        return 1.0, pixels if pixels != size else ()
    if isinstance(value, tuple) and len(value) == 1 and rung is not None:
        if value[0] < short:
            raise rung.wrong("resize_to", f"{value[0]} is below the input's {short}", "give a larger one")
        return short / value[0], value
    return value if isinstance(value, float) else 0.875 if short >= 160 else 1.0, ()


def numpy_name(name: str, model: str) -> str:
    """numpy's name of the graph's; UnsupportedError where the input is not of numbers."""
    name = _DTYPES.get(name.lower(), name.lower())
    try:
        if np.dtype(name).kind in "iuf":
            return name
    except TypeError:
        pass
    raise UnsupportedError(f"{model}: an input of {name} is no picture", "give the input as an .npy array")


def _layout(stated: Stated, model: str, kind: InputKind) -> tuple[str, bool]:
    """The layout of a picture, and whether it is assumed where two would fit."""
    stated_layout, rung = stated.get("layout", (None, None))
    if kind.layout is None or kind.channels not in COLORS_OF:
        if rung is not None and (fits := decide(kind.shape)).channels in COLORS_OF and fits.layout:
            raise _misfit(stated_layout, rung, model, fits)
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
    if rung is None:
        return kind.layout, not kind.is_told and kind.channel_axis is not None and ends <= COLORS_OF.keys()
    if stated_layout != kind.layout:
        raise _misfit(stated_layout, rung, model, kind)
    return kind.layout, False


def _misfit(layout: Any, rung: Source, model: str, kind: InputKind) -> OnnxLrpError:
    """A stated layout that the input does not have."""
    problem = f"{layout} does not fit {model}, an input of {kind.shape} per sample [{kind.source}]"
    return rung.wrong("layout", problem, f"give {kind.layout}")


def _size(stated: Stated, kind: InputKind) -> tuple[int, int] | None:
    """Height and width of the graph, free ones (below 1) as stated; None where nobody says them."""
    fixed = kind.grid
    if "size" not in stated:
        return (fixed[0], fixed[1]) if min(fixed) > 0 else None
    size, rung = stated["size"]
    if any(f > 0 and f != s for f, s in zip(fixed, size, strict=True)):
        asked = "x".join(str(f) if f > 0 else "*" for f in fixed)
        raise rung.wrong("size", f"{size[0]}x{size[1]}, but the model takes {asked}", f"give {asked}, or leave it out")
    return (size[0], size[1])


def class_names(stated: Stated, n_outputs: int | None) -> tuple[tuple[str, ...] | None, bool]:
    """The class names as stated, else ImageNet's for its number of outputs, and whether they are assumed."""
    if "labels" not in stated:
        names = labels.imagenet(n_outputs)
        return names, names is not None
    names, rung = stated["labels"]
    if n_outputs is not None and len(names) != n_outputs:
        raise rung.wrong(
            "labels",
            f"{len(names)} class names for {n_outputs} outputs",
            "give one name for each output, in their order",
        )
    return names, False
