"""Pictures of a domain in figures: as they are, traces of signals, bars of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UnsupportedError
from ..pictures.bars import strip
from ..pictures.figure import figure
from ..pictures.sheets import stack
from ..pictures.style import Style
from ..pictures.traces import traces

if TYPE_CHECKING:
    from PIL.Image import Image

    from .ascent.domain import Domain
    from .ascent.optimize import Array

_LEAST = 224  # pixels a side of a picture in the figure
_MOST = 12  # channels that are drawn one by one


def drawing(where: Domain, pictures: Sequence[Array], style: Style, titles: Sequence[str] = ()) -> Image:
    """Draw pictures z [C, *space] of a domain: side by side, or one below the other where they are no images.

    Args:
        where: The domain.
        pictures: The pictures.
        style: Title and caption.
        titles: A title for each, in the place of the style's, where they are no images.

    Raises:
        UnsupportedError: The input is a volume.
    """
    if where.kind.name == "volume":
        raise UnsupportedError("a volume has no figure", "write the numbers: -o NAME.npz")
    if where.kind.is_image and len(where.space) == 2:
        return figure([panel for z in pictures for panel in panels(where, z)], None, style)
    drawn = []
    for n, z in enumerate(pictures):
        values = (where.low + z * (where.high - where.low)).reshape(len(z), -1)
        look = style._replace(title=titles[n]) if titles else style
        if where.kind.name == "signal":
            drawn.append(traces(np.zeros_like(values), values, style=look))
        else:
            drawn.append(strip(values.ravel(), style=look))
    return stack(drawn)


def panels(where: Domain, z: Array) -> list[Image]:
    """Return the picture, enlarged by whole numbers; of many bands, each in grey."""
    from PIL import Image as pillow

    if where.preprocessing is not None:
        pictures = [where.picture(z)]
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
