"""Heatmaps over the grey image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .colors import Array, Colors, as_map, colorize, limit
from .figure import figure, scale
from .marks import Mark, mark
from .style import DEFAULT, Style

if TYPE_CHECKING:
    from PIL.Image import Image

BLEND = DEFAULT.blend
_PANEL = 448  # small inputs are enlarged to about this many pixels
_LARGEST_PANEL = 1024


def render(
    relevance: npt.ArrayLike,
    image: Image | None = None,
    style: Style = DEFAULT,
    overlay: bool = True,
    marks: Sequence[Mark] = (),
) -> Image:
    """Draw the figure of a heatmap: the picture on the left, the heatmap over its grey version on the right.

    Small inputs are enlarged pixel by pixel.

    Args:
        relevance: The heatmap [H, W].
        image: The picture, None for the heatmap alone.
        style: Colours, title and caption.
        overlay: Lay the heatmap over the grey picture.
        marks: Rectangles on the picture; strong ones on the heatmap too.

    Raises:
        CheckFailed: The heatmap holds NaN or infinity.
        UsageError: There is no such colour map or percentile.
    """
    values = as_map(relevance)
    v = limit(values, style.clip)
    panels = [] if image is None else [_sized(_on_grid(image, values))]
    panels.append(_sized(panel(values, image if overlay else None, style)))
    if marks:
        strong = [one for one in marks if one.strong]
        shown = [marks, strong] if image is not None else [strong]
        panels = [mark(one, some, values.shape) for one, some in zip(panels, shown, strict=True)]
    return figure(panels, scale(values, style.cmap, v), style)


def panel(
    relevance: npt.ArrayLike,
    image: Image | None = None,
    style: Style = DEFAULT,
    v: float | None = None,
) -> Image:
    """Draw the heatmap [H, W] alone, a pixel for each value, over the grey picture if any; raises as `render`.

    `v` is the limit of the colours where several panels share it.
    """
    from PIL import Image as pillow

    values = as_map(relevance)
    v = limit(values, style.clip) if v is None else v
    colors = colorize(values, style.cmap, v=v)
    if image is not None:
        grey = np.asarray(_on_grid(image, values).convert("L"))
        colors = _blend(colors, grey, np.abs(values), v, style.blend)
    return pillow.fromarray(colors)


def _on_grid(image: Image, values: Array) -> Image:
    """Resize the picture to a pixel for each value."""
    from PIL import Image as pillow

    picture = image.convert("RGB")
    same = picture.size == values.shape[::-1]
    return picture if same else picture.resize(values.shape[::-1], pillow.Resampling.BILINEAR)


def check_blend(blend: float) -> float:
    """Return an opacity that is one. Raises UsageError."""
    if not 0 <= blend <= 1:
        raise UsageError(f"--blend {blend:g}: no opacity", "give a number from 0, the picture alone, to 1")
    return blend


def _blend(colors: Colors, grey: Colors, size: Array, v: float, most: float) -> Colors:
    """Blend colours over a pale grey picture, with opacity growing with |R|."""
    opacity = np.clip(size / v, 0, 1)[:, :, np.newaxis] ** 0.5 * most if v else 0.0
    pale = (0.62 * grey.astype(np.float64) + 84)[:, :, np.newaxis]
    return np.rint(opacity * colors + (1 - opacity) * pale).astype(np.uint8)


def _sized(picture: Image) -> Image:
    """Enlarge by a whole factor, pixel by pixel, to about the panel's size; shrink huge pictures."""
    from PIL import Image as pillow

    longest = max(picture.size)
    factor = max(1, round(_PANEL / longest))
    if factor > 1:
        return picture.resize((picture.width * factor, picture.height * factor), pillow.Resampling.NEAREST)
    if longest > _LARGEST_PANEL:
        size = [max(1, round(side * _LARGEST_PANEL / longest)) for side in picture.size]
        return picture.resize((size[0], size[1]), pillow.Resampling.BOX)
    return picture
