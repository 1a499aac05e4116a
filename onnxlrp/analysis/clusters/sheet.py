"""The sheet of clusters: a row for each, its mean map and the pictures nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...pictures import heatmap, lettering
from ...pictures.colors import limit
from ...pictures.figure import FAINT, INK, PAPER
from ...pictures.style import DEFAULT
from .graph import Array

if TYPE_CHECKING:
    from PIL.Image import Image

_TILE, _GAP, _MARGIN, _LINE = 150, 10, 20, 24


@dataclass(frozen=True, eq=False)
class Example:
    """A sample near the middle of its cluster.

    Attributes:
        sample: Its number.
        name: Its name.
        picture: What the model saw, None where that is no picture.
        heat: Its heatmap [H, W] or [L], None where it cannot be drawn.
    """

    sample: int
    name: str
    picture: Image | None
    heat: Array | None


@dataclass(frozen=True, eq=False)
class Row:
    """A cluster as it is drawn.

    Attributes:
        caption: The line above it.
        mean: The mean of its maps [rows, columns].
        examples: The samples nearest to the mean.
    """

    caption: str
    mean: Array
    examples: Sequence[Example]


def draw(rows: Sequence[Row], title: str, footer: str) -> Image:
    """Draw a row for each cluster: the mean of its maps, then the pictures nearest to it under their heatmaps.

    Args:
        rows: The clusters.
        title: The title of the sheet.
        footer: The line below them.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    across = 1 + max(5, *(len(row.examples) for row in rows))
    width = 2 * _MARGIN + across * (_TILE + _GAP) - _GAP
    height = 2 * _MARGIN + 34 + len(rows) * (2 * _TILE + _LINE + 2 * _GAP) + 24
    sheet = pillow.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    big, small = lettering.font(19), lettering.font(14)

    def write(x: int, y: int, text: str, faint: bool = False) -> None:
        cut = lettering.fitted(text, small, width - x - _MARGIN)
        pen.text((x, y), cut, font=small, fill=FAINT if faint else INK)

    pen.text((_MARGIN, _MARGIN - 4), lettering.fitted(title, big, width - 2 * _MARGIN), font=big, fill=INK)
    y = _MARGIN + 34
    for row in rows:
        write(_MARGIN, y, row.caption)
        y += _LINE
        mean = heatmap.panel(row.mean, v=limit(row.mean, 100.0))
        sheet.paste(_tile(mean, sharp=True), (_MARGIN, y))
        write(_MARGIN, y + _TILE + 6, "mean map", faint=True)
        for column, example in enumerate(row.examples, 1):
            x = _MARGIN + column * (_TILE + _GAP)
            for down, picture in enumerate(_pictures(example)):
                sheet.paste(_tile(picture), (x, y + down * (_TILE + 4)))
        y += 2 * _TILE + 2 * _GAP
    write(_MARGIN, y, footer, faint=True)
    return sheet


def _pictures(example: Example) -> list[Image]:
    if example.heat is None:
        return []
    heat = np.atleast_2d(example.heat)
    drawn = heatmap.panel(heat, example.picture, DEFAULT)
    return [drawn] if example.picture is None else [example.picture.convert("RGB"), drawn]


def _tile(picture: Image, sharp: bool = False) -> Image:
    from PIL import Image as pillow

    way = pillow.Resampling.NEAREST if sharp or picture.width <= _TILE // 2 else pillow.Resampling.BICUBIC
    return picture.resize((_TILE, _TILE), way)
