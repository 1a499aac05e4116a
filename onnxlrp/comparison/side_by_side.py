"""A picture of the least similar samples: A's heatmap on the left, B's on the right."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files
from ..errors import UsageError
from ..explanation.figures import by_kind
from ..pictures import bars, heatmap, sheets
from ..pictures.style import Style
from .compare import Comparison
from .worst_samples import Array, WorstSample

if TYPE_CHECKING:
    from PIL.Image import Image


def sheet(comparison: Comparison) -> Image:
    """Draw a row for each of the worst samples, worst first; each heatmap has its own color scale.

    Raises:
        UsageError: No sample was kept.
    """
    if not comparison.worst:
        raise UsageError("no sample was kept", "compare with worst=4, --worst 4")
    names = [Path(comparison.result[side]["model"]).name for side in "ab"]
    metrics = comparison.result["metrics"]
    return sheets.stack([_row(one, names, metrics) for one in comparison.worst])


def save(comparison: Comparison, path: str | Path) -> Path:
    """Write `sheet` as a PNG file, whole or not at all. Raises UsageError, InputError."""
    from PIL.PngImagePlugin import PngInfo

    words, stream = PngInfo(), io.BytesIO()
    words.add_text("Software", "onnxlrp")  # later runs over the folder skip it by this
    sheet(comparison).save(stream, "PNG", pnginfo=words)
    return files.replace(path, stream.getvalue())


def _row(one: WorstSample, names: Sequence[str], metrics: Sequence[str]) -> Image:
    row = one.row
    numbers = " · ".join(f"{name} {_number(row[name])}" for name in [*metrics, "logits"])
    figures = []
    sides = zip("AB", names, row["top1_labels"], one.maps, one.views, strict=True)
    for n, (side, name, best, values, view) in enumerate(sides):
        title = f"{side} · {row['name']} · best {best} · why {row['label']}"
        caption = f"{name} · {numbers}" if side == "A" else name
        finite = _finite(values)
        caption += "" if np.isfinite(values).all() else " · NaN and infinity drawn as 0"
        style = Style(title=title, caption=caption)
        whole = figure_of_kind(one, n, style)
        if whole is not None:
            figures.append(whole)
        elif 1 in finite.shape:
            figures.append(bars.strip(finite.reshape(-1), style))
        else:
            figures.append(heatmap.render(finite, view, style))
    return sheets.beside(figures)


def figure_of_kind(one: WorstSample, n: int, style: Style) -> Image | None:
    """Draw a sample that is no image in the figure of its kind; None for what is drawn as a map or a strip.

    Args:
        one: The sample.
        n: 0 for A, 1 for B.
        style: The title, the caption and the colours.
    """
    drawn = one.drawn[n]
    return None if drawn is None else by_kind(drawn._replace(relevance=_finite(drawn.relevance)), style)


def _finite(values: Array) -> Array:
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _number(value: Any) -> str:
    return "none" if value is None else f"{value:.3g}"
