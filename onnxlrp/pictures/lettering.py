"""Text in pictures, in Pillow's own font."""

from __future__ import annotations

import bisect
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont


@cache
def font(size: int) -> FreeTypeFont | ImageFont:
    """Return Pillow's own font."""
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def fitted(text: str, font: FreeTypeFont | ImageFont, width: int) -> str:
    """Replace letters that Pillow's own font lacks, and cut text to a width in pixels."""
    for letter, plain in {"ΣR": "sum R", "−": "-", "→": ">", "ß": "ss", "ε": "eps", "γ": "gamma", "α": "alpha"}.items():
        text = text.replace(letter, plain)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = "".join(c if " " <= c <= "~" or c in "·±" else "?" for c in text)
    if font.getlength(text) <= width:
        return text
    kept = bisect.bisect_right(range(1, len(text)), width, key=lambda n: int(font.getlength(text[:n] + "...")))
    return text[:kept] + "..."


def number(v: float) -> str:
    """Format a number in at most three digits, without an exponent where that is as short."""
    return f"{v:.0f}" if 99.95 <= v < 1e6 else f"{v:.2g}" if v < 1e-3 or v >= 1e6 else f"{v:.3g}"
