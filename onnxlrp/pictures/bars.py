"""Heatmaps of one-dimensional inputs: a bar for each position."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import UnsupportedError
from .colors import Array, colorize, limit
from .figure import FAINT, INK, figure, scale
from .style import DEFAULT, Style

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH, _HEIGHT, _TRACE = 896, 224, 112


def strip(
    relevance: npt.ArrayLike,
    style: Style = DEFAULT,
    signal: npt.ArrayLike | None = None,
) -> Image:
    """Draw the figure of a one-dimensional heatmap: a bar for each position.

    Args:
        relevance: The heatmap [L]; positions beyond the width of the figure are summed into bins.
        style: Colours, title and caption.
        signal: The signal [L], drawn above.

    Raises:
        UnsupportedError: The heatmap is not one-dimensional.
        CheckFailed: It is not finite.
        UsageError: There is no such colour map or percentile.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    values = np.asarray(relevance, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise UnsupportedError(
            f"relevance of shape {values.shape} is not a signal", "save the numbers instead: --format npz"
        )
    width, height = _WIDTH, _HEIGHT
    limit(values, style.clip)
    if values.size > width:
        values = np.add.reduceat(values, np.arange(width) * values.size // width)
    v = limit(values, style.clip)
    colors = colorize(values[np.newaxis], style.cmap, v=v)[0]
    panel = pillow.new("RGB", (width, height), (246, 246, 246))
    draw = ImageDraw.Draw(panel)
    low = 0.0 if values.min() >= 0 else -1.0
    edges = np.rint(np.linspace(0, width, values.size + 1)).astype(int)
    zero = round((height - 1) / (1 - low))
    for i, size in enumerate(np.clip(values / v, -1, 1) if v else values):
        y = zero - round(float(size) * (height - 1) / (1 - low))
        right = max(edges[i], edges[i + 1] - (2 if edges[i + 1] - edges[i] > 4 else 1))
        draw.rectangle([int(edges[i]), min(y, zero), int(right), max(y, zero)], fill=tuple(map(int, colors[i])))
    draw.line([0, zero, width, zero], fill=FAINT)
    panels = [panel] if signal is None else [_trace(np.asarray(signal, dtype=np.float64).ravel(), width), panel]
    return figure(panels, scale(values, style.cmap, v), style, stacked=True)


def _trace(signal: Array, width: int) -> Image:
    """Draw a signal as a line whose range fills the panel."""
    from PIL import Image as pillow
    from PIL import ImageDraw

    panel = pillow.new("RGB", (width, _TRACE), (246, 246, 246))
    low, high = float(signal.min()), float(signal.max())
    y = np.rint((_TRACE - 9) * (1 - (signal - low) / ((high - low) or 1))).astype(int) + 4
    x = np.rint((np.arange(signal.size) + 0.5) * width / signal.size).astype(int)
    points = [(int(a), int(b)) for a, b in zip(x, y, strict=True)]
    ImageDraw.Draw(panel).line(points if len(points) > 1 else points * 2, fill=INK)
    return panel
