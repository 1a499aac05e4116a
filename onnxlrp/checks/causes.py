"""Probable causes of outputs that differ from stored ones: other preprocessings are tried first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OnnxLrpError
from ..inputs import InputKind
from ..model import Model
from ..preprocessing import Preprocessing
from ..preprocessing.fields import INTERPOLATIONS, PRESETS, RESIZES, per_channel
from .context import CheckContext

Array = npt.NDArray[Any]
Answer = tuple[str, str]

_FIELDS = ("color", "scale", "mean", "std", "resize", "crop", "resize_to", "interpolation", "offset")


def probable(
    context: CheckContext, rows: Array, wanted: Array, stored: Array | None, kind: str, ratio: Callable[[Array], float]
) -> Answer:
    """The probable cause of outputs that differ, and what to type; the samples are `rows` of the context.

    `stored` are the inputs that gave the `wanted` outputs, where somebody kept them; `ratio` says how far outputs are
    off, agreeing up to 1.
    """
    pictures = [context.samples.originals[n] for n in rows]
    if any(picture is None for picture in pictures):
        return "the samples are arrays without preprocessing: weights or graph differ", "export the model again"
    prep = context.model.preprocessing
    if stored is not None and stored.shape == context.samples.values[rows].shape:
        answer = _affine(prep, context.samples.kind, context.samples.values[rows], stored)
        if answer is not None:
            return answer
    best: tuple[float, str, Preprocessing] | None = None
    for name, other in _others(context, prep):
        x = np.concatenate([other.apply(picture) for picture in pictures if picture is not None])
        off = ratio(context.forward(context.model, x)[kind])
        if best is None or off < best[0]:
            best = off, name, other
    if best is not None and best[0] <= 1:
        _, name, other = best
        fields = _differing(prep, other)
        cause = f"probable cause: the preprocessing ({', '.join(fields)}); {name} gives the stored outputs"
        return cause, _toml(other, fields)
    return (
        "no common preprocessing gives the stored outputs: mean and std, or the weights, differ",
        "store the inputs with the outputs in the .npz file: they show which",
    )


def _affine(prep: Preprocessing, kind: InputKind, mine: Array, stored: Array) -> Answer | None:
    """Fit mean and std of each channel to the stored inputs; None where no linear map per channel fits."""
    if np.allclose(mine, stored, rtol=1e-3, atol=1e-3):
        return "the inputs agree with the stored ones: weights or graph differ", "export the model again"
    mean, std = [], []
    for c in range(prep.channels):
        a, b = (kind.channels_last(x)[..., c].reshape(-1).astype(np.float64) for x in (mine, stored))
        if np.ptp(a) == 0:
            return None
        slope, shift = np.polyfit(a, b, 1)
        if slope <= 0 or np.abs(slope * a + shift - b).max() > 0.02 * np.ptp(b):
            return None
        # stored = slope·(p − m)/s + shift, p the scaled pixel: its own mean is m − shift·s/slope, its std s/slope.
        mean.append(prep.mean[c] - shift * prep.std[c] / slope)
        std.append(prep.std[c] / slope)
    other = replace(prep, mean=tuple(round(v, 4) for v in mean), std=tuple(round(v, 4) for v in std))
    fields = [name for name in ("mean", "std") if not np.allclose(getattr(prep, name), getattr(other, name), rtol=0.01)]
    cause = f"probable cause: the preprocessing ({', '.join(fields) or 'mean, std'}), by the stored inputs"
    return cause, _toml(other, fields or ["mean", "std"])


def _others(context: CheckContext, prep: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    """Yield other preprocessings, of the model's other sources and common ones, each with its name."""
    model, word = context.model, context.model.kind_word
    for name, changed in (
        ("what the model's other sources state", Model(model.graph, model.engine, model.path, kind_word=word)),
        ("what the model's metadata states", Model(model.graph, model.engine, kind_word=word)),
    ):
        try:
            other = changed.preprocessing
        except OnnxLrpError:
            continue
        if _differing(prep, other) and other.size == prep.size:
            yield name, other
    variants = [("it", prep)]
    for key, preset in PRESETS.items():
        mean, std = (per_channel(preset[field], prep.channels) for field in ("mean", "std"))
        color = preset.get("color", prep.color) if prep.channels > 1 else prep.color
        variants.append((f'prep = "{key}"', replace(prep, scale=preset["scale"], color=color, mean=mean, std=std)))
    for name, other in variants:
        yield name, other
        if prep.channels > 1:
            flipped = {"RGB": "BGR", "BGR": "RGB"}[other.color]
            swapped = replace(other, color=flipped, mean=other.mean[::-1], std=other.std[::-1])
            yield f"{name} with {flipped}", swapped
    for resize in RESIZES:
        yield f"resize by {resize}", replace(prep, resize=resize)
    for interpolation in INTERPOLATIONS:
        yield f"{interpolation} interpolation", replace(prep, interpolation=interpolation)


def _differing(a: Preprocessing, b: Preprocessing) -> list[str]:
    return [name for name in _FIELDS if getattr(a, name) != getattr(b, name)]


def _toml(prep: Preprocessing, fields: list[str]) -> str:
    def shown(value: Any) -> str:
        if isinstance(value, str):
            return f'"{value}"'
        return f"[{', '.join(f'{v:.6g}' for v in value)}]" if isinstance(value, tuple) else f"{value:.6g}"

    return f"prep = {{ {', '.join(f'{name} = {shown(getattr(prep, name))}' for name in fields)} }}"
