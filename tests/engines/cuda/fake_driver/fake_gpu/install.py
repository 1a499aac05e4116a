"""Put the fake GPU where CuPy looks for one.

CuPy loads libcuda.so.1 by ctypes, which we answer. CUDA's runtime is linked into one of its modules: there the entry
of each function that we have is overwritten by a jump, found by the names that the wheel keeps. No instruction of
CUDA's runs.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.machinery
import importlib.util
import mmap
import os
import platform
import struct
import sys
import types
from pathlib import Path
from typing import Any

RUNTIME = "cupy_backends.cuda.api.runtime"


def absent() -> str:
    """Why this machine cannot have it; "" where it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the fake driver is for Linux on x86-64"
    spec = importlib.util.find_spec("cupy_backends")
    if spec is None or not spec.submodule_search_locations:
        return "CuPy is not installed"
    found = list(Path(*spec.submodule_search_locations).glob("cuda/api/runtime.*.so"))
    if not found or "cudaMalloc" not in symbols(found[0]):
        return "this build of CuPy keeps no names of CUDA's runtime"
    return ""


def install() -> None:
    """From here on CuPy finds one H100 with 8 GiB of memory."""
    from onnxlrp.engines.cuda.kernels import build

    folder = build.cache() / "fake_driver"
    folder.mkdir(parents=True, exist_ok=True)
    # The source beside each cubin tells which kernels an image has.
    os.environ |= {"CUPY_CACHE_DIR": str(folder), "CUPY_CACHE_SAVE_CUDA_SOURCE": "1"}
    ctypes.CDLL = _library(ctypes.CDLL)  # type: ignore[misc, assignment]
    sys.meta_path.insert(0, _Finder())


def _library(real: Any) -> Any:
    class Library(real):  # type: ignore[misc]
        """ctypes.CDLL, but for the driver's name."""

        def __new__(cls, name: Any = None, *given: Any, **how: Any) -> Any:
            if name == "libcuda.so.1":
                from .driver import TABLE

                return _answered(TABLE)
            if Path(name or "").name.startswith("cublas.cpython"):  # CuPy's module, for what it is linked to
                from .blas import TABLE

                there = real(name)
                return _answered({key: call for key, call in TABLE.items() if hasattr(there, key)})
            return super().__new__(cls)

    return Library


def _answered(table: dict[str, Any]) -> Any:
    return types.SimpleNamespace(**{key: type(call)(_stubs().add(call)) for key, call in table.items()})


class _Finder:
    """Patches CuPy's module of runtime calls when it is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != RUNTIME:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.loader is not None
        run = spec.loader.exec_module

        def patched(module: types.ModuleType) -> None:
            _patch(Path(str(module.__file__)))
            run(module)

        spec.loader.exec_module = patched  # type: ignore[method-assign]
        return spec


def _patch(path: Path) -> None:
    from .runtime import TABLE

    base, there = _base(path), symbols(path)
    for name, call in TABLE.items():
        offset, size = there[name]
        jump = _jump(_stubs().add(call))
        assert size >= len(jump), name
        _write(base + offset, jump)


def _jump(target: int) -> bytes:
    return b"\x49\xbb" + struct.pack("<Q", target) + b"\x41\xff\xe3"  # mov r11, target; jmp r11


_SUCCEED = b"\x31\xc0\xc3"  # xor eax, eax; ret


class _Stubs:
    """Jumps to our functions. CuPy frees what it holds when Python is gone: from then on they give success."""

    EACH = 16

    def __init__(self, room: int = 16 << 10) -> None:
        self._page, self._count = mmap.mmap(-1, room, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC), 0
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        atexit.register(self._end)

    def add(self, call: Any) -> int:
        target = ctypes.cast(call, ctypes.c_void_p).value
        assert target is not None
        at = self._count * self.EACH
        self._count += 1
        self._page[at : at + self.EACH] = _jump(target).ljust(self.EACH, b"\xcc")
        return self._start + at

    def _end(self) -> None:
        for at in range(0, self._count * self.EACH, self.EACH):
            self._page[at : at + len(_SUCCEED)] = _SUCCEED


@functools.cache
def _stubs() -> _Stubs:
    return _Stubs()


def _write(address: int, code: bytes) -> None:
    page = mmap.PAGESIZE
    start = address // page * page
    length = -(-(address + len(code) - start) // page) * page
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for rights in (mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_EXEC):
        if protect(start, length, rights):
            raise OSError(ctypes.get_errno(), "mprotect")
        if rights & mmap.PROT_WRITE:
            ctypes.memmove(address, code, len(code))


def _base(path: Path) -> int:
    """Where a library that is loaded begins."""
    real = str(path.resolve())
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(real):
            return int(line.split("-")[0], 16)
    raise RuntimeError(f"{real} is not loaded")


def symbols(path: Path) -> dict[str, tuple[int, int]]:
    """Address and size of the functions in the symbol table of a 64-bit ELF file; none where it was stripped."""
    raw = path.read_bytes()
    sections, each, count = struct.unpack_from("<Q", raw, 40)[0], *struct.unpack_from("<HH", raw, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", raw, sections + n * each) for n in range(count)]
    found = {}
    for _, kind, _, _, offset, size, link, *_ in headers:
        if kind != 2:  # SHT_SYMTAB
            continue
        names = headers[link][4]
        for at in range(offset, offset + size, 24):
            name, info, _, _, value, length = struct.unpack_from("<IBBHQQ", raw, at)
            if info & 15 == 2 and value:
                end = raw.index(b"\0", names + name)
                found[raw[names + name : end].decode("latin-1")] = (value, length)
    return found
