"""Files of pictures that an analysis made: the bare pictures, arrays, and the record in JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .. import files
from ..errors import UsageError
from ..explanation.saving import encode_png

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS = ("png", "npz", "json")


class Written(Protocol):
    """What an analysis made, as files take it."""

    @property
    def images(self) -> Iterable[Image]:
        """The bare pictures. Raises UnsupportedError for an input that is no picture."""
        ...


def write(
    found: Written, path: Path, record: Mapping[str, Any], arrays: Mapping[str, Any], words: Mapping[str, str]
) -> list[Path]:
    """Write the file that a name asks for; of several pictures one .png each, NAME-2.png and so on.

    Args:
        found: The pictures.
        path: The name, as `check` takes it.
        record: What is known of them, in JSON's types.
        arrays: The arrays of an .npz file, by name; the record is added.
        words: The texts of a .png file, by name; the record is added.

    Raises:
        InputError: The file cannot be written.
        UnsupportedError: A .png of an input that is no picture.
    """
    if path.suffix.lower() == ".png":
        return write_pictures(list(found.images), path, record, words)
    if path.suffix.lower() == ".json":
        return [files.replace(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())]
    buffer = io.BytesIO()
    provenance: dict[str, Any] = {"provenance": np.array(json.dumps(record, allow_nan=False))}
    np.savez_compressed(buffer, **arrays, **provenance)
    return [files.replace(path, buffer.getvalue())]


def write_pictures(
    pictures: Sequence[Image], path: Path, record: Mapping[str, Any], words: Mapping[str, str]
) -> list[Path]:
    """Write pictures as PNG, the second one as NAME-2.png and so on. Raises InputError."""
    names = [path] + [path.with_stem(f"{path.stem}-{n}") for n in range(2, len(pictures) + 1)]
    return [files.replace(name, encode(one, record, words)) for name, one in zip(names, pictures, strict=True)]


def encode(picture: Image, record: Mapping[str, Any], words: Mapping[str, str]) -> bytes:
    """Encode a picture as PNG, with texts and the record in its metadata."""
    return encode_png(picture, {**words, "onnxlrp.provenance": json.dumps(record, allow_nan=False)})


def check(path: Path, what: str) -> None:
    """Raise UsageError for a name that is none of a file that can be written.

    Args:
        path: The name.
        what: What is written, such as "a prototype".
    """
    if path.suffix.lower().removeprefix(".") not in KINDS:
        raise UsageError(f"{path}: {what} is written as .png, .npz or .json", f"-o '{path.with_suffix('.png')}'")
