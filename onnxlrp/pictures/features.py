"""Relevance of the features of a table: a bar for each, the strongest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .colors import colorize, limit
from .figure import FAINT, INK, PAPER, figure
from .lettering import fitted, font, number
from .style import DEFAULT, Style

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN, _ROW, _BARS = 20, 28, 480
_LEAST_NAME, _MOST_NAME, _NUMBER = 60, 260, 72


def features(
    relevance: npt.ArrayLike,
    values: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
    style: Style = DEFAULT,
) -> Image:
    """Draw the relevance of features as horizontal bars, the strongest first, the weakest summed as "others".

    Args:
        relevance: The relevance [K].
        values: The values of the features [K], numbers or words, written beside their names; NaN is a missing one.
        names: The names of the features; their numbers where there are none.
        style: Colours, title and caption; bars show every value at its length.

    Raises:
        CheckFailed: The relevance is not finite.
        UsageError: There is no such colour map or percentile.
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    r = np.asarray(relevance, dtype=np.float64).ravel()
    v = limit(r, style.clip)
    x = None if values is None else np.asarray(values).ravel()
    order = np.argsort(-np.abs(r), kind="stable")
    shown = order if len(order) <= _SHOWN else order[: _SHOWN - 1]
    rows = [(names[n] if names else f"feature {n}", "" if x is None else _value(x[n]), float(r[n])) for n in shown]
    if len(shown) < len(order):
        rows.append((f"{len(order) - len(shown)} others", "", float(r[order[len(shown) :]].sum())))
    text, small = font(15), font(13)
    wide = max(int(text.getlength(name)) for name, _, _ in rows) + 4
    left = min(max(wide, _LEAST_NAME), _MOST_NAME)
    start = left + 10 + (_NUMBER if x is not None else 0)
    panel = pillow.new("RGB", (start + _BARS + 2 * _NUMBER, _ROW * len(rows)), PAPER)
    draw = ImageDraw.Draw(panel)
    largest = max(abs(value) for _, _, value in rows) or 1.0
    negative, positive = (max([0.0, *(s * value for _, _, value in rows)]) / largest for s in (-1, 1))
    zero = start + _NUMBER + round(_BARS * negative / ((negative + positive) or 1.0))
    reach = _BARS / ((negative + positive) or 1.0)
    colors = colorize(np.array([[value for _, _, value in rows]]), style.cmap, v=v)[0]
    for i, (name, own, value) in enumerate(rows):
        y = i * _ROW
        if i % 2 == 0:
            draw.rectangle([0, y, panel.width, y + _ROW - 1], fill=(246, 246, 246))
        name = fitted(name, text, left)
        middle = y + _ROW // 2
        draw.text((left - text.getlength(name), middle), name, font=text, fill=INK, anchor="lm")
        own = fitted(own, small, _NUMBER - 6)
        draw.text((left + _NUMBER, middle), own, font=small, fill=FAINT, anchor="rm")
        end = zero + round(reach * value / largest)
        color = tuple(int(c) for c in colors[i])
        draw.rectangle([min(zero, end), y + 5, max(zero, end), y + _ROW - 6], fill=color, outline=(150, 150, 150))
        side = "rm" if value < 0 else "lm"
        place = (end - 6 if value < 0 else end + 6, middle)
        draw.text(place, ("-" if value < 0 else "+") + number(abs(value)), font=small, fill=INK, anchor=side)
    draw.line([zero, 0, zero, panel.height], fill=FAINT)
    return figure([panel], None, style)


def _value(x: Any) -> str:
    """A feature's value: `-1.5`, a word, or that it is missing."""
    if isinstance(x, str):
        return x
    if math.isnan(x):
        return "missing"
    return number(x) if x >= 0 else "-" + number(-x)
