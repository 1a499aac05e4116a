"""The captioned figure of inversions: each sample beside the picture that has its representation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...pictures.sheets import stack
from ...pictures.style import Style
from ..drawing import drawing

if TYPE_CHECKING:
    from PIL.Image import Image

    from .result import Result


def draw(found: Result) -> Image:
    """Draw samples and inversions, with the errors of each.

    Raises:
        UnsupportedError: The input is a volume.
    """
    by = ", by a decoder" if found.about["method"] == "decoder" else ""
    title, drawn = f"inverted from {found.layer.label}{by}", []
    for n, name in enumerate(found.names):
        caption = (
            f"error in the layer {found.errors[n]:.2g}, in pixels {found.picture_errors[n]:.2g} "
            f"(mean picture {found.mean_errors[n]:.2g})"
        )
        pair = (found.originals[n], found.pictures[n])
        drawn.append(drawing(found.domain, pair, Style(title=title, caption=caption), (name, title)))
    return stack(drawn)
