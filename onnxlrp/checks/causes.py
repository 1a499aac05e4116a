"""Why outputs differ from the stored ones: another preprocessing is tried before weights are suspected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OnnxLrpError
from ..model import Model
from ..preprocessing import Preprocessing
from ..preprocessing.fields import INTERPOLATIONS, PRESETS, RESIZES, wide
from .case import Case

Array = npt.NDArray[Any]
Answer = tuple[str, str]

_PIECES = ("color", "scale", "mean", "std", "resize", "crop", "resize_to", "interpolation", "offset")


def probable(
    case: Case, rows: Array, wanted: Array, stored: Array | None, kind: str, ratio: Callable[[Array], float]
) -> Answer:
    """The probable cause of outputs that differ, and what to type; the samples are `rows` of the case.

    `stored` are the inputs that gave the `wanted` outputs, where somebody kept them; `ratio` says how far outputs are
    off, agreeing up to 1.
    """
    pictures = [case.samples.originals[n] for n in rows]
    if any(picture is None for picture in pictures):
        return "the samples are arrays, so that weights or graph differ", "export the model again"
    prep = case.model.preprocessing
    if stored is not None and stored.shape == case.samples.values[rows].shape:
        answer = _affine(prep, case.samples.values[rows], stored)
        if answer is not None:
            return answer
    best: tuple[float, str, Preprocessing] | None = None
    for said, other in _others(case, prep):
        x = np.concatenate([other.apply(picture) for picture in pictures if picture is not None])
        off = ratio(case.forward(case.model, x)[kind])
        if best is None or off < best[0]:
            best = off, said, other
    if best is not None and best[0] <= 1:
        _, said, other = best
        pieces = _apart(prep, other)
        cause = f"probable cause: the preprocessing ({', '.join(pieces)}); {said} gives the stored outputs"
        return cause, _toml(other, pieces)
    return (
        "no usual preprocessing gives the stored outputs either: mean and std, or the weights, are others",
        "store the inputs beside the outputs in the .npz: they tell the two apart",
    )


def _affine(prep: Preprocessing, mine: Array, stored: Array) -> Answer | None:
    """The mean and std by which pictures became the stored inputs, where a line for each channel leads there."""
    if np.allclose(mine, stored, rtol=1e-3, atol=1e-3):
        return "the inputs agree with the stored ones, so that weights or graph differ", "export the model again"
    axis = {"NCHW": 1, "NHWC": 3, "NHW": None}[prep.layout]
    mean, std = [], []
    for c in range(prep.channels):
        a, b = (
            (x if axis is None else np.take(x, c, axis=axis)).reshape(-1).astype(np.float64) for x in (mine, stored)
        )
        if np.ptp(a) == 0:
            return None
        slope, shift = np.polyfit(a, b, 1)
        if slope <= 0 or np.abs(slope * a + shift - b).max() > 0.02 * np.ptp(b):
            return None
        # stored = slope·(p − m)/s + shift, p the scaled pixel: its own mean is m − shift·s/slope, its std s/slope.
        mean.append(prep.mean[c] - shift * prep.std[c] / slope)
        std.append(prep.std[c] / slope)
    other = replace(prep, mean=tuple(round(v, 4) for v in mean), std=tuple(round(v, 4) for v in std))
    pieces = [name for name in ("mean", "std") if not np.allclose(getattr(prep, name), getattr(other, name), rtol=0.01)]
    said = f"probable cause: the preprocessing ({', '.join(pieces) or 'mean, std'}), by the stored inputs"
    return said, _toml(other, pieces or ["mean", "std"])


def _others(case: Case, prep: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    """Other preprocessings that somebody states, or that are common; each with its name."""
    model = case.model
    for said, changed in (
        ("what the model's other sources state", Model(model.graph, model.engine, model.path)),
        ("what the model's metadata states", Model(model.graph, model.engine)),
    ):
        try:
            other = changed.preprocessing
        except OnnxLrpError:
            continue
        if _apart(prep, other) and other.size == prep.size:
            yield said, other
    variants = [("it", prep)]
    for name, preset in PRESETS.items():
        mean, std = (wide(preset[key], prep.channels) for key in ("mean", "std"))
        color = preset.get("color", prep.color) if prep.channels > 1 else prep.color
        variants.append((f'prep = "{name}"', replace(prep, scale=preset["scale"], color=color, mean=mean, std=std)))
    for said, other in variants:
        yield said, other
        if prep.channels > 1:
            flipped = {"RGB": "BGR", "BGR": "RGB"}[other.color]
            swapped = replace(other, color=flipped, mean=other.mean[::-1], std=other.std[::-1])
            yield f"{said} with {flipped}", swapped
    for resize in RESIZES:
        yield f"resize by {resize}", replace(prep, resize=resize)
    for interpolation in INTERPOLATIONS:
        yield f"{interpolation} interpolation", replace(prep, interpolation=interpolation)


def _apart(a: Preprocessing, b: Preprocessing) -> list[str]:
    return [name for name in _PIECES if getattr(a, name) != getattr(b, name)]


def _toml(prep: Preprocessing, pieces: list[str]) -> str:
    def shown(value: Any) -> str:
        if isinstance(value, str):
            return f'"{value}"'
        return f"[{', '.join(f'{v:.6g}' for v in value)}]" if isinstance(value, tuple) else f"{value:.6g}"

    return f"prep = {{ {', '.join(f'{name} = {shown(getattr(prep, name))}' for name in pieces)} }}"
