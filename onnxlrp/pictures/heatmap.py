"""Heatmaps as pictures: own colour tables, zero-centred, over the grey image, with a scale. Pillow only."""

from __future__ import annotations

import bisect
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onnxlrp.errors import CheckFailed, UnsupportedError, UsageError, did_you_mean

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

Array = npt.NDArray[Any]
Colors = npt.NDArray[np.uint8]

# Colours at equal steps from the lowest value to the highest. RdBu is ColorBrewer's (Cynthia Brewer, 11 classes).
_RDBU = "67001f b2182b d6604d f4a582 fddbc7 f7f7f7 d1e5f0 92c5de 4393c3 2166ac 053061"
_DIVERGING: Mapping[str, str] = {
    "RdBu_r": " ".join(reversed(_RDBU.split())),
    "RdBu": _RDBU,
    "bwr": "0000ff ffffff ff0000",
    "france": "0055a4 ffffff ef4135",
    "seismic": "0000d0 d0d0d0 d00000",
    "coolio": "00d0d0 d0d0d0 d000d0",
    "coleus": "00d000 d0d0d0 d000d0",
    "coldnhot": "00ffff 0080ff 0000ff 000080 000000 800000 ff0000 ffff00 ffffff",
}
_SEQUENTIAL: Mapping[str, str] = {
    "gray": "000000 ffffff",
    "wred": "ffffff ff0000",
    "wblue": "ffffff 0000ff",
    "hot": "000000 ff0000 ffff00 ffffff",
    "cold": "000000 0000ff 00ffff",
}
CMAPS = (*_DIVERGING, *_SEQUENTIAL)

_PANEL = 448  # small inputs are enlarged to about this many pixels
_LARGEST_PANEL = 1024
_INK, _FAINT, _PAPER = (34, 34, 34), (120, 120, 120), (255, 255, 255)


@cache
def colormap(name: str) -> Colors:
    """The RGB colours [257, 3] of a colour map, zero at 128: `RdBu_r`, or one of zennit's names. Raises UsageError."""
    name = {"grey": "gray"}.get(name, name)
    points = _DIVERGING.get(name) or _SEQUENTIAL.get(name)
    if points is None:
        raise UsageError(f'no colour map "{name}"', did_you_mean(name, CMAPS))
    colors = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in points.split()], dtype=np.float64)
    at = np.linspace(0, len(colors) - 1, 257)
    table = np.stack([np.interp(at, np.arange(len(colors)), channel) for channel in colors.T], axis=1)
    rounded: Colors = np.rint(table).astype(np.uint8)
    return rounded


def sum_channels(relevance: npt.ArrayLike, layout: str | None = None) -> Array:
    """R[H, W], the sum over the channels of [C, H, W] (`NCHW`) or [H, W, C] (`NHWC`).

    Without a layout the axis of 1 or 3 is taken for the channels, the first where both or neither are.
    Raises UnsupportedError for what is no picture.
    """
    values = np.asarray(relevance)
    if values.ndim == 2:
        return values.astype(np.float64)
    if values.ndim != 3:
        raise UnsupportedError(
            f"relevance of shape {values.shape} is no picture", "write the numbers instead: --format npz"
        )
    last = layout == "NHWC" if layout else values.shape[0] not in (1, 3) and values.shape[2] in (1, 3)
    summed: Array = values.sum(axis=2 if last else 0, dtype=np.float64)
    return summed


def limit(relevance: npt.ArrayLike, clip: float = 99.5) -> float:
    """v >= 0, the `clip` percentile of |R| (the maximum where that percentile is 0): colours span -v..v.

    Raises CheckFailed for NaN and infinity, UsageError for a percentile outside of 0..100.
    """
    if not 0 < clip <= 100:
        raise UsageError(f"--clip {clip:g} is no percentile", "give a number above 0, up to 100, such as 99.5")
    size = np.abs(np.asarray(relevance, dtype=np.float64))
    bad = int(np.count_nonzero(~np.isfinite(size)))
    if bad:
        raise CheckFailed(
            f"{bad} of {size.size} relevances are NaN or infinite, there is nothing to draw",
            "explain with --engine reference (float64), or with another method or a larger epsilon",
        )
    return float(np.percentile(size, clip) or size.max()) if size.size else 0.0


def colorize(relevance: npt.ArrayLike, cmap: str = "RdBu_r", clip: float = 99.5, v: float | None = None) -> Colors:
    """RGB [H, W, 3] of R [H, W]: zero at the middle of the map; a sequential map over R >= 0 spans 0..v instead."""
    values = np.asarray(relevance, dtype=np.float64)
    v = limit(values, clip) if v is None else v
    one_sided = _one_sided(values, cmap)
    unit = values / v if v else values
    if not one_sided:
        unit = (unit + 1) / 2
    colors: Colors = colormap(cmap)[np.rint(np.clip(unit, 0, 1) * 256).astype(np.intp)]
    return colors


def render(
    relevance: npt.ArrayLike,
    image: Image | None = None,
    cmap: str = "RdBu_r",
    clip: float = 99.5,
    overlay: bool = True,
    title: str = "",
    caption: str = "",
    layout: str | None = None,
) -> Image:
    """The figure of a heatmap [H, W], or [C, H, W] and [H, W, C] summed over the channels: the picture on the left,
    the heatmap over its grey version on the right (alone with `overlay=False`), and the scale of -v, 0, v.

    v is the `clip` percentile of |R|; small inputs are enlarged pixel by pixel. Raises as `limit` and `colormap` do.
    """
    values = sum_channels(relevance, layout)
    v = limit(values, clip)
    panels = [] if image is None else [_sized(_on_grid(image, values))]
    panels.append(_sized(panel(values, image if overlay else None, cmap, clip)))
    return _figure(panels, _scale(values, cmap, v), title, caption)


def panel(
    relevance: npt.ArrayLike,
    image: Image | None = None,
    cmap: str = "RdBu_r",
    clip: float = 99.5,
    layout: str | None = None,
) -> Image:
    """The heatmap alone, a pixel for each value, over the grey picture if there is one; raises as `render`."""
    from PIL import Image as pillow

    values = sum_channels(relevance, layout)
    v = limit(values, clip)
    colors = colorize(values, cmap, v=v)
    if image is not None:
        grey = np.asarray(_on_grid(image, values).convert("L"))
        colors = _blend(colors, grey, np.abs(values), v)
    return pillow.fromarray(colors)


def _on_grid(image: Image, values: Array) -> Image:
    """The picture with a pixel for each value."""
    from PIL import Image as pillow

    picture = image.convert("RGB")
    same = picture.size == values.shape[::-1]
    return picture if same else picture.resize(values.shape[::-1], pillow.Resampling.BILINEAR)


def strip(
    relevance: npt.ArrayLike,
    cmap: str = "RdBu_r",
    clip: float = 99.5,
    title: str = "",
    caption: str = "",
    signal: npt.ArrayLike | None = None,
) -> Image:
    """The figure of a one-dimensional heatmap [L], or [C, L] summed over the channels: a bar for each position.

    Positions beyond the width of the figure are summed into bins; `signal` [L] is drawn above. Raises as `render`.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    values = np.asarray(relevance, dtype=np.float64)
    values = values.sum(axis=0) if values.ndim == 2 else values
    if values.ndim != 1 or values.size == 0:
        raise UnsupportedError(
            f"relevance of shape {values.shape} is no signal", "write the numbers instead: --format npz"
        )
    width, height = 2 * _PANEL, _PANEL // 2
    limit(values, clip)
    if values.size > width:
        values = np.add.reduceat(values, np.arange(width) * values.size // width)
    v = limit(values, clip)
    colors = colorize(values[np.newaxis], cmap, v=v)[0]
    panel = pillow.new("RGB", (width, height), (246, 246, 246))
    draw = ImageDraw.Draw(panel)
    low = 0.0 if values.min() >= 0 else -1.0
    edges = np.rint(np.linspace(0, width, values.size + 1)).astype(int)
    zero = round((height - 1) / (1 - low))
    for i, size in enumerate(np.clip(values / v, -1, 1) if v else values):
        y = zero - round(float(size) * (height - 1) / (1 - low))
        right = max(edges[i], edges[i + 1] - (2 if edges[i + 1] - edges[i] > 4 else 1))
        draw.rectangle([int(edges[i]), min(y, zero), int(right), max(y, zero)], fill=tuple(map(int, colors[i])))
    draw.line([0, zero, width, zero], fill=_FAINT)
    panels = [panel] if signal is None else [_trace(np.asarray(signal, dtype=np.float64).ravel(), width), panel]
    return _figure(panels, _scale(values, cmap, v), title, caption, stacked=True)


def stack(figures: Sequence[Image]) -> Image:
    """Figures one below the other."""
    from PIL import Image as pillow

    sheet = pillow.new("RGB", (max(f.width for f in figures), sum(f.height for f in figures)), _PAPER)
    y = 0
    for figure in figures:
        sheet.paste(figure, (0, y))
        y += figure.height
    return sheet


def beside(figures: Sequence[Image]) -> Image:
    """Figures side by side."""
    from PIL import Image as pillow

    sheet = pillow.new("RGB", (sum(f.width for f in figures), max(f.height for f in figures)), _PAPER)
    x = 0
    for figure in figures:
        sheet.paste(figure, (x, 0))
        x += figure.width
    return sheet


def _one_sided(values: Array, cmap: str) -> bool:
    return cmap not in _DIVERGING and bool((values >= 0).all())


def _blend(colors: Colors, grey: Colors, size: Array, v: float) -> Colors:
    """Colour over a paler grey picture, its opacity growing with |R|, so that the context stays where R is small."""
    opacity = np.clip(size / v, 0, 1)[:, :, np.newaxis] ** 0.5 * 0.92 if v else 0.0
    pale = (0.62 * grey.astype(np.float64) + 84)[:, :, np.newaxis]
    return np.rint(opacity * colors + (1 - opacity) * pale).astype(np.uint8)


def _sized(picture: Image) -> Image:
    """Enlarged by a whole factor, pixel by pixel, to about the panel's size; a huge picture made smaller."""
    from PIL import Image as pillow

    longest = max(picture.size)
    factor = max(1, round(_PANEL / longest))
    if factor > 1:
        return picture.resize((picture.width * factor, picture.height * factor), pillow.Resampling.NEAREST)
    if longest > _LARGEST_PANEL:
        size = [max(1, round(side * _LARGEST_PANEL / longest)) for side in picture.size]
        return picture.resize((size[0], size[1]), pillow.Resampling.BOX)
    return picture


def _scale(values: Array, cmap: str, v: float) -> tuple[Colors, list[str]]:
    """The colours of the scale from top to bottom, and the words at its top, (middle) and bottom."""
    table = colormap(cmap)[::-1]
    if _one_sided(values, cmap):
        return table, [_number(v), "0"]
    return table, [f"+{_number(v)}", "0", f"-{_number(v)}"] if v else ["", "0", ""]


def _figure(
    panels: Sequence[Image], scale: tuple[Colors, list[str]], title: str, caption: str, stacked: bool = False
) -> Image:
    """Panels side by side (or one below the other), the scale to their right, title above, caption below."""
    from PIL import Image as pillow
    from PIL import ImageDraw

    big, small = font(19), font(14)
    margin, gap, bar = 20, 14, 14
    table, ticks = scale
    across = max(p.width for p in panels) if stacked else sum(p.width for p in panels) + gap * (len(panels) - 1)
    down = sum(p.height for p in panels) + gap * (len(panels) - 1) if stacked else max(p.height for p in panels)
    down = max(down, 96)
    top = margin + (32 if title else 0)
    ticks_width = max(int(small.getlength(tick)) for tick in ticks)
    width = margin + across + gap + bar + 8 + ticks_width + margin
    height = top + down + (28 if caption else 0) + margin
    figure = pillow.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(figure)
    if title:
        draw.text((margin, margin - 4), fitted(title, big, width - 2 * margin), font=big, fill=_INK)
    x, y = margin, top
    for panel in panels:
        figure.paste(panel, (x, y))
        x, y = (x, y + panel.height + gap) if stacked else (x + panel.width + gap, y)
    left = margin + across + gap
    figure.paste(pillow.fromarray(table[:, np.newaxis]).resize((bar, down), pillow.Resampling.BILINEAR), (left, top))
    draw.rectangle([left - 1, top - 1, left + bar, top + down], outline=(200, 200, 200))
    _ticks(draw, ticks, (left + bar + 8, top, down), small)
    if caption:
        draw.text((margin, top + down + 12), fitted(caption, small, width - 2 * margin), font=small, fill=_FAINT)
    return figure


def _ticks(draw: ImageDraw, ticks: Sequence[str], place: tuple[int, int, int], font: FreeTypeFont | ImageFont) -> None:
    x, top, down = place
    for i, tick in enumerate(ticks):
        y = top + (down - 1) * i / (len(ticks) - 1)
        draw.line([x - 7, round(y), x - 4, round(y)], fill=_FAINT)
        offset = {0: 4.0, len(ticks) - 1: 14.0}.get(i, 9.0)
        draw.text((x, y - offset), tick, font=font, fill=_INK)


def _trace(signal: Array, width: int) -> Image:
    """A signal as a line, its range filling the panel; every column spans what falls on it."""
    from PIL import Image as pillow
    from PIL import ImageDraw

    height = _PANEL // 4
    panel = pillow.new("RGB", (width, height), (246, 246, 246))
    low, high = float(signal.min()), float(signal.max())
    y = np.rint((height - 9) * (1 - (signal - low) / ((high - low) or 1))).astype(int) + 4
    x = np.rint((np.arange(signal.size) + 0.5) * width / signal.size).astype(int)
    points = [(int(a), int(b)) for a, b in zip(x, y, strict=True)]
    ImageDraw.Draw(panel).line(points if len(points) > 1 else points * 2, fill=_INK)
    return panel


@cache
def font(size: int) -> FreeTypeFont | ImageFont:
    """Pillow's own font."""
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def fitted(text: str, font: FreeTypeFont | ImageFont, width: int) -> str:
    """Text in the letters that Pillow's own font has, cut to a width in pixels."""
    for letter, plain in {"ΣR": "sum R", "−": "-", "→": ">", "ß": "ss", "ε": "eps", "γ": "gamma", "α": "alpha"}.items():
        text = text.replace(letter, plain)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = "".join(c if " " <= c <= "~" or c in "·±" else "?" for c in text)
    if font.getlength(text) <= width:
        return text
    kept = bisect.bisect_right(range(1, len(text)), width, key=lambda n: int(font.getlength(text[:n] + "...")))
    return text[:kept] + "..."


def _number(v: float) -> str:
    """Three digits at most, no exponent where a plain number is as short."""
    return f"{v:.0f}" if 99.95 <= v < 1e6 else f"{v:.2g}" if v < 1e-3 or v >= 1e6 else f"{v:.3g}"
