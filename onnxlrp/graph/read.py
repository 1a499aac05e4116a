"""Bytes, a file or a `ModelProto` → an ONNX model, or an error that says what the file is instead."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from onnxlrp.errors import InputError, UnsupportedError

Source = str | os.PathLike[str] | bytes | onnx.ModelProto

# First bytes of what people hand over by mistake: (offset, bytes, what it is, the fix).
_EXPORT_TORCH = "Export the model first: torch.onnx.export(model, example, 'model.onnx')."
_EXPORT_TF = "Convert the model first: python -m tf2onnx.convert --output model.onnx ..."
_DOWNLOAD = "Download the model file itself."
_SIGNATURES = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the model it points to", "Fetch it: git lfs pull"),
    (0, b"\x89PNG", "a PNG image", "Give the model first and the image second."),
    (0, b"\xff\xd8\xff", "a JPEG image", "Give the model first and the image second."),
    (0, b"GIF8", "a GIF image", "Give the model first and the image second."),
    (0, b"PK\x03\x04", "a zip archive (PyTorch .pt and Keras .keras files are)", _EXPORT_TORCH),
    (0, b"\x80\x02", "a Python pickle (older PyTorch .pt files are)", _EXPORT_TORCH),
    (0, b"\x89HDF", "an HDF5 file (Keras .h5 files are)", _EXPORT_TF),
    (4, b"TFL3", "a TensorFlow Lite model", _EXPORT_TF),
    (4, b"ORTM", "an onnxruntime .ort model", "Use the .onnx file that it was made from."),
    (0, b"\x93NUMPY", "a NumPy array", "Give the model first."),
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it: gunzip FILE"),
    (0, b"%PDF", "a PDF document", _DOWNLOAD),
)


@dataclass(frozen=True)
class Read:
    """A parsed model (the caller's own, not to be changed), where its external data lies, and what to call it."""

    model: onnx.ModelProto
    directory: Path | None
    name: str
    sha256: str


def read(source: Source) -> Read:
    """Parse a model without touching it; `InputError` where it is not one."""
    if isinstance(source, onnx.ModelProto):
        model, directory, name, data = source, None, "the model", b""
    elif isinstance(source, bytes):
        model, directory, name, data = _parse(source, "the model"), None, "the model", source
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        name = printable(str(path))
        data = _bytes(path, name)
        model, directory = _parse(data, name), path.parent
    else:
        raise InputError(
            f"A {type(source).__name__} is no model.", "Give a path, the bytes of an ONNX file or a ModelProto."
        )
    _check(model, name)
    for tensor in tensors(model):
        if is_external(tensor):
            _check_external(tensor, directory, name)
    return Read(model, directory, name, hashlib.sha256(data).hexdigest() if data else "")


def printable(text: str, limit: int = 200) -> str:
    """A name from a file, safe to print: control characters escaped, very long ones cut."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The tensors stored in a model: its initialisers and the values of its Constant nodes."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _bytes(path: Path, name: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.onnx"))[:5] if path.parent.is_dir() else []
        there = "; there are: " + ", ".join(printable(n) for n in near) if near else ""
        raise InputError(f"{name}: there is no such file.", f"Check the path{there}.") from None
    except IsADirectoryError:
        files = sorted(p.name for p in path.glob("*.onnx"))[:5]
        fix = f"Name a file in it: {printable(str(path / files[0]))}" if files else "Give the path of an .onnx file."
        raise InputError(f"{name} is a directory.", fix) from None
    except OSError as error:
        raise InputError(
            f"{name} cannot be read: {error.strerror or error}.", "Check the file's permissions."
        ) from None
    if not data:
        raise InputError(f"{name} is empty.", "Export or download the model again.")
    return data


def _parse(data: bytes, name: str) -> onnx.ModelProto:
    if not data:
        raise InputError(f"{name} is empty.", "Export or download the model again.")
    for offset, magic, what, fix in _SIGNATURES:
        if data[offset : offset + len(magic)] == magic:
            raise InputError(f"{name} is {what}, not an ONNX model.", fix)
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise InputError(f"{name} is a web page, not an ONNX model.", _DOWNLOAD)
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError:
        # Every exporter writes field 1, the IR version (a small integer), first.
        if data[0] == 0x08 and len(data) > 2 and data[1] < 0x20:
            raise InputError(f"{name} is cut off or damaged.", "Export or download the model again.") from None
        raise InputError(f"{name} is not an ONNX model.", "Give an .onnx file.") from None
    if not model.HasField("graph") and not model.ir_version:
        raise InputError(f"{name} is not an ONNX model.", "Give an .onnx file.")
    return model


def _check(model: onnx.ModelProto, name: str) -> None:
    again = "Export or download the model again."
    if not model.HasField("graph"):
        raise InputError(f"{name} holds no graph: it is cut off or not an ONNX model.", again)
    if not _is_text(model):
        raise InputError(f"{name} holds names that are no text: it is damaged.", again)
    if not model.graph.node:
        raise InputError(f"{name} holds a graph without nodes: there is nothing to explain.", again)
    if not model.graph.output:
        raise InputError(f"{name} has no outputs.", again)
    if model.graph.sparse_initializer:
        raise UnsupportedError(
            f"{name} stores sparse weights ({printable(model.graph.sparse_initializer[0].values.name)}).",
            "Export the model with dense weights.",
        )


def _is_text(model: onnx.ModelProto) -> bool:
    """Protobuf hands names out as bytes, or refuses, where they are no UTF-8."""
    graph = model.graph
    try:
        names = [graph.name, model.producer_name, model.producer_version]
        names += (entry.domain for entry in model.opset_import)
        for value in (*graph.input, *graph.output):
            names += (value.name, *(dim.dim_param for dim in value.type.tensor_type.shape.dim))
        names += (tensor.name for tensor in graph.initializer)
        for entry in (*model.metadata_props, *(e for node in graph.node for e in node.metadata_props)):
            names += (entry.key, entry.value)
        for node in graph.node:
            names += (node.name, node.op_type, node.domain, *node.input, *node.output)
            names += (attribute.name for attribute in node.attribute)
        return all(isinstance(name, str) for name in names)
    except UnicodeError:
        return False


def _check_external(tensor: onnx.TensorProto, directory: Path | None, name: str) -> None:
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location, label = fields.get("location", ""), printable(tensor.name)
    if directory is None:
        raise InputError(
            f'{name} keeps the weight "{label}" in another file ("{printable(location)}").',
            "Give the path of the .onnx file, so that its data is found beside it.",
        )
    file = directory / location
    inside = not os.path.isabs(location) and file.resolve().is_relative_to(directory.resolve())
    if not location or not inside:
        raise InputError(
            f'{name}: the data of the weight "{label}" lies outside the model\'s folder ("{printable(location)}").',
            "Move the data beside the model: onnx.save_model(model, path, save_as_external_data=True)",
        )
    if not file.is_file():
        raise InputError(
            f'{name}: its data file "{printable(location)}" is missing (weight "{label}").',
            f"Put it into {printable(str(directory))}, or export one file: torch.onnx.export(..., external_data=False)",
        )
    need = int(fields.get("offset", 0)) + int(fields.get("length", 0))
    if file.stat().st_size < need:
        raise InputError(
            f'{name}: its data file "{printable(location)}" is cut off ({file.stat().st_size} of {need} bytes).',
            "Export or download the data file again.",
        )
