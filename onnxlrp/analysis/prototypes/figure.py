"""The captioned figure of prototypes: pictures, traces of signals, bars of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...pictures.style import Style
from ..drawing import drawing
from .evidence import TRANSFORMATIONS, text_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from .result import Result


def draw(found: Result) -> Image:
    """Draw all pictures of a result, with what is known of the first; of the style maco also as cutouts on white.

    Raises:
        UnsupportedError: The input is a volume.
    """
    style = Style(title=f"prototype of {found.name}, {found.about['style']}", caption=describe(found))
    pictures = list(found.pictures)
    if found.about["style"] == "maco" and found.domain.kind.is_image:
        pictures += [1 - alpha * (1 - z) for z, alpha in zip(pictures, found.opacity, strict=True)]
    return drawing(found.domain, pictures, style)


def describe(found: Result) -> str:
    """Return what is known of the first picture in a line."""
    facts = found.evidence
    words = [text_of(facts)]
    if "transformed" in facts:
        moved = facts["transformed"]
        share = f"own class in {moved['own class'][0]:.0%} of" if "own class" in moved else "under"
        words.append(f"{share} {TRANSFORMATIONS} moves (score {moved['score'][0]:.4g})")
    return "; ".join(words)
