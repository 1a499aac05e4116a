"""Which emulated kernels stand for an image that CuPy loads, and the types of their parameters."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from .errors import INVALID_VALUE, NOT_FOUND, Failure
from .memory import Memory


class Param(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_char), ("pointer", ctypes.c_ubyte), ("lanes", ctypes.c_ubyte), ("size", ctypes.c_uint)
    ]  # fmt: skip


class Row(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("call", ctypes.c_void_p), ("params", ctypes.POINTER(Param)), ("count", ctypes.c_int)
    ]  # fmt: skip


class Table(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int), ("instrumented", ctypes.c_int), ("alone", ctypes.c_int),
        ("rows", ctypes.POINTER(Row)), ("count", ctypes.c_int),
    ]  # fmt: skip


class Image:
    """A loaded module: its emulated kernels, and the machine code that must name them."""

    def __init__(self, code: bytes, library: Any, path: str, symbol: str) -> None:
        self.code, self.library = code, library
        table = Table.in_dll(ctypes.CDLL(path), symbol)
        rows = [table.rows[i] for i in range(table.count)]
        self.params = {row.name.decode(): [row.params[i] for i in range(row.count)] for row in rows}

    def function(self, name: str) -> Function:
        if name not in self.params or (self.code and name.encode() + b"\0" not in self.code):
            raise Failure(NOT_FOUND, f"the module has no kernel {name}")
        return Function(self, name)


class Function:
    """A kernel of a module."""

    def __init__(self, image: Image, name: str) -> None:
        self.image, self.name, self.dynamic = image, name, 48 << 10

    def arguments(self, values: Any, memory: Memory) -> list[Any]:
        """What the emulator takes, of the array of pointers to values that a launch gets."""
        return [_argument(p, values[i], memory) for i, p in enumerate(self.image.params[self.name])]


def _argument(p: Param, address: int, memory: Memory) -> Any:
    kind = p.kind.decode()
    if p.pointer:
        target = ctypes.c_uint64.from_address(address).value
        if not target:
            return None
        rest = memory.view(target)
        dtype = np.dtype(np.uint8 if kind == "V" else "bool" if kind == "b" else f"{kind}{p.size}")
        return rest[: rest.size // dtype.itemsize * dtype.itemsize].view(dtype)
    if kind == "V" or p.lanes > 1:
        raise Failure(INVALID_VALUE, "the fake driver takes no structs")
    dtype = np.dtype("bool" if kind == "b" else f"{kind}{p.size}")
    value = np.frombuffer(ctypes.string_at(address, p.size), dtype)[0]
    return bool(value) if kind == "b" else value


def from_file(path: str) -> Image:
    """A fatbin of the package's own kernels."""
    from onnxlrp.engines.cuda.kernels import build

    if Path(path).name != build.fatbin_name():
        raise Failure(INVALID_VALUE, f"{path} is not the fatbin of these sources")
    code = Path(path).read_bytes()
    if code[:4] not in (b"\x50\xed\x55\xba", b"\x7fELF"):
        raise Failure(INVALID_VALUE, f"{path} is neither a fatbin nor a cubin")
    return _own(b"")  # its parts are compressed


def from_memory(address: int) -> Image:
    """What NVRTC made: CuPy's cache has the source beside it."""
    code, source = _cached(address)
    from onnxlrp.engines.cuda.runtime import emulated

    if '#line 1 "all.cuh"' in source:
        return _own(code)
    path = emulated.library(source)
    return Image(code, emulated.extension().load(str(path)), str(path), "cuda_on_cpu_table")


def _own(code: bytes) -> Image:
    from onnxlrp.engines.cuda.kernels import build
    from onnxlrp.engines.cuda.runtime import emulated

    made = emulated.extension()
    if made.kernels_digest == build.kernels_digest():
        return Image(code, made.builtin, made.__file__, "onnxlrp_kernels")
    path = emulated.library(build.source())
    return Image(code, made.load(str(path)), str(path), "cuda_on_cpu_table")


def _cached(address: int) -> tuple[bytes, str]:
    """The image that CuPy has just compiled or found, and its source: its cache has both."""
    head = ctypes.string_at(address, _HEAD)
    for path in Path(os.environ["CUPY_CACHE_DIR"]).glob("*.cubin"):
        with path.open("rb") as file:
            file.seek(_DIGEST)
            code = file.read(_HEAD)
            if code != head:  # which tells where the sections end: the sizes are the same
                continue
            code += file.read()
        if ctypes.string_at(address, len(code)) == code:
            return code, _written(path.with_name(path.name + ".cu"))
    raise Failure(INVALID_VALUE, "the image is not of CuPy's cache")


def _written(path: Path) -> str:
    """The source, which CuPy writes after the image: another process may be about to."""
    for _ in range(100):
        text = path.read_text("utf-8") if path.is_file() else ""
        if text.count("{") == text.count("}") > 0:
            return text
        time.sleep(0.05)
    raise Failure(INVALID_VALUE, f"{path} is not whole")


_HEAD, _DIGEST = 64, 40  # bytes: of a 64-bit ELF file, and what CuPy puts before it
