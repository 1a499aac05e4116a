"""Files of cells along a text: a page, the record, the arrays, a picture."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import files
from ...errors import UsageError, did_you_mean
from ...explanation.saving import encode_png
from ...files import to_jsonable
from .page import page
from .result import CellsResult

FORMATS = ("html", "json", "npz", "png")


def save(found: CellsResult, path: str | Path, formats: Sequence[str] = ()) -> list[Path]:
    """Write cells as `Cells.save` does.

    Args:
        found: The cells.
        path: The file; its suffix is the format where none is named.
        formats: Of `FORMATS`; each is written beside the others under its suffix.

    Raises:
        UsageError: There is no such format.
        InputError: A file cannot be written.
    """
    path = Path(path)
    words = list(formats) or [path.suffix.lower().removeprefix(".") or "html"]
    for word in words:
        if word not in FORMATS:
            raise UsageError(f'no format "{word}"', did_you_mean(word, FORMATS))
    writers = {"html": _html, "json": _json, "npz": _npz, "png": _png}
    base = path.with_suffix("") if path.suffix.lower().removeprefix(".") in FORMATS else path
    whole = path if len(words) == 1 and path.suffix else None
    return [files.replace(whole or base.with_name(f"{base.name}.{word}"), writers[word](found)) for word in words]


def _html(found: CellsResult) -> bytes:
    return page(found).encode()


def _json(found: CellsResult) -> bytes:
    return (json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _npz(found: CellsResult) -> bytes:
    arrays: dict[str, Any] = {"symbols": np.array(found.symbols), "starts": np.array(found.starts)}
    for run in found.runs:
        arrays[run.layer.cells] = run.states
        for gate, (low, high) in run.shares().items():
            arrays |= {f"{run.layer.label}.{gate}/left": low, f"{run.layer.label}.{gate}/right": high}
    arrays |= {f"property/{name}": values for name, values in found.properties.items()}
    arrays |= {f"null/{one.name}": one.null for one in found.tracked if one.null is not None}
    arrays["provenance"] = np.array(json.dumps(to_jsonable(found.provenance), allow_nan=False))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _png(found: CellsResult) -> bytes:
    words = {"Software": "onnxlrp", "Title": "cells along a text"}
    words["onnxlrp.provenance"] = json.dumps(to_jsonable(found.provenance), allow_nan=False)
    return encode_png(found.figure(), words)
