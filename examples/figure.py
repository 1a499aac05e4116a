"""Drawing for the examples: charts, titled pictures, and sheets of them, by numpy and Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from onnxlrp.pictures import heatmap
from onnxlrp.pictures.style import Style

INK, FAINT, RULE, BAND, PAPER = (34, 34, 34), (110, 110, 110), (228, 228, 228), (243, 246, 250), (255, 255, 255)
BLUE, RED, GREY = (33, 102, 172), (201, 62, 50), (150, 150, 150)
GAP = 24
_FINE = 3  # Pillow's lines are not antialiased: charts are drawn three times as large and averaged down

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Line:
    """Values y over x, as a line or as dots; lines without a label are not in the legend."""

    x: ArrayLike
    y: ArrayLike
    color: Color
    label: str = ""
    dots: bool = False
    width: float = 2.0


def chart(
    title: str,
    lines: Sequence[Line],
    across: str = "",
    size: tuple[int, int] = (400, 300),
    span: tuple[float, float] | None = None,
    names: Sequence[str] = (),
    bands: Sequence[float] = (),
) -> Image.Image:
    """Draw lines over a common axis.

    Args:
        title: The title.
        lines: The lines.
        across: The label of the x axis.
        size: (width, height) in pixels.
        span: The range of y; None for that of the lines.
        names: Labels of x = 0, 1, …; none for numbers.
        bands: Positions on the x axis; every second interval between them is shaded.
    """
    width, height = size[0] * _FINE, size[1] * _FINE
    top = 58 * _FINE if any(line.label for line in lines) else 36 * _FINE
    left, right, bottom = 38 * _FINE, width - 20 * _FINE, height - 44 * _FINE
    xs, ys = (np.concatenate([np.ravel(getattr(line, axis)) for line in lines]).astype(float) for axis in "xy")
    x_low, x_high = float(xs.min()), float(xs.max())
    low, high = span or (float(ys.min()) - 0.05 * float(np.ptp(ys)), float(ys.max()) + 0.05 * float(np.ptp(ys)))
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)

    def place(x: ArrayLike, y: ArrayLike) -> list[tuple[float, float]]:
        across = left + (np.ravel(x) - x_low) / (x_high - x_low) * (right - left)
        return list(zip(across, bottom - (np.ravel(y) - low) / (high - low) * (bottom - top), strict=True))

    for start, stop in list(pairwise(bands))[::2]:
        (x0, _), (x1, _) = place([start, stop], [low, low])
        draw.rectangle([x0, top, x1, bottom], fill=BAND)
    for tick in _ticks(low, high):
        ((_, y),) = place(x_low, tick)
        draw.line([left, y, right, y], fill=RULE, width=_FINE)
        draw.text((left - 7 * _FINE, y), f"{tick:g}", fill=FAINT, font=_font(12), anchor="rm")
    for tick in range(len(names)) if names else _ticks(x_low, x_high):
        ((x, _),) = place(tick, low)
        label = names[int(tick)] if names else f"{tick:g}"
        draw.text((x, bottom + 17 * _FINE), label, fill=FAINT, font=_font(12), anchor="ms")
    draw.text(((left + right) / 2, height - 6 * _FINE), across, fill=FAINT, font=_font(12), anchor="ms")
    for line in lines:
        points = place(line.x, line.y)
        if not line.dots:
            draw.line(points, fill=line.color, width=round(line.width * _FINE), joint="curve")
        for x, y in points if line.dots else ():
            radius = line.width / 2 * _FINE
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=line.color)
    draw.text((0, 16 * _FINE), title, fill=INK, font=_font(15), anchor="ls")
    at = 0.0
    for line in (line for line in lines if line.label):
        draw.line([at, 36 * _FINE, at + 16 * _FINE, 36 * _FINE], fill=line.color, width=4 * _FINE)
        draw.text((at + 22 * _FINE, 36 * _FINE), line.label, fill=INK, font=_font(13), anchor="lm")
        at += 40 * _FINE + _font(13).getlength(line.label)
    return image.resize(size, Image.Resampling.BOX)


def picture(title: str, pixels: Image.Image, width: int, height: int = 0) -> Image.Image:
    """Enlarge a picture pixel by pixel to a width (and a height, where not in proportion), with a title above."""
    shown = pixels.convert("RGB")
    shown = shown.resize((width, height or shown.height * width // shown.width), Image.Resampling.NEAREST)
    image = Image.new("RGB", (width, shown.height + 24), PAPER)
    image.paste(shown, (0, 24))
    ImageDraw.Draw(image).text((0, 16), title, fill=INK, font=ImageFont.load_default(size=14), anchor="ls")
    return image


def heat(relevance: NDArray[Any], clip: float = 99.5) -> Image.Image:
    """Draw relevance [H, W], or [C, H, W] summed over channels: red is evidence for the class, blue against it."""
    return heatmap.panel(relevance.sum(axis=tuple(range(relevance.ndim - 2))), style=Style(clip=clip))


def sheet(title: str, note: str, rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Compose rows of pictures below a title and a note."""
    wide = max(sum(p.width for p in row) + GAP * (len(row) - 1) for row in rows) + 2 * GAP
    heights = [max(p.height for p in row) for row in rows]
    image = Image.new("RGB", (wide, 84 + sum(heights) + GAP * len(rows)), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((GAP, 18), title, fill=INK, font=ImageFont.load_default(size=22))
    draw.text((GAP, 50), note, fill=FAINT, font=ImageFont.load_default(size=14))
    y = 84
    for row, height in zip(rows, heights, strict=True):
        x = GAP
        for piece in row:
            image.paste(piece, (x, y))
            x += piece.width + GAP
        y += height + GAP
    return image


def _font(size: int) -> Any:
    return ImageFont.load_default(size=size * _FINE)


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers between two."""
    power = 10.0 ** np.floor(np.log10((high - low) / 3))
    step = max(s * power for s in (1, 2, 5) if (high - low) / (s * power) >= 3)
    first, last = np.ceil(low / step - 0.01), np.floor(high / step + 0.01)
    return [round(float(n * step), 10) + 0.0 for n in np.arange(first, last + 1)]
