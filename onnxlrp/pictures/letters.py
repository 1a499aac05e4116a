"""Characters in lines, each on a background of its colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .colors import colorize, is_dark
from .figure import INK, LIGHT_INK, PAPER, of_texts
from .lettering import font
from .style import DEFAULT, Style

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = 88  # characters in a line, behind which it goes on in the next
_SIZE, _ACROSS, _DOWN = 15, 10, 22
_MOST = 8000


def is_letters(symbols: Sequence[str]) -> bool:
    """Return whether symbols are single characters, so that they stand in lines of letters, not of words."""
    return bool(symbols) and max(map(len, symbols)) == 1


def letters(relevance: npt.ArrayLike, symbols: Sequence[str], style: Style = DEFAULT) -> Image:
    """Draw characters in lines, each on a background coloured by its relevance.

    Args:
        relevance: The relevance [L].
        symbols: The characters [L]; a line end is the last of its line.
        style: Colours, title and caption.

    Raises:
        CheckFailed: The relevance is not finite.
        UsageError: There is no such colour map or percentile.
    """
    return of_texts(panel, relevance, symbols, style)


def panel(values: npt.ArrayLike, symbols: Sequence[str], v: float, cmap: str = "RdBu_r") -> Image:
    """Draw characters in lines, on backgrounds whose colours span -v..v.

    Args:
        values: A number for each [L].
        symbols: The characters [L]; a line end is the last of its line.
        v: The limit of the colours.
        cmap: The colour map.

    Raises:
        UsageError: There is no such colour map.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    left_out = len(symbols) - _MOST
    r, symbols = np.asarray(values, dtype=np.float64).ravel()[:_MOST], symbols[:_MOST]
    places = lines(symbols, COLUMNS)
    rows = 1 + max((y for _, y in places), default=0) + (left_out > 0)
    across = 1 + max((x for x, _ in places), default=0)
    drawn = pillow.new("RGB", (max(across, 24) * _ACROSS, rows * _DOWN), PAPER)
    draw, text = ImageDraw.Draw(drawn), font(_SIZE)
    colors = colorize(r[np.newaxis], cmap, v=v)[0] if len(r) else np.zeros((0, 3), np.uint8)
    for symbol, color, (x, y) in zip(symbols, colors, places, strict=True):
        left, top = x * _ACROSS, y * _DOWN
        draw.rectangle([left, top + 1, left + _ACROSS - 1, top + _DOWN - 2], fill=tuple(int(c) for c in color))
        ink = LIGHT_INK if is_dark(color) else INK
        if symbol == "\n":
            _line_end(draw, left, top, ink)
        elif symbol != " ":
            shown = symbol if symbol.isprintable() else "?"
            place = (left + _ACROSS / 2, top + _DOWN - 7)
            draw.text(place, shown, font=text, fill=ink, anchor="ms")
    if left_out > 0:
        draw.text((0, rows * _DOWN - 7), f"... {left_out} more", font=text, fill=INK, anchor="ls")
    return drawn


def lines(symbols: Sequence[str], columns: int) -> list[tuple[int, int]]:
    """Return the column and the line of each character.

    Args:
        symbols: The characters; a line end is the last of its line.
        columns: The most in a line.
    """
    found, x, y = [], 0, 0
    for symbol in symbols:
        if x == columns and symbol != "\n":
            x, y = 0, y + 1
        found.append((x, y))
        x, y = (0, y + 1) if symbol == "\n" else (x + 1, y)
    return found


def _line_end(draw: object, left: int, top: int, ink: tuple[int, int, int]) -> None:
    """Draw the arrow of a return key."""
    right, middle = left + _ACROSS - 2, top + _DOWN // 2 + 1
    for start, end in (((right, middle - 4), (right, middle)), ((right, middle), (left + 1, middle))):
        draw.line([start, end], fill=ink)  # type: ignore[attr-defined]
    draw.polygon([(left, middle), (left + 3, middle - 3), (left + 3, middle + 3)], fill=ink)  # type: ignore[attr-defined]
