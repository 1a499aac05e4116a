"""The captioned figure of prototypes: pictures, traces of signals, bars of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import UnsupportedError
from ..pictures.bars import strip
from ..pictures.figure import figure
from ..pictures.sheets import stack
from ..pictures.style import Style
from ..pictures.traces import traces
from .evidence import TRANSFORMATIONS, text_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from .optimize import Array
    from .prototype_result import Result

_LEAST = 224  # pixels a side of a picture in the figure
_MOST = 12  # channels that are drawn one by one


def draw(found: Result) -> Image:
    """Draw all pictures of a result, with what is known of the first.

    Raises:
        UnsupportedError: The input is a volume.
    """
    where = found.domain
    style = Style(title=f"prototype of {found.name}, {found.about['style']}", caption=describe(found))
    if where.kind.name == "volume":
        raise UnsupportedError("a volume has no figure", "write the numbers: -o NAME.npz")
    if where.kind.is_image and len(where.space) == 2:
        return figure([panel for z in found.pictures for panel in _panels(found, z)], None, style)
    low, high = where.low, where.high
    drawn = []
    for z in found.pictures:
        values = (low + z * (high - low)).reshape(len(z), -1)
        if where.kind.name == "signal":
            drawn.append(traces(np.zeros_like(values), values, style=style))
        else:
            drawn.append(strip(values.ravel(), style=style))
    return stack(drawn)


def describe(found: Result) -> str:
    """Return what is known of the first picture in a line."""
    facts = found.evidence
    words = [text_of(facts)]
    if "transformed" in facts:
        moved = facts["transformed"]
        share = f"own class in {moved['own class'][0]:.0%} of" if "own class" in moved else "under"
        words.append(f"{share} {TRANSFORMATIONS} transformations: {text_of(moved)}")
    return "; ".join(words)


def _panels(found: Result, z: Array) -> list[Image]:
    """The picture, enlarged by whole numbers; of many bands, each in grey."""
    from PIL import Image as pillow

    if found.domain.preprocessing is not None:
        pictures = [found.domain.picture(z)]
    else:
        levels = np.rint(np.clip(z, 0, 1) * 255).astype(np.uint8)
        if len(levels) == 3:
            pictures = [pillow.fromarray(np.moveaxis(levels, 0, -1))]
        else:
            pictures = [pillow.fromarray(level) for level in levels[:_MOST]]
    made = []
    for picture in pictures:
        factor = max(1, -(-_LEAST // max(picture.size)))
        made.append(picture.convert("RGB").resize((picture.width * factor, picture.height * factor), 0))
    return made
