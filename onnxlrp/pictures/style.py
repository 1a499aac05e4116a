"""The look of a figure: what every function that draws one takes."""

from __future__ import annotations

from typing import NamedTuple


class Style(NamedTuple):
    """The look of a figure.

    Attributes:
        cmap: The colour map.
        clip: The percentile of |R| that the colours reach to.
        title: The title, "" for none.
        caption: The caption, "" for none.
        blend: Opacity of the strongest relevance over a grey picture, 0 to 1.
    """

    cmap: str = "RdBu_r"
    clip: float = 99.5
    title: str = ""
    caption: str = ""
    blend: float = 0.92


DEFAULT = Style()
