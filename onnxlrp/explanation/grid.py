"""A sheet of one sample's heatmaps by several methods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..pictures import heatmap, lettering, sheets
from ..pictures.smoothing import Smoothing
from ..pictures.style import Style
from .explanation import Explanation

if TYPE_CHECKING:
    from PIL.Image import Image

_TILE, _GAP, _LABEL, _MARGIN = 224, 12, 22, 20


def draw(
    explanations: Sequence[Explanation],
    target: int = 0,
    cmap: str = "RdBu_r",
    clip: float = 99.5,
    columns: int = 0,
    smooth: str | float = 0,
    blend: float = heatmap.BLEND,
) -> Image:
    """Draw the picture and the heatmap of each explanation of one sample, each under its method's name.

    What is no image is drawn in the whole figure of each method, such as the bars of a table. Each heatmap has its own
    color scale, because methods have different units.

    Args:
        explanations: Explanations of one sample.
        target: The number of the target, where there are several.
        cmap: The colour map.
        clip: The percentile of |R| that the colours reach to.
        columns: Columns of the sheet; 0 for about square.
        smooth: How heatmaps are smoothed, as `Explanation.figure` takes it; the title says so.
        blend: Opacity of the strongest relevance over the grey picture.

    Raises:
        UsageError: There are no explanations, or some are of several samples.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    if not explanations or any(len(one) != 1 for one in explanations):
        raise UsageError("a grid needs explanations of one sample each", "slice them: explanation[0]")
    first, smoothing, style = explanations[0], Smoothing.parse(smooth), Style(cmap, clip, blend=blend)
    if not first.kind.is_image:
        return _sheet([one.figure(0, target, cmap=cmap, clip=clip, smooth=smooth, blend=blend) for one in explanations],
                      columns)  # fmt: skip
    title = " · ".join(filter(None, (first.title(0, target), smoothing.describe())))
    tiles = [(name, _tile(one, target, style, smoothing)) for one in explanations for name in [one.method]]
    if first.images and first.images[0] is not None:
        tiles.insert(0, ("", _fitted(first.images[0].convert("RGB"))))
    columns = columns or min(len(tiles), max(4 if len(tiles) == 4 else 3, math.ceil(math.sqrt(len(tiles) * 1.6))))
    rows = -(-len(tiles) // columns)
    label, small = lettering.font(15), lettering.font(13)
    width = 2 * _MARGIN + columns * _TILE + (columns - 1) * _GAP
    height = 2 * _MARGIN + 30 + rows * (_TILE + _LABEL + _GAP)
    sheet = pillow.new("RGB", (width, height), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN - 6), lettering.fitted(title, label, width - 2 * _MARGIN), font=label,
             fill=(34, 34, 34))  # fmt: skip
    for n, (name, tile) in enumerate(tiles):
        x = _MARGIN + n % columns * (_TILE + _GAP)
        y = _MARGIN + 30 + n // columns * (_TILE + _LABEL + _GAP)
        sheet.paste(tile, (x + (_TILE - tile.width) // 2, y + _LABEL + (_TILE - tile.height) // 2))
        pen.text((x, y), lettering.fitted(name, small, _TILE), font=small, fill=(34, 34, 34))
    return sheet


def path(pattern: str, one: Explanation, target: int) -> Path:
    """Return the file of a sample's grid: the pattern with "grid" for the method."""
    from dataclasses import replace

    named = replace(one, provenance={**one.provenance, "method": "grid"})
    return named.paths(pattern, "png")[target]


def _tile(one: Explanation, target: int, style: Style, smoothing: Smoothing) -> Image:
    values = one.relevance[target, 0] if one.target.ndim == 2 else one.relevance[0]
    drawn = one.kind.to_drawing(values)
    assert drawn is not None  # of an image
    image = one.images[0] if one.images else None
    return _fitted(heatmap.panel(smoothing(drawn), image, style))


def _sheet(figures: Sequence[Image], columns: int) -> Image:
    """Put figures in rows; 0 columns for the most square sheet."""
    across, down = max(one.width for one in figures), max(one.height for one in figures)

    def sides(n: int) -> int:
        return abs(n * across - -(-len(figures) // n) * down)

    columns = columns or min(range(1, len(figures) + 1), key=sides)
    return sheets.stack([sheets.beside(figures[n : n + columns]) for n in range(0, len(figures), columns)])


def _fitted(picture: Image) -> Image:
    from PIL import Image as pillow

    share = _TILE / max(picture.size)
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    return picture.resize(size, pillow.Resampling.NEAREST if share >= 1 else pillow.Resampling.BOX)
