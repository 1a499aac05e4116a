"""Relevance of tokens: their text, each on a background of its colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .colors import colorize, is_dark
from .figure import INK, LIGHT_INK, PAPER, of_texts
from .lettering import fitted, font
from .style import DEFAULT, Style

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH, _LINE, _PAD, _GAP = 800, 36, 7, 4
_MOST = 2000


def words(
    relevance: npt.ArrayLike,
    tokens: Sequence[str],
    style: Style = DEFAULT,
) -> Image:
    """Draw tokens in lines, each on a background coloured by its relevance.

    Args:
        relevance: The relevance [L].
        tokens: The words, or numbers in the place of words, [L].
        style: Colours, title and caption.

    Raises:
        CheckFailed: The relevance is not finite.
        UsageError: There is no such colour map or percentile.
    """
    return of_texts(panel, relevance, tokens, style)


def panel(values: npt.ArrayLike, tokens: Sequence[str], v: float, cmap: str = "RdBu_r") -> Image:
    """Draw tokens in lines, on backgrounds whose colours span -v..v.

    Args:
        values: A number for each [L].
        tokens: The words, or numbers in the place of words, [L].
        v: The limit of the colours.
        cmap: The colour map.

    Raises:
        UsageError: There is no such colour map.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    r = np.asarray(values, dtype=np.float64).ravel()
    text = font(18)
    shown = [fitted(token, text, _WIDTH - 2 * _PAD) or " " for token in tokens[:_MOST]]
    shown += [f"... {len(tokens) - _MOST} more"] * (len(tokens) > _MOST)
    colors = colorize(np.append(r[:_MOST], np.zeros(len(shown) - len(r[:_MOST])))[np.newaxis], cmap, v=v)[0]
    places, x, y = [], 0, 0
    for word in shown:
        width = int(text.getlength(word)) + 2 * _PAD
        if x and x + width > _WIDTH:
            x, y = 0, y + _LINE
        places.append((x, y, width))
        x += width + _GAP
    drawn = pillow.new("RGB", (_WIDTH, y + _LINE), PAPER)
    draw = ImageDraw.Draw(drawn)
    for word, color, (left, top, width) in zip(shown, colors, places, strict=True):
        ink = LIGHT_INK if is_dark(color) else INK
        box = [left, top + 2, left + width, top + _LINE - 4]
        draw.rounded_rectangle(box, radius=5, fill=tuple(int(c) for c in color))
        place = (left + _PAD, top + _LINE // 2 - 1)
        draw.text(place, word, font=text, fill=ink, anchor="lm")
    return drawn
