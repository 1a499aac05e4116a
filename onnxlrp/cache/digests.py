"""Digests of values, by which entries are found: equal values have the same digest in every process."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import numpy as np

PACKAGE = __name__.partition(".")[0]
_LIBRARIES = ("onnx", "onnxruntime", "numpy")
_LARGE = 1 << 23  # bytes that are read at a time: between two of these another thread may hold the interpreter
T = TypeVar("T")


class NoDigest(Exception):
    """A value whose content cannot be told from outside: a function, an object of another package."""


def digest(*values: Any) -> str:
    """Return the digest of values: numbers, text, arrays, containers, classes and dataclasses of this package.

    Objects with a method `cache_key` are what that returns.

    Args:
        *values: The values.

    Raises:
        NoDigest: A value of another kind.
    """
    found = hashlib.sha256()
    _feed(found.update, values)
    return found.hexdigest()


def _feed(update: Callable[[bytes], Any], value: Any) -> None:
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        update(f"{type(value).__name__} {value!r}\n".encode("utf-8", "surrogatepass"))
    elif isinstance(value, np.ndarray | np.generic):
        array = np.ascontiguousarray(value)
        if array.dtype.hasobject:
            update(f"objects {np.shape(value)}\n".encode())
            _feed(update, array.ravel().tolist())
        else:
            update(f"array {array.dtype.name} {array.dtype.str} {np.shape(value)}\n".encode())
            update(array.tobytes())
    elif isinstance(value, type):
        if value.__module__.partition(".")[0] != PACKAGE:
            raise NoDigest(f"the class {value.__qualname__} of {value.__module__}")
        update(f"class {value.__module__}.{value.__qualname__}\n".encode())
    elif hasattr(value, "cache_key"):
        _feed(update, (type(value), value.cache_key()))
    elif isinstance(value, Mapping):
        update(f"mapping {len(value)}\n".encode())
        for key, item in value.items():
            _feed(update, key)
            _feed(update, item)
    elif isinstance(value, tuple | list):
        update(f"sequence {len(value)}\n".encode())
        if type(value) not in (tuple, list):
            _feed(update, type(value))
        for item in value:
            _feed(update, item)
    elif isinstance(value, set | frozenset):
        update(f"set {len(value)}\n".encode())
        for one in sorted(digest(item) for item in value):
            _feed(update, one)
    elif hasattr(value, "__dataclass_fields__"):
        _feed(update, (type(value), *((name, getattr(value, name)) for name in value.__dataclass_fields__)))
    else:
        raise NoDigest(f"a {type(value).__name__}")


def of_file(path: Path) -> str:
    """Return the SHA-256 of a regular file.

    Raises:
        OSError: It cannot be read.
    """
    found = hashlib.sha256()
    if not path.is_file():  # a pipe would wait for ever
        raise OSError(f"{path} is no regular file")
    with path.open("rb") as file:
        while block := file.read(_LARGE):
            found.update(block)
    return found.hexdigest()


def of_file_beside(path: Path, work: Callable[[], T]) -> tuple[str, T]:
    """Return the SHA-256 of a file, found in a thread of its own, and what work returns that is done meanwhile.

    Args:
        path: The file.
        work: The work; what it raises is raised.

    Raises:
        OSError: The file cannot be read.
    """
    found: list[str | Exception] = []

    def run() -> None:
        try:
            found.append(of_file(path))
        except Exception as error:
            found.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        result = work()
    finally:
        thread.join()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0], result


@cache
def surroundings() -> str:
    """Return the digest of what entries depend on besides model and method: code, libraries, processor.

    The code is known by the names, sizes and times of its files, so that a changed checkout of one version is another;
    the processor by its features, by which onnxruntime chooses the size of blocks.
    """
    libraries = [(name, *_library(name)) for name in _LIBRARIES]
    machine = (sys.version, sys.byteorder, platform.system(), platform.machine(), _features())
    return digest(_code(), libraries, machine)


def _code() -> str:
    """Return the path, size and time of every source file of the package, one a line."""
    found, left = [], [str(Path(__file__).parents[1])]
    while left:
        with os.scandir(left.pop()) as entries:  # which knows most of what walking the folders and `stat` would ask
            for entry in entries:
                if entry.name.endswith(".py"):
                    found.append(f"{entry.path} {_stamp(entry)}")
                elif entry.name != "__pycache__" and entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
    return "\n".join(sorted(found))


def _stamp(file: Path | os.DirEntry[str]) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _library(name: str) -> tuple[Any, ...]:
    """Where a library is, and when it was installed: its version, without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return ()
    files = (Path(spec.origin), Path(spec.origin).with_name("version.py"))
    return (spec.origin, *(_stamp(file) for file in files if file.exists()))


def _features() -> str:
    """Return the features of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.processor()} {platform.version()}"
    changing = ("processor", "cpu MHz", "bogomips", "core id", "apicid", "initial apicid", "BogoMIPS")
    return "\n".join(line for line in lines if line.partition(":")[0].strip() not in changing)
