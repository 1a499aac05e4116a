"""Two pictures with lines between their parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from .colors import Array, colorize
from .figure import figure
from .style import Style

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE, _GAP, _WIDEST = 384, 96, 5.0


class Line(NamedTuple):
    """A line between two points, each as shares of height and width of its picture.

    Attributes:
        start: y, x in the first picture.
        end: y, x in the second.
        value: Its strength, positive or negative.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    value: float


def lines(pictures: tuple[Image, Image], found: Sequence[Line], style: Style) -> Image:
    """Draw two pictures in grey, side by side, with lines between them.

    Colour, width and opacity of a line grow with its strength.

    Args:
        pictures: The pictures.
        found: The lines; the strongest are in front.
        style: Colour map, title and caption.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    grey = [_pale(picture) for picture in pictures]
    width, height = sum(one.width for one in grey) + _GAP, max(one.height for one in grey)
    sheet = pillow.new("RGBA", (width, height), (255, 255, 255, 255))
    left = (0, grey[0].width + _GAP)
    for one, x in zip(grey, left, strict=True):
        sheet.paste(one, (x, 0))
    most = max((abs(line.value) for line in found), default=0.0) or 1.0
    for line in sorted(found, key=lambda one: abs(one.value)):
        share = abs(line.value) / most
        (red, green, blue), opacity = _colour(line.value, most, style.cmap), int(40 + 215 * share)
        layer = pillow.new("RGBA", sheet.size, (0, 0, 0, 0))
        ends = [
            (x + at * one.width, down * one.height)
            for (down, at), one, x in zip((line.start, line.end), grey, left, strict=True)
        ]
        ImageDraw.Draw(layer).line(ends, fill=(red, green, blue, opacity), width=max(1, round(_WIDEST * share)))
        sheet = pillow.alpha_composite(sheet, layer)
    return figure([sheet.convert("RGB")], None, style)


def _pale(picture: Image) -> Image:
    from PIL import Image as pillow

    scale = _SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    grey = picture.convert("L").resize(size, pillow.Resampling.BICUBIC if scale < 1 else pillow.Resampling.NEAREST)
    return grey.point(lambda v: int(0.62 * v + 84)).convert("RGBA")


def _colour(value: float, most: float, cmap: str) -> tuple[int, int, int]:
    import numpy as np

    # Half of the map's middle is pale: a line takes the colour of a stronger value.
    shown: Array = np.array([[np.sign(value) * (0.5 + 0.5 * abs(value) / most)]])
    red, green, blue = colorize(shown, cmap, v=1.0)[0, 0]
    return int(red), int(green), int(blue)
