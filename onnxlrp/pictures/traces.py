"""Relevance of signals: the trace of each channel over a background coloured by its relevance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .colors import Array, colorize, limit
from .figure import INK, PAPER, figure, scale
from .lettering import fitted, font
from .style import DEFAULT, Style

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH, _HEIGHT, _GAP = 896, 640, 4


def traces(
    relevance: npt.ArrayLike,
    signal: npt.ArrayLike,
    names: Sequence[str] | None = None,
    style: Style = DEFAULT,
) -> Image:
    """Draw the trace of each channel, the background coloured by relevance.

    Args:
        relevance: The relevance [C, L]; where there are more positions than pixels, a pixel shows their mean.
        signal: The signal [C, L]; each channel fills its own panel.
        names: The names of the channels; their numbers where there are none.
        style: Colours, title and caption.

    Raises:
        CheckFailed: The relevance is not finite.
        UsageError: There is no such colour map or percentile.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    r, x = (np.atleast_2d(np.asarray(a, dtype=np.float64)) for a in (relevance, signal))
    limit(r, style.clip)
    r = _at_pixels(r) if r.shape[1] > _WIDTH else r
    v = limit(r, style.clip)
    text = font(14)
    labels = [fitted(names[n] if names else f"{n}", text, 120) for n in range(len(r))]
    left = 0 if len(r) == 1 and not names else max(int(text.getlength(label)) for label in labels) + 12
    height = min(max(_HEIGHT // len(r), 28), 168)
    panel = pillow.new("RGB", (left + _WIDTH, len(r) * (height + _GAP) - _GAP), (255, 255, 255))
    draw = ImageDraw.Draw(panel)
    for n, label in enumerate(labels):
        top = n * (height + _GAP)
        colors = colorize(r[n : n + 1], style.cmap, v=v)
        strip = pillow.fromarray(colors).resize((_WIDTH, height), pillow.Resampling.NEAREST)
        panel.paste(strip, (left, top))
        if left:
            draw.text((left - 8, top + height // 2), label, font=text, fill=INK, anchor="rm")
        points = [(left + a, top + b) for a, b in _points(x[n], height)]
        for fill, width in ((PAPER, 3), (INK, 1)):  # a light edge, so that it is seen on dark colours
            draw.line(points if len(points) > 1 else points * 2, fill=fill, width=width)
    return figure([panel], scale(r, style.cmap, v), style)


def _at_pixels(relevance: Array) -> Array:
    """The mean over each pixel of values [C, L] along L, values at a pixel's border in their share."""
    length = relevance.shape[1]
    edges = np.linspace(0, length, _WIDTH + 1)
    before = np.pad(np.cumsum(relevance, axis=1), ((0, 0), (1, 0)))
    at_edges = np.stack([np.interp(edges, np.arange(length + 1), row) for row in before])
    return np.asarray(np.diff(at_edges, axis=1) * _WIDTH / length)


def _points(signal: Array, height: int) -> list[tuple[int, int]]:
    """The points of a trace; of a long one the least and the greatest value at each pixel."""
    low, high = float(signal.min()), float(signal.max())
    y = np.full(signal.size, (height - 1) // 2)
    if high > low:
        y = np.rint(3 + (height - 7) * (1 - (signal - low) / (high - low))).astype(int)
    if signal.size <= 2 * _WIDTH:
        x = np.rint((np.arange(signal.size) + 0.5) * _WIDTH / signal.size).astype(int)
        return list(zip(x.tolist(), y.tolist(), strict=True))
    starts = np.arange(_WIDTH) * signal.size // _WIDTH
    ends = zip(np.minimum.reduceat(y, starts).tolist(), np.maximum.reduceat(y, starts).tolist(), strict=True)
    return [(x, b) for x, pair in enumerate(ends) for b in (pair if x % 2 else pair[::-1])]
