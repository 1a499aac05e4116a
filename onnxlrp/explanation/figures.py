"""The figure of one sample's heatmap, with its title and caption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnsupportedError, UsageError
from ..pictures import bars, heatmap
from ..pictures.smoothing import Smoothing
from .result import Result, assumed

if TYPE_CHECKING:
    from PIL.Image import Image

SPACES = ("input", "original")


def figure(result: Result, sample: int, target: int, *, cmap: str, clip: float, space: str, overlay: bool,
           smooth: str | float = 0, blend: float = heatmap.BLEND) -> Image:  # fmt: skip
    """Draw the heatmap of one sample, as `Explanation.figure` does."""
    if space not in SPACES:
        raise UsageError(f'no space "{space}"', "give input or original")
    smoothing, blend = Smoothing.parse(smooth), heatmap.check_blend(blend)
    several = result.target.ndim == 2
    values = result.relevance[target, sample] if several else result.relevance[sample]
    image = result.images[sample] if result.images else None
    title = " · ".join(filter(None, (result.title(sample, target), result.method)))
    prep = result.preprocessing
    drawn = result.kind.to_drawing(values)
    if drawn is None:
        raise UnsupportedError(
            f"relevance of shape {values.shape}, of a {result.kind.name}, has no picture",
            "save the numbers instead: --format npz",
        )
    if drawn.ndim == 1:
        return bars.strip(drawn, cmap, clip, title, _caption(result, sample, target))
    original = result.originals[sample] if result.originals and space == "original" else None
    if original is not None and prep is not None:
        image, drawn = original, prep.map_to_original(drawn, (original.height, original.width))
    caption = " · ".join(filter(None, (_caption(result, sample, target), smoothing.describe())))
    return heatmap.render(smoothing(drawn), image, cmap, clip, overlay, title, caption, blend)


def to_matplotlib(picture: Image) -> Any:
    """Wrap a picture in a matplotlib Figure. Raises UsageError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("plot() draws with matplotlib, which is not installed", "pip install matplotlib") from None
    drawn = Figure(figsize=(picture.width / 100, picture.height / 100), dpi=100)
    axes = drawn.add_axes((0, 0, 1, 1))
    axes.imshow(np.asarray(picture))
    axes.set_axis_off()
    return drawn


def _caption(result: Result, sample: int, target: int) -> str:
    logit, total = (np.atleast_2d(np.asarray(a))[target, sample] for a in (result.logit, result.total))
    words = [f"ΣR {total:.4g} of {'value' if result.is_value else 'logit'} {logit:.4g}"]
    if assumed(result):
        words.append("preprocessing ASSUMED: " + ", ".join(assumed(result)))
    if result.preprocessing and result.preprocessing.labels_assumed:
        words.append("class names assumed")
    return " · ".join(words)
