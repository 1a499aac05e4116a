"""Several figures on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .figure import PAPER

if TYPE_CHECKING:
    from PIL.Image import Image


def stack(figures: Sequence[Image]) -> Image:
    """Put figures one below the other."""
    from PIL import Image as pillow

    sheet = pillow.new("RGB", (max(f.width for f in figures), sum(f.height for f in figures)), PAPER)
    y = 0
    for figure in figures:
        sheet.paste(figure, (0, y))
        y += figure.height
    return sheet


def beside(figures: Sequence[Image]) -> Image:
    """Put figures side by side."""
    from PIL import Image as pillow

    sheet = pillow.new("RGB", (sum(f.width for f in figures), max(f.height for f in figures)), PAPER)
    x = 0
    for figure in figures:
        sheet.paste(figure, (x, 0))
        x += figure.width
    return sheet
