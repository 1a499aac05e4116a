"""Files of prototypes: the bare pictures, arrays, and the record in JSON."""

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
    arrays = {
        "inputs": found.inputs,
        "pictures": found.pictures,
        "scores": found.scores,
        "opacity": found.opacity,
        "history": found.state.history,
    }
    return picture_files.write(found, path, record(found), arrays, {"Title": _title(found)})


def write_cutouts(found: Result, path: Path) -> list[Path]:
    """Write the pictures with their opacity as transparency, one .png each.

    Raises:
        InputError: A file cannot be written.
        UnsupportedError: The input is no picture.
    """
    return picture_files.write_pictures(found.cutouts, path, record(found), {"Title": _title(found)})


def figure_bytes(found: Result, picture: Image) -> bytes:
    """Return the figure as a .png with the record in its metadata."""
    return picture_files.encode(picture, record(found), {"Software": "onnxlrp", "Title": _title(found)})


def check(path: Path) -> None:
    """Raise UsageError for a name that is none of a file that can be written."""
    picture_files.check(path, "a prototype")


def _title(found: Result) -> str:
    return f"prototype: {found.name}"


def record(found: Result) -> dict[str, Any]:
    """Return what is known of prototypes in JSON's types."""
    made = {
        "prototype of": found.name,
        "target": found.target,
        "scores": found.scores,
        "no gradient": found.dead,
        "stopped": found.stopped,
        **found.evidence,
        "provenance": {**found.about, "kind": found.domain.kind.to_dict()},
    }
    plain: dict[str, Any] = files.to_jsonable(made)
    return plain
