"""Numbers as colours, by tables centred at zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CheckFailed, UnsupportedError, UsageError, did_you_mean

Array = npt.NDArray[Any]
Colors = npt.NDArray[np.uint8]

# Colours at equal steps from the lowest value to the highest. RdBu is ColorBrewer's (Cynthia Brewer, 11 classes).
_RDBU = "67001f b2182b d6604d f4a582 fddbc7 f7f7f7 d1e5f0 92c5de 4393c3 2166ac 053061"
_DIVERGING: Mapping[str, str] = {
    "RdBu_r": " ".join(reversed(_RDBU.split())),
    "RdBu": _RDBU,
    "bwr": "0000ff ffffff ff0000",
    "france": "0055a4 ffffff ef4135",
    "seismic": "0000d0 d0d0d0 d00000",
    "coolio": "00d0d0 d0d0d0 d000d0",
    "coleus": "00d000 d0d0d0 d000d0",
    "coldnhot": "00ffff 0080ff 0000ff 000080 000000 800000 ff0000 ffff00 ffffff",
}
_SEQUENTIAL: Mapping[str, str] = {
    "gray": "000000 ffffff",
    "wred": "ffffff ff0000",
    "wblue": "ffffff 0000ff",
    "hot": "000000 ff0000 ffff00 ffffff",
    "cold": "000000 0000ff 00ffff",
}
CMAPS = (*_DIVERGING, *_SEQUENTIAL)
_DARK = 140.0  # of 255: on a background that is darker, letters are white


@cache
def colormap(name: str) -> Colors:
    """Return the RGB colours [257, 3] of a colour map, `RdBu_r` or a name of zennit; zero at 128. Raises UsageError."""
    name = {"grey": "gray"}.get(name, name)
    points = _DIVERGING.get(name) or _SEQUENTIAL.get(name)
    if points is None:
        raise UsageError(f'no colour map "{name}"', did_you_mean(name, CMAPS))
    colors = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in points.split()], dtype=np.float64)
    at = np.linspace(0, len(colors) - 1, 257)
    table = np.stack([np.interp(at, np.arange(len(colors)), channel) for channel in colors.T], axis=1)
    rounded: Colors = np.rint(table).astype(np.uint8)
    return rounded


def as_map(relevance: npt.ArrayLike) -> Array:
    """A map [H, W] in float64. Raises UnsupportedError for another shape."""
    values = np.asarray(relevance, dtype=np.float64)
    if values.ndim != 2:
        raise UnsupportedError(
            f"relevance of shape {values.shape} is no picture", "write the numbers instead: --format npz"
        )
    return values


def limit(relevance: npt.ArrayLike, clip: float = 99.5) -> float:
    """Return the limit v >= 0 of the colours, which span -v..v: a percentile of |R|, or the maximum where that is 0.

    Args:
        relevance: The heatmap.
        clip: The percentile, above 0 and up to 100.

    Raises:
        CheckFailed: The heatmap holds NaN or infinity.
        UsageError: The percentile is out of range.
    """
    if not 0 < clip <= 100:
        raise UsageError(f"--clip {clip:g} is not a percentile", "give a number above 0, up to 100, such as 99.5")
    size = np.abs(np.asarray(relevance, dtype=np.float64))
    bad = int(np.count_nonzero(~np.isfinite(size)))
    if bad:
        raise CheckFailed(
            f"{bad} of {size.size} relevances are NaN or infinite and cannot be drawn",
            "explain with --engine reference (float64), or with another method or a larger epsilon",
        )
    return float(_percentile(size.reshape(-1), clip) or size.max()) if size.size else 0.0


def _percentile(values: Array, share: float) -> float:
    """Compute a percentile; numpy.percentile first imports masked arrays, a tenth of the time of a small picture."""
    at = share / 100 * (values.size - 1)
    low, high = int(np.floor(at)), int(np.ceil(at))
    a, b = np.partition(values, (low, high))[[low, high]]
    return float(a + (b - a) * (at - low))


def colorize(relevance: npt.ArrayLike, cmap: str = "RdBu_r", clip: float = 99.5, v: float | None = None) -> Colors:
    """Map relevance [H, W] to RGB [H, W, 3], zero at the middle; a sequential map of R >= 0 spans 0..v instead."""
    values = np.asarray(relevance, dtype=np.float64)
    v = limit(values, clip) if v is None else v
    unit = values / v if v else values
    if not one_sided(values, cmap):
        unit = (unit + 1) / 2
    colors: Colors = colormap(cmap)[np.rint(np.clip(unit, 0, 1) * 256).astype(np.intp)]
    return colors


def is_dark(color: Sequence[int] | Colors) -> bool:
    """Return whether letters on a colour are to be white.

    Args:
        color: Red, green and blue, 0-255.
    """
    return bool(0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < _DARK)


def one_sided(values: Array, cmap: str) -> bool:
    """Return whether the colours span 0..v: of a sequential map, where all values are >= 0."""
    return cmap not in _DIVERGING and bool((values >= 0).all())
