"""A picture of the least similar samples: A's heatmap on the left, B's on the right."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files
from ..errors import UsageError
from ..pictures import bars, heatmap, sheets
from ..pictures.style import Style
from .compare import Comparison
from .worst_samples import WorstSample

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
    for side, name, best, values, view in zip("AB", names, row["top1_labels"], one.maps, one.views, strict=True):
        title = f"{side} · {row['name']} · best {best} · why {row['label']}"
        caption = f"{name} · {numbers}" if side == "A" else name
        finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        caption += "" if np.isfinite(values).all() else " · NaN and infinity drawn as 0"
        style = Style(title=title, caption=caption)
        if 1 in finite.shape:
            figures.append(bars.strip(finite.reshape(-1), style))
        else:
            figures.append(heatmap.render(finite, view, style))
    return sheets.beside(figures)


def _number(value: Any) -> str:
    return "none" if value is None else f"{value:.3g}"
