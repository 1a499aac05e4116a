"""In which form relevance is drawn, by the kind of input, and which options of a drawing have an effect there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..inputs import InputKind
from ..pictures import heatmap

Form = Literal["map", "bars", "traces", "slices", "words", "strip"]

MOST_TRACES = 32  # channels of a signal; more are drawn as the rows of a map

_DRAWN = {
    "bars": "as a bar for each feature",
    "traces": "as the background of its traces",
    "slices": "as slices",
    "words": "as the background of its tokens",
    "strip": "as a bar for each position",
}


def form_of(kind: InputKind, has_values: bool = True) -> Form:
    """Return the form that relevance is drawn in.

    Args:
        kind: The kind of the input.
        has_values: The samples themselves are known, which traces and words show.
    """
    if kind.is_image:
        return "map"
    if kind.name == "vector":
        return "bars"
    if kind.name == "volume":
        return "slices"
    if has_values and kind.name == "tokens":
        return "words"
    if has_values and kind.name == "signal" and kind.channels <= MOST_TRACES:
        return "traces"
    return "map" if kind.has_rows else "strip"


def without_effect(
    kind: InputKind,
    pictures: bool,
    *,
    smooth: str = "0",
    blend: float = heatmap.BLEND,
    space: str = "input",
    grid: bool = False,
) -> Iterator[tuple[str, str]]:
    """Yield each option of a drawing that was asked for and changes nothing, such as "--smooth 2", and why.

    Args:
        kind: The kind of the input.
        pictures: The samples are pictures.
        smooth: How heatmaps are smoothed, as `Explanation.figure` takes it, "0" for not.
        blend: Opacity over the picture.
        space: "input" or "original".
        grid: One picture of all methods is drawn.
    """
    form = form_of(kind)
    drawn = f"relevance is drawn {_DRAWN[form]} here" if form != "map" else ""
    if smooth != "0" and drawn:
        yield f"--smooth {smooth}", f"{drawn}, and only maps are smoothed"
    if blend != heatmap.BLEND and not pictures and form != "slices":
        yield f"--blend {blend:g}", drawn or "an array has no picture below its heatmap"
    if space != "input" and (grid or not pictures):
        other = "a grid shows what the model sees" if pictures else "an array was no picture of another size before"
        yield f"--space {space}", drawn or other
