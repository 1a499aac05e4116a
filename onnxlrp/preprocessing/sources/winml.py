"""WinML: the `Image.*` keys of ONNX's MetadataProps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .statement import SourceContext, Statement, foreign

_COLORS = {"gray8": "grey", "rgb8": "RGB", "bgr8": "BGR", "rgba8": "RGB", "bgra8": "BGR"}
_RANGES: Mapping[str, Mapping[str, Any]] = {
    "nominalrange_0_255": {"scale": 1.0, "mean": 0.0, "std": 1.0},
    "normalized_0_1": {"scale": 1 / 255, "mean": 0.0, "std": 1.0},
    "normalized_1_1": {"scale": 1 / 255, "mean": 0.5, "std": 0.5},
    "nominalrange_16_235": {"scale": 219 / 255, "mean": -16.0, "std": 1.0},
}
_KEYS = ("Image.BitmapPixelFormat", "Image.NominalPixelRange", "Image.ColorSpaceGamma")


def image_keys(context: SourceContext) -> Iterator[Statement]:
    """Read the colour from `Image.BitmapPixelFormat`, and what 0 and 255 become from `Image.NominalPixelRange`.

    Windows cuts the centre with the input's aspect and scales that to the input: the whole shorter side is seen.
    """
    pixels, values, gamma = (context.metadata.get(key, "").strip() for key in _KEYS)
    if not (pixels or values or gamma):
        return
    raw: dict[str, Any] = {"resize": "shorter-crop", "crop": 1.0}
    notes = []
    if pixels.lower() in _COLORS:
        raw["color"] = _COLORS[pixels.lower()]
    elif pixels:
        notes.append(f"{_KEYS[0]} {pixels[:40]!r} is not known: not used")
    if values.lower() in _RANGES:
        raw |= _RANGES[values.lower()]
    elif values:
        notes.append(f"{_KEYS[1]} {values[:40]!r} is not known: not used")
    if gamma and gamma.lower() != "srgb":
        notes.append(f"{_KEYS[2]} {gamma[:40]!r} is not done here: pixels stay sRGB")
    yield foreign("WinML metadata", raw, tuple(notes))
