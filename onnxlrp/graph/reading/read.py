"""Bytes, a file or a `ModelProto` → an ONNX model, or an error that says what the file is instead."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ...errors import InputError
from . import external_data, lifting, protobuf, structure
from .external_data import Home
from .printable import printable
from .tensors import is_external, tensors

Source = str | os.PathLike[str] | bytes | onnx.ModelProto

# Protobuf reads no message of 2 GiB.
LARGEST = 1 << 31
# Bytes from which on a thread of its own pays.
_LARGE = 1 << 22

# First bytes of what people hand over by mistake: (offset, bytes, what it is, the fix).
_EXPORT_TORCH = "export the model first: torch.onnx.export(model, example, 'model.onnx')"
_EXPORT_TF = "convert the model first: python -m tf2onnx.convert --output model.onnx ..."
_DOWNLOAD = "download the model file itself"
_AGAIN = "export or download the model again"
_SIGNATURES = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the model it points to", "fetch it: git lfs pull"),
    (0, b"\x89PNG", "a PNG image", "give the model first and the image second"),
    (0, b"\xff\xd8\xff", "a JPEG image", "give the model first and the image second"),
    (0, b"GIF8", "a GIF image", "give the model first and the image second"),
    (0, b"PK\x03\x04", "a zip archive (PyTorch .pt and Keras .keras files are)", _EXPORT_TORCH),
    *((0, bytes([0x80, n]), "a Python pickle (older PyTorch .pt files are)", _EXPORT_TORCH) for n in (2, 3, 4, 5)),
    (0, b"\x89HDF", "an HDF5 file (Keras .h5 files are)", _EXPORT_TF),
    (4, b"TFL3", "a TensorFlow Lite model", _EXPORT_TF),
    (4, b"ORTM", "an onnxruntime .ort model", "use the .onnx file that it was made from"),
    (0, b"\x93NUMPY", "a NumPy array", "give the model first"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it: gunzip FILE"),
    (0, b"BZh", "a bzip2 archive", "unpack it: bunzip2 FILE"),
    (0, b"\xfd7zXZ", "an xz archive", "unpack it: unxz FILE"),
    (0, b"7z\xbc\xaf", "a 7z archive", "unpack it: 7z x FILE"),
    (257, b"ustar", "a tar archive", "unpack it: tar xf FILE"),
    (0, b"GGUF", "a GGUF model", _DOWNLOAD),
    (8, b'{"', "a safetensors file (weights without the network)", _EXPORT_TORCH),
    (0, b"%PDF", "a PDF document", _DOWNLOAD),
)


class Read(NamedTuple):
    """A parsed model.

    Attributes:
        model: The model; the caller's own, not to be changed.
        home: The folder of its external data; None where it has none.
        name: The name of the file, for errors.
        digest: Gives the hash of the file; "" where there is none.
        lifted: Raw data of large weights, which `model` only names.
        data_files: What the model calls the other files that it has weights in.
    """

    model: onnx.ModelProto
    home: Home | None
    name: str
    digest: Callable[[], str]
    lifted: lifting.Lifted = {}  # noqa: RUF012
    data_files: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return self.digest()

    def whole(self) -> onnx.ModelProto:
        """Return a copy of the model with all of its weights, but for those in other files."""
        return lifting.whole(self.model, self.lifted)


def read(source: Source, linked: bool = False) -> Read:
    """Parse and check a model without changing it; its weights in other files are not read yet.

    Args:
        source: A path, the bytes of a file, or a parsed model.
        linked: Whether data files may be hard links, or links out of the model's folder.

    Raises:
        InputError: The file is no ONNX model, or damaged.
    """
    home, digest = None, _no_hash
    lifted: lifting.Lifted = {}
    if isinstance(source, onnx.ModelProto):
        model, name = source, "the model"
    elif isinstance(source, bytes):
        digest, name = _hash(source), "the model"
        model, lifted = _parse(source, name)
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        name, home = printable(str(path)), Home(path, linked)
        data = _bytes(path, name)
        digest = _hash(data)
        model, lifted = _parse(data, name)
    else:
        raise InputError(
            f"a {type(source).__name__} is no model", "give a path, the bytes of an ONNX file or a ModelProto"
        )
    if not model.HasField("graph"):
        raise InputError(f"{name} holds no graph: it is cut off or not an ONNX model", _AGAIN)
    structure.check(model, name, lifted)
    outside = [tensor for tensor in tensors(model) if is_external(tensor)]
    external_data.check(outside, home, name)
    return Read(model, home, name, digest, lifted, external_data.locations(outside))


def _no_hash() -> str:
    return ""


def _hash(data: bytes) -> Callable[[], str]:
    """Begin to hash a file, and return what waits for the hash: a large one takes as long as all else that is read."""
    if len(data) < _LARGE:
        return hashlib.sha256(data).hexdigest if data else _no_hash
    made = hashlib.sha256()
    worker = threading.Thread(target=made.update, args=(data,), name="sha256", daemon=True)
    worker.start()

    def wait() -> str:
        worker.join()
        return made.hexdigest()

    return wait


def _bytes(path: Path, name: str) -> bytes:
    try:
        # A pipe would wait for ever, a device never end.
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name} is no regular file", "give the path of an .onnx file")
        if status.st_size >= LARGEST:
            raise InputError(
                f"{name} is larger than 2 GiB, which no ONNX file is",
                "save the weights beside the model: onnx.save_model(model, path, save_as_external_data=True)",
            )
        data = path.read_bytes()
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.onnx"))[:5] if path.parent.is_dir() else []
        there = "; there are: " + ", ".join(printable(n) for n in near) if near else ""
        raise InputError(f"{name}: there is no such file", f"check the path{there}") from None
    except IsADirectoryError:
        files = sorted(p.name for p in path.glob("*.onnx"))[:5]
        fix = f"name a file in it: {printable(str(path / files[0]))}" if files else "give the path of an .onnx file"
        raise InputError(f"{name} is a directory", fix) from None
    except (OSError, ValueError) as error:
        said = printable(str(getattr(error, "strerror", None) or error))
        raise InputError(f"{name} cannot be read: {said}", "check the path and the file's permissions") from None
    return data


def _parse(data: bytes, name: str) -> tuple[onnx.ModelProto, lifting.Lifted]:
    if not data:
        raise InputError(f"{name} is empty", _AGAIN)
    for offset, magic, what, fix in _SIGNATURES:
        if data[offset : offset + len(magic)] == magic:
            raise InputError(f"{name} is {what}, not an ONNX model", fix)
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise InputError(f"{name} is a web page, not an ONNX model", _DOWNLOAD)
    # Every exporter writes field 1, the IR version (a small integer), first.
    likely = data[0] == 0x08 and len(data) > 2 and data[1] < 0x20
    try:
        protobuf.walk(data, name)
        model, lifted = lifting.parse(data)
    except (protobuf.Cut, DecodeError) as error:
        if isinstance(error, InputError) and likely:
            raise
        if likely:
            raise InputError(f"{name} is cut off or damaged", _AGAIN) from None
        raise InputError(f"{name} is not an ONNX model", "give an .onnx file") from None
    if not model.HasField("graph") and not model.ir_version:
        raise InputError(f"{name} is not an ONNX model", "give an .onnx file")
    return model, lifted
