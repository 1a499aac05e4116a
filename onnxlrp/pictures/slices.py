"""Relevance of volumes: slices along the first axis of space, the strongest marked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .colors import Array, limit
from .figure import FAINT, INK, figure, scale
from .heatmap import panel
from .lettering import font
from .style import DEFAULT, Style

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN, _TILE, _LABEL, _GAP = 9, 208, 24, 12
_MARK = (217, 119, 6)


def slices(
    relevance: npt.ArrayLike,
    volume: npt.ArrayLike | None = None,
    style: Style = DEFAULT,
) -> Image:
    """Draw slices of a volume, the one of the largest Σ|R| in a frame; all have one scale of colours.

    Args:
        relevance: The relevance [D, H, W].
        volume: The volume [D, H, W], drawn in grey below.
        style: Colours, title and caption.

    Raises:
        CheckFailed: The relevance is not finite.
        UsageError: There is no such colour map or percentile.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    r = np.asarray(relevance, dtype=np.float64)
    v = limit(r, style.clip)
    grey = None if volume is None else _grey(np.asarray(volume, dtype=np.float64))
    strongest = int(np.abs(r).sum(axis=(1, 2)).argmax())
    shown = chosen(len(r), strongest)
    columns = min(len(shown), math.ceil(math.sqrt(len(shown))))
    rows = -(-len(shown) // columns)
    factor = _TILE / max(r.shape[1:])
    size = (max(1, round(r.shape[2] * factor)), max(1, round(r.shape[1] * factor)))
    across, down = size[0] + _GAP, size[1] + _LABEL + _GAP
    sheet = pillow.new("RGB", (columns * across, rows * down), (255, 255, 255))
    draw, text = ImageDraw.Draw(sheet), font(14)
    resampling = pillow.Resampling.NEAREST if factor >= 1 else pillow.Resampling.BOX
    for place, n in enumerate(shown):
        x, y = place % columns * across + 3, place // columns * down
        below = None if grey is None else pillow.fromarray(grey[n])
        sheet.paste(panel(r[n], below, style, v).resize(size, resampling), (x, y + _LABEL))
        is_strongest = n == strongest
        label = f"slice {n}" + " - strongest" * is_strongest
        draw.text((x, y + 3), label, font=text, fill=INK if is_strongest else FAINT)
        if is_strongest:
            box = [x - 3, y + _LABEL - 3, x + size[0] + 2, y + _LABEL + size[1] + 2]
            draw.rectangle(box, outline=_MARK, width=3)
    return figure([sheet], scale(r, style.cmap, v), style)


def chosen(depth: int, strongest: int) -> list[int]:
    """Return the slices that are drawn: evenly spaced, the nearest of them moved to the strongest."""
    even = np.unique(np.rint(np.linspace(0, depth - 1, min(depth, _SHOWN))).astype(int))
    even[np.abs(even - strongest).argmin()] = strongest
    return sorted({int(n) for n in even})


def _grey(volume: Array) -> Array:
    low, high = float(volume.min()), float(volume.max())
    return np.rint(255 * (volume - low) / ((high - low) or 1.0)).astype(np.uint8)
