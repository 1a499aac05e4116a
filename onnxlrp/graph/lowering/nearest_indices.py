"""Indices of nearest-neighbour Resize where onnxruntime is not installed: its formulas, in its precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph import Array

_HALF = np.float32(1e-6)  # within which a coordinate lies halfway between two neighbours
_OUTSIDE = -1  # what `nearest` takes for the extrapolation value


def indices(
    attributes: Mapping[str, Any],
    length: int,
    made: int,
    scale: float,
    roi: tuple[float, float] = (0.0, 1.0),
) -> Array:
    """Return the index of the input that each output along one axis is taken from.

    The coordinate of output i in the input, half_pixel for example: (i + 1/2) / scale - 1/2; all in float32, as
    onnxruntime computes it, which decides which neighbour is taken. (Of half_pixel_symmetric with floor or ceil, a
    coordinate that is a whole number may fall to the other side.)

    Args:
        attributes: Of the Resize.
        length: The length of the input.
        made: The length of the output.
        scale: The factor.
        roi: Start and end of the part that tf_crop_and_resize takes.

    Returns:
        int64 [length of the output], -1 for what lies outside under tf_crop_and_resize.
    """
    mode = attributes.get("coordinate_transformation_mode", "half_pixel")
    at = _coordinates(mode, made, length, np.float32(scale), roi)
    picked = np.clip(_rounded(at, attributes.get("nearest_mode", "round_prefer_floor")), 0, length - 1)
    if mode == "tf_crop_and_resize":
        return np.where((at < 0) | (at > length - 1), _OUTSIDE, picked)
    return picked


def _coordinates(mode: str, made: int, length: int, scale: np.float32, roi: tuple[float, float]) -> Array:
    i, half, last = np.arange(made, dtype=np.float32), np.float32(0.5), np.float32(length - 1)
    start, end = map(np.float32, roi)
    if mode == "asymmetric":
        return i / scale
    if mode == "tf_half_pixel_for_nn":
        return (i + half) / scale
    if mode == "align_corners":
        return i * last / np.float32(made - 1) if made > 1 else i * 0
    if mode == "tf_crop_and_resize":
        if made > 1:
            return start * last + i * (end - start) * last / np.float32(made - 1)
        return i * 0 + half * (start + end) * last
    centred = (i + half) / scale - half
    if mode == "pytorch_half_pixel":
        return centred if made > 1 else i * 0
    if mode == "half_pixel_symmetric":
        adjustment = np.float32(made) / (scale * np.float32(length))
        return np.float32(length) / 2 * (1 - adjustment) + centred
    return centred


def _rounded(at: Array, mode: str) -> Array:
    low = np.floor(at)
    rest = at - low
    if mode == "floor":
        found = low
    elif mode == "ceil":
        found = np.ceil(at)
    elif mode == "round_prefer_ceil":
        found = low + (rest > 0.5 - _HALF)
    else:
        found = low + (rest > 0.5 + _HALF)
    return found.astype(np.int64)
