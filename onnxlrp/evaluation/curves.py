"""Curves of an evaluation as pictures: a line for each method with its interval, drawn by Pillow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import files
from .results import Evaluation, Line

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

# Okabe and Ito's colours, distinguishable with every kind of colour vision; repeated with dotted lines.
COLORS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0), (90, 90, 90))
_INK, _FAINT, _PAPER = (34, 34, 34), (215, 215, 215), (255, 255, 255)
_SCALE = 2  # drawn twice as large and averaged down: Pillow's lines are not antialiased
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 400, 64, 44, 48


def save(evaluation: Evaluation, pattern: str | Path) -> list[Path]:
    """Write NAME.METRIC.png for each curve of each metric.

    Args:
        evaluation: The evaluation.
        pattern: The path NAME; its suffix is dropped.

    Returns:
        The files.

    Raises:
        InputError: A file cannot be written.
    """
    stem, written = Path(pattern).with_suffix(""), []
    for name, lines in curves(evaluation).items():
        buffer = io.BytesIO()
        draw(name, lines).save(buffer, "PNG")
        written.append(files.replace(stem.with_name(f"{stem.name}.{name}.png"), buffer.getvalue()))
    return written


def curves(evaluation: Evaluation) -> dict[str, dict[str, Line]]:
    """Return the lines of each method, by the name of the curve: METRIC, or METRIC.CURVE where it has several."""
    found: dict[str, dict[str, Line]] = {}
    for cell in evaluation.cells:
        for name, line in cell.curves.items():
            found.setdefault(".".join(filter(None, (cell.metric, name))), {}).setdefault(cell.method, line)
    return found


def draw(title: str, lines: Mapping[str, Line]) -> Image:
    """Draw the lines of methods, by name, over one axis."""
    from PIL import Image as pillow
    from PIL import ImageDraw

    first = next(iter(lines.values()))
    bottom = _BOTTOM + (24 * len(first.ticks) if first.ticks else 0)
    right = 24 + 8 * max(map(len, lines)) + 24
    box = (_LEFT, _TOP, _LEFT + _WIDTH, _TOP + _HEIGHT)
    size = (box[2] + right, box[3] + bottom)
    picture = pillow.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), _PAPER)
    spans = ranges(list(lines.values()))
    _axes(ImageDraw.Draw(picture), box, spans, first, title)
    for n, line in enumerate(lines.values()):
        band = pillow.new("L", picture.size, 0)
        edge = [*_points(line.x, line.high, box, spans), *reversed(_points(line.x, line.low, box, spans))]
        ImageDraw.Draw(band).polygon(edge, fill=45)
        picture.paste(pillow.new("RGB", picture.size, COLORS[n % len(COLORS)]), mask=band)
    pen = ImageDraw.Draw(picture)
    for n, (name, line) in enumerate(lines.items()):
        color, every = COLORS[n % len(COLORS)], 1 if n < len(COLORS) else 2
        for a, b in list(pairwise(_points(line.x, line.mean, box, spans)))[::every]:
            pen.line([a, b], fill=color, width=2 * _SCALE)
        y = box[1] + 10 + 20 * n
        for x in range(box[2] + 8, box[2] + 22, 7 * every):
            pen.rectangle(_scaled((x, y - 3), (x + 6, y + 3)), fill=color)
        pen.text(_scaled((box[2] + 27, y - 8))[0], name, font=_font(13), fill=_INK)
    return picture.resize(size, pillow.Resampling.BOX)


Span = tuple[float, float]
Box = tuple[int, int, int, int]
Point = tuple[float, float]


def _axes(pen: ImageDraw, box: Box, spans: tuple[Span, Span], line: Line, title: str) -> None:
    left, top, right, bottom = box
    pen.text(_scaled((left, 12))[0], f"{title}: {line.across}", font=_font(16), fill=_INK)
    for value in round_numbers(*spans[1]):
        ((_, y),) = _points([spans[0][0]], [value], box, spans)
        pen.line([(left * _SCALE, y), (right * _SCALE, y)], fill=_FAINT, width=_SCALE)
        pen.text((8 * _SCALE, y - 8 * _SCALE), f"{value:.4g}", font=_font(13), fill=_INK)
    for n, value in enumerate(line.x if line.ticks else round_numbers(*spans[0])):
        ((x, _),) = _points([value], [spans[1][0]], box, spans)
        pen.line([(x, bottom * _SCALE), (x, (bottom + 5) * _SCALE)], fill=_INK, width=_SCALE)
        tick = str(n + 1) if line.ticks else f"{value:.4g}"
        pen.text((x - 4 * _SCALE * len(tick), (bottom + 7) * _SCALE), tick, font=_font(13), fill=_INK)
    pen.text(_scaled((left, bottom + 25))[0], line.along, font=_font(13), fill=_INK)
    for n, tick in enumerate(line.ticks):
        pen.text(_scaled((left, bottom + 48 + 22 * n))[0], f"{n + 1}  {tick}", font=_font(13), fill=_INK)
    pen.line(_scaled((left, top), (left, bottom), (right, bottom)), fill=_INK, width=_SCALE)


def ranges(lines: Sequence[Line]) -> tuple[Span, Span]:
    """Return the ranges of x and of y, with a margin around y."""
    xs = [x for line in lines for x in line.x]
    ys = [y for line in lines for y in (*line.low, *line.high)]
    low, high = min(ys), max(ys)
    room = 0.04 * (high - low) or 0.5
    return (min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1), (low - room, high + room)


def _points(xs: Sequence[float], ys: Sequence[float], box: Box, spans: tuple[Span, Span]) -> list[Point]:
    left, top, right, bottom = box
    (x0, x1), (y0, y1) = spans
    at = [
        (left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - top))
        for x, y in zip(xs, ys, strict=True)
    ]
    return _scaled(*at)


def round_numbers(low: float, high: float) -> list[float]:
    """Return about five round numbers between two."""
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough)
    return [float(n * step) for n in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _scaled(*points: Point) -> list[Point]:
    return [(x * _SCALE, y * _SCALE) for x, y in points]


def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont as fonts

    return fonts.load_default(size=size * _SCALE)
