"""Figures: panels with a scale, a title and a caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .colors import Array, Colors, colormap, limit, one_sided
from .lettering import fitted, font, number
from .style import Style

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

INK, FAINT, PAPER = (34, 34, 34), (120, 120, 120), (255, 255, 255)
LIGHT_INK = (255, 255, 255)  # on dark backgrounds

Scale = tuple[Colors, list[str]]


def figure(panels: Sequence[Image], scale: Scale | None, style: Style, stacked: bool = False) -> Image:
    """Compose a figure: panels, the color scale to their right, the title above, the caption below.

    Args:
        panels: The panels.
        scale: Colours and ticks of the scale; None where the panels write their numbers.
        style: Title and caption.
        stacked: Put panels one below the other, not side by side.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    big, small = font(19), font(14)
    margin, gap, bar = 20, 14, 14
    table, ticks = scale or (None, [])
    across = max(p.width for p in panels) if stacked else sum(p.width for p in panels) + gap * (len(panels) - 1)
    down = sum(p.height for p in panels) + gap * (len(panels) - 1) if stacked else max(p.height for p in panels)
    down = max(down, 96)
    top = margin + (32 if style.title else 0)
    beside = 0 if table is None else gap + bar + 8 + max(int(small.getlength(tick)) for tick in ticks)
    width = margin + across + beside + margin
    height = top + down + (28 if style.caption else 0) + margin
    sheet = pillow.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if style.title:
        draw.text((margin, margin - 4), fitted(style.title, big, width - 2 * margin), font=big, fill=INK)
    x, y = margin, top
    for panel in panels:
        sheet.paste(panel, (x, y))
        x, y = (x, y + panel.height + gap) if stacked else (x + panel.width + gap, y)
    if table is not None:
        left = margin + across + gap
        sheet.paste(pillow.fromarray(table[:, np.newaxis]).resize((bar, down), pillow.Resampling.BILINEAR), (left, top))
        draw.rectangle([left - 1, top - 1, left + bar, top + down], outline=(200, 200, 200))
        _ticks(draw, ticks, (left + bar + 8, top, down), small)
    if style.caption:
        draw.text((margin, top + down + 12), fitted(style.caption, small, width - 2 * margin), font=small, fill=FAINT)
    return sheet


def of_texts(
    panel: Callable[[Array, Sequence[str], float, str], Image],
    relevance: npt.ArrayLike,
    texts: Sequence[str],
    style: Style,
) -> Image:
    """Compose a figure of words or letters on backgrounds of their relevance, with its scale.

    Args:
        panel: Draws texts on backgrounds whose colours span -v..v; it takes relevance, texts, v and a colour map.
        relevance: The relevance [L].
        texts: The words or letters [L].
        style: Colours, title and caption.

    Raises:
        CheckFailed: The relevance is not finite.
        UsageError: There is no such colour map or percentile.
    """
    r = np.asarray(relevance, dtype=np.float64).ravel()
    v = limit(r, style.clip)
    return figure([panel(r, texts, v, style.cmap)], scale(r, style.cmap, v), style)


def heading(text: str) -> Image:
    """Return a line of text as a panel of a stacked figure."""
    from PIL import Image as pillow
    from PIL import ImageDraw

    small = font(15)
    shown = fitted(text, small, 1000)
    panel = pillow.new("RGB", (int(small.getlength(shown)) + 2, 20), PAPER)
    ImageDraw.Draw(panel).text((0, 15), shown, font=small, fill=INK, anchor="ls")
    return panel


def scale(values: Array, cmap: str, v: float) -> Scale:
    """Return the colours of the scale from top to bottom, and its ticks at the top, the middle and the bottom."""
    table = colormap(cmap)[::-1]
    if one_sided(values, cmap):
        return table, [number(v), "0"]
    return table, [f"+{number(v)}", "0", f"-{number(v)}"] if v else ["", "0", ""]


def _ticks(draw: ImageDraw, ticks: Sequence[str], place: tuple[int, int, int], font: FreeTypeFont | ImageFont) -> None:
    x, top, down = place
    for i, tick in enumerate(ticks):
        y = top + (down - 1) * i / (len(ticks) - 1)
        draw.line([x - 7, round(y), x - 4, round(y)], fill=FAINT)
        offset = {0: 4.0, len(ticks) - 1: 14.0}.get(i, 9.0)
        draw.text((x, y - offset), tick, font=font, fill=INK)
