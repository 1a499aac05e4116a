"""Files of inversions: the bare pictures, arrays, and the record in JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files
from ..errors import UsageError
from ..explanation.saving import encode_png

if TYPE_CHECKING:
    from PIL.Image import Image

    from .inversion_result import Result

KINDS = ("png", "npz", "json")


def write(found: Result, path: str | Path) -> list[Path]:
    """Write the file that a name asks for; of several pictures one .png each, NAME-2.png and so on.

    Raises:
        UsageError: A name of another kind.
        InputError: The file cannot be written.
        UnsupportedError: A .png of an input that is no picture.
    """
    path = Path(path)
    check(path)
    if path.suffix.lower() == ".png":
        names = [path] + [path.with_stem(f"{path.stem}-{n}") for n in range(2, len(found) + 1)]
        return [files.replace(name, png(found, one)) for name, one in zip(names, found.images, strict=True)]
    if path.suffix.lower() == ".json":
        return [files.replace(path, (json.dumps(record(found), indent=1, allow_nan=False) + "\n").encode())]
    arrays: dict[str, Any] = {"inputs": found.inputs, "pictures": found.pictures, "originals": found.originals}
    arrays |= {"errors": found.errors, "provenance": np.array(json.dumps(record(found), allow_nan=False))}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return [files.replace(path, buffer.getvalue())]


def png(found: Result, picture: Image) -> bytes:
    """Encode a picture with the record of its inversion in the metadata."""
    words = {
        "Software": "onnxlrp",
        "Title": f"inversion of {found.layer.label}",
        "onnxlrp.provenance": json.dumps(record(found), allow_nan=False),
    }
    return encode_png(picture, words)


def check(path: Path) -> None:
    """Raise UsageError for a name that is none of a file that can be written."""
    if path.suffix.lower().removeprefix(".") not in KINDS:
        raise UsageError(f"{path}: an inversion is written as .png, .npz or .json", f"-o '{path.with_suffix('.png')}'")


def record(found: Result) -> dict[str, Any]:
    """Return what is known of inversions in JSON's types."""
    made = {
        "inversion of": list(found.names),
        "layer": found.layer.label,
        "shape": list(found.layer.shape),
        "layer error": found.errors,
        "layer error before rounding": found.relaxed,
        "picture error": found.picture_errors,
        "picture error of the mean picture": found.mean_errors,
        "mean picture": found.mean_source,
        "stopped": found.stopped,
        "provenance": {**found.about, "kind": found.domain.kind.to_dict()},
    }
    plain: dict[str, Any] = files.to_jsonable(made)
    return plain
