"""The graph as a source: the range of pixel values by its input type and its arithmetic on the input."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import InputError
from ..fields import Source
from .statement import SourceContext, Statement

NAME = "graph"


def pixels(context: SourceContext) -> Iterator[Statement]:
    """State the range: a uint8 input takes pixels as they are, one that the graph normalises takes 0..255 or 0..1."""
    high = 255.0 if context.dtype == "uint8" else context.high
    if high is not None:
        fields = {"scale": high / 255, "mean": (0.0,), "std": (1.0,)}
        yield Statement(Source(NAME, InputError, foreign=True), fields)
