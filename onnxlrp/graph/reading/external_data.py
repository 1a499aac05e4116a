"""Weights in other files: found in the folders that are allowed, and mapped into memory, never copied."""

from __future__ import annotations

import math
import os
import stat
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ...errors import InputError
from ..graph import Array
from .printable import printable
from .tensors import nbytes

_AGAIN = "export or download the data file again"
_RESAVE = "save the model again: onnx.save_model(model, path, save_as_external_data=True)"


class Home(NamedTuple):
    """Folder of a model, in which its data files may lie as regular files with one name.

    A Hugging Face cache (`REPO/snapshots/REVISION/model.onnx -> ../../blobs/HASH`) passes as it is: its links lead to
    the blobs of the same repository.

    Attributes:
        model: The path of the model.
        linked: Whether hard links, and links out of the folder, pass too.
    """

    model: Path
    linked: bool = False

    def find(self, location: str, name: str, label: str) -> Path:
        """Return the file of a location, its links resolved.

        Args:
            location: What the model calls the file.
            name: The name of the model, for errors.
            label: The name of the weight, for errors.

        Raises:
            InputError: There is no such file, or it may not be read.
        """
        shown = printable(location)
        pure = (PurePosixPath(location), PureWindowsPath(location))
        if not location or "\0" in location or any(p.is_absolute() or p.drive or ".." in p.parts for p in pure):
            raise self._outside(name, label, shown)
        folder = self.model.parent
        if not os.path.lexists(folder / location) and self.model.is_symlink():
            folder = self.model.resolve().parent  # a link to a model whose data lies beside the model
        if not (folder / location).exists():
            raise InputError(
                f'{name}: its data file "{shown}" is missing (weight "{label}")',
                f"put it into {printable(str(folder))}, "
                "or export one file: torch.onnx.export(..., external_data=False)",
            )
        file = (folder / location).resolve()
        cached = _is_cached(folder, file)
        if not (cached or self.linked or file.is_relative_to(folder.resolve())):
            raise self._outside(name, label, shown)
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f'{name}: its data file "{shown}" is no regular file', _RESAVE)
        if status.st_nlink > 1 and not (cached or self.linked):
            raise InputError(
                f'{name}: its data file "{shown}" is a hard link: it has {status.st_nlink} names',
                f"copy it (cp {shown} copy && mv copy {shown}), or allow it: --allow-linked-data",
            )
        return file

    def _outside(self, name: str, label: str, shown: str) -> InputError:
        return InputError(
            f'{name}: the data of the weight "{label}" lies outside the model\'s folder ("{shown}")',
            "move the data beside the model, or allow its links with --allow-linked-data, or " + _RESAVE,
        )


def _is_cached(folder: Path, file: Path) -> bool:
    """Return whether a file is a blob of the Hugging Face repository that the folder is a snapshot of."""
    parts = folder.resolve().parts
    snapshots = [n for n, part in enumerate(parts) if part == "snapshots" and len(parts) > n + 1]
    return bool(snapshots) and file.parent == (Path(*parts[: snapshots[-1]]) / "blobs").resolve()


class Span(NamedTuple):
    """The bytes of one tensor in a file."""

    file: Path
    offset: int
    length: int


def locate(tensor: TensorProto, home: Home | None, name: str, found: dict[str, Path] | None = None) -> Span:
    """Return the bytes of a tensor: as many as its dims say, within its file.

    Args:
        tensor: The tensor.
        home: The folder of the model; None where it has none.
        name: The name of the model, for errors.
        found: Location → file, as far as they were found; changed in place.

    Raises:
        InputError: The file is missing, cut off or not allowed, or the model contradicts itself.
    """
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location, label = fields.get("location", ""), printable(tensor.name)
    if home is None:
        raise InputError(
            f'{name} keeps the weight "{label}" in another file ("{printable(location)}")',
            "give the path of the .onnx file, so that its data is found beside it",
        )
    if tensor.data_type == TensorProto.STRING:
        raise InputError(f'{name}: the weight "{label}" holds text in another file, which ONNX does not allow', _RESAVE)
    need = nbytes(tensor.data_type, math.prod(tensor.dims))
    offset, length = (_number(fields.get(key), default) for key, default in (("offset", 0), ("length", need)))
    if offset is None or length is None:
        raise InputError(f'{name}: the weight "{label}" has a damaged offset or length', _AGAIN)
    if length != need:
        raise InputError(f'{name}: the weight "{label}" is {need} bytes by its dims, and {length} are stored', _AGAIN)
    known = {} if found is None else found
    if location not in known:
        known[location] = home.find(location, name, label)
    file = known[location]
    size = file.stat().st_size
    if size < offset + need:
        raise InputError(
            f'{name}: its data file "{printable(location)}" is cut off ({size} of {offset + need} bytes)', _AGAIN
        )
    return Span(file, offset, need)


def locations(tensors: list[TensorProto]) -> tuple[str, ...]:
    """Return what the model calls the files of tensors, each once."""
    found = [entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"]
    return tuple(dict.fromkeys(found))


def _number(text: str | None, default: int) -> int | None:
    if text is None:
        return default
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def check(tensors: list[TensorProto], home: Home | None, name: str) -> None:
    """Check that every tensor is where it says, and that two share all of their bytes or none.

    Raises:
        InputError: One is not, or two overlap.
    """
    found: dict[str, Path] = {}
    spans = sorted(
        (span.file, span.offset, span.offset + span.length, printable(tensor.name))
        for tensor in tensors
        if (span := locate(tensor, home, name, found)).length
    )
    for (file, start, end, one), (other, begin, until, two) in pairwise(spans):
        if file == other and begin < end and (start, end) != (begin, until):
            raise InputError(f'{name}: the data of the weights "{one}" and "{two}" overlaps', _RESAVE)


def read(tensor: TensorProto, home: Home | None, name: str) -> Array:
    """Return the values of a tensor, mapped from its file read-only; packed types of 4 and 2 bits are unpacked.

    The file must keep its length while the model is in use: the operating system ends a process that reads past it.
    """
    span = locate(tensor, home, name)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    shape = tuple(tensor.dims)
    if not span.length:
        return np.zeros(shape, dtype)
    # Whatever lies there by now: a pipe would wait for ever.
    with open(os.open(span.file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        if os.fstat(file.fileno()).st_size < span.offset + span.length:
            raise InputError(f"{name}: a data file was cut while it was read", _AGAIN)
        mapped = np.asarray(np.memmap(file, np.uint8, "r", span.offset, (span.length,)))
    if span.length != math.prod(shape) * dtype.itemsize:
        packed = TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=mapped.tobytes())
        return np.asarray(numpy_helper.to_array(packed))
    return mapped.view(dtype).reshape(shape)
