"""The graph: what its type and its own arithmetic on the input say of pixel values."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import InputError
from ..fields import Source
from .statement import SourceContext, Statement

NAME = "graph"


def pixels(place: SourceContext) -> Iterator[Statement]:
    """An input of uint8 takes pixels as they are; one that the graph normalises itself takes 0..255 or 0..1."""
    high = 255.0 if place.dtype == "uint8" else place.high
    if high is not None:
        pieces = {"scale": high / 255, "mean": (0.0,), "std": (1.0,)}
        yield Statement(Source(NAME, InputError, foreign=True), pieces)
