"""Ultralytics: the keys that its ONNX export writes into `metadata_props`, as Python literals."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from .statement import LONGEST_TEXT, SourceContext, Statement, foreign


def metadata(context: SourceContext) -> Iterator[Statement]:
    """Read `task`, `imgsz`, `names` and `channels`; pixels are RGB in 0..1, not normalised.

    `classify` resizes the shorter side to `imgsz` and cuts the centre; other tasks put the picture into a letterbox.
    """
    if not {"task", "imgsz", "stride"} <= context.metadata.keys():
        return
    value, notes = {}, []
    for key in ("imgsz", "names", "channels"):
        try:
            value[key] = _literal(context.metadata.get(key, "None"))
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            notes.append(f"{key} is not a Python literal: not used")
    size = value.get("imgsz")
    size = [size, size] if isinstance(size, int) else size
    if not (isinstance(size, (list, tuple)) and len(size) == 2):
        notes.append("imgsz is not height and width: not used")
        size = None
    raw: dict[str, Any] = {"size": size, "scale": 1 / 255, "mean": 0.0, "std": 1.0, "interpolation": "bilinear"}
    if value.get("channels", 3) in (3, None):
        raw["color"] = "RGB"
    task = context.metadata["task"]
    if task == "classify":
        square = size is None or size[0] == size[1]
        raw |= {"resize": "shorter-crop", "crop": 1.0} if square else {"resize": "stretch"}
    else:
        raw["resize"] = "letterbox"
        notes.append(f"task {task[:40]!r}: OpenCV resizes its letterbox without antialiasing, Pillow does with it")
    names = value.get("names")
    if isinstance(names, dict):
        raw["labels"] = {str(key): name for key, name in names.items()}
    elif names is not None:
        raw["labels"] = names
    yield foreign("Ultralytics metadata", raw, tuple(notes))


def _literal(text: str) -> Any:
    if len(text) > LONGEST_TEXT:
        raise ValueError("too long")
    return ast.literal_eval(text)
