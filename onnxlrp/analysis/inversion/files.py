"""Files of inversions: the bare pictures, arrays, and the record in JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import files
from .. import picture_files

if TYPE_CHECKING:
    from PIL.Image import Image

    from .result import Result


def write(found: Result, path: str | Path) -> list[Path]:
    """Write the file that a name asks for; of several pictures one .png each, NAME-2.png and so on.

    Raises:
        UsageError: A name of another kind.
        InputError: The file cannot be written.
        UnsupportedError: A .png of an input that is no picture.
    """
    path = Path(path)
    check(path)
    arrays = {"inputs": found.inputs, "pictures": found.pictures, "originals": found.originals, "errors": found.errors}
    return picture_files.write(found, path, record(found), arrays, _words(found))


def png(found: Result, picture: Image) -> bytes:
    """Encode a picture with the record of its inversion in the metadata."""
    return picture_files.encode(picture, record(found), _words(found))


def check(path: Path) -> None:
    """Raise UsageError for a name that is none of a file that can be written."""
    picture_files.check(path, "an inversion")


def _words(found: Result) -> dict[str, str]:
    return {"Software": "onnxlrp", "Title": f"inversion of {found.layer.label}"}


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
