"""Rectangles with names on a panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .lettering import fitted, font

if TYPE_CHECKING:
    from PIL.Image import Image

_STRONG, _WEAK, _EDGE, _PAPER = (20, 20, 20), (110, 110, 110), (255, 255, 255), (255, 255, 255)


class Mark(NamedTuple):
    """A rectangle.

    Attributes:
        corners: y0, x0, y1, x1 in values of the heatmap.
        label: Its name, "" for none.
        strong: It is drawn in a thick line, on every panel; others on the picture alone.
    """

    corners: tuple[float, float, float, float]
    label: str = ""
    strong: bool = False


def mark(panel: Image, marks: Sequence[Mark], size: tuple[int, int]) -> Image:
    """Return a panel with rectangles.

    Args:
        panel: The panel.
        marks: The rectangles, the last in front.
        size: Height and width of the heatmap in values.
    """
    from PIL import ImageDraw

    made = panel.copy()
    draw, letters = ImageDraw.Draw(made), font(14)
    down, across = made.height / size[0], made.width / size[1]
    for one in marks:
        y0, x0, y1, x1 = (v * f for v, f in zip(one.corners, (down, across, down, across), strict=True))
        left, right = (min(max(v, 0), made.width - 1) for v in (x0, x1))
        top, bottom = (min(max(v, 0), made.height - 1) for v in (y0, y1))
        if right <= left or bottom <= top:
            continue
        outline, width = (_STRONG, 2) if one.strong else (_WEAK, 1)
        # A pale line beside the dark one, so that it is seen on every ground.
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_EDGE, width=1)
        draw.rectangle((left, top, right, bottom), outline=outline, width=width)
        if min(right - left, bottom - top) > 4 * width:
            draw.rectangle((left + width, top + width, right - width, bottom - width), outline=_EDGE)
        if one.label:
            text = fitted(one.label, letters, max(40, made.width - 8))
            wide = int(letters.getlength(text)) + 6
            x, y = min(left, made.width - wide - 1), top - 19 if top >= 19 else min(bottom + 2, made.height - 19)
            draw.rectangle((x, y, x + wide, y + 17), fill=_STRONG)
            draw.text((x + 3, y), text, font=letters, fill=_PAPER)
    return made
