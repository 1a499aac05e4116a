"""Read and write files: refuse unreadable ones with the fix, and never leave half a file behind."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import InputError, UsageError

AGAIN = "fetch or export the file again"
TEMPORARY = f".{'[0-9a-f]' * 16}.tmp"
"""The names, as a glob, of files that are not written to their end: a process that is killed leaves one."""
_SHOWN = 200  # characters of what an identity says
_LFS = b"version https://git-lfs.github.com/spec/"


def check(path: Path) -> None:
    """Raise InputError unless the path is a readable regular file that is neither empty nor a Git LFS pointer."""
    try:
        if path.is_dir():
            raise InputError(f"{path}: a folder, not a file", f"give a file, such as {path}{os.sep}NAME")
        if not path.exists():
            raise InputError(f"{path}: no such file", "check the path")
        if not path.is_file():
            raise InputError(f"{path}: not a regular file", "give a file on disk")
        with path.open("rb") as file:
            head = file.read(len(_LFS))
    except PermissionError:
        raise InputError(f"{path}: no permission to read it", f"chmod +r '{path}'") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})", "check the path") from None
    if not head:
        raise InputError(f"{path}: empty (0 bytes)", AGAIN)
    if head == _LFS:
        raise InputError(f"{path}: a Git LFS pointer, not the file itself", f"git lfs pull --include '{path.name}'")


def listed(folder: Path, suffixes: Collection[str], recursive: bool) -> list[Path]:
    """Return the files of a folder with some suffixes by name, without hidden ones.

    Args:
        folder: The folder.
        suffixes: The suffixes in lower case, such as ".png".
        recursive: Also list those of all folders below it, but for hidden ones; links to folders are not followed.

    Raises:
        InputError: A folder cannot be listed.
    """
    try:
        # Names are ordered, not paths: one that was compared keeps its parts a second time.
        names = sorted((name for name in os.listdir(folder) if not name.startswith(".")), key=os.path.normcase)
        found = []
        for entry in map(folder.joinpath, names):
            if entry.suffix.lower() in suffixes and entry.is_file():
                found.append(entry)
            elif recursive and entry.is_dir() and not entry.is_symlink():
                found += listed(entry, suffixes, recursive)
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({reason(error)})", "check the path") from None
    return found


def read_text(path: Path, most: int) -> str:
    """Return the text of a regular file, at most `most` bytes of UTF-8; a byte order mark is dropped.

    Raises:
        OSError: It cannot be read, is longer, or is a pipe, which may never answer, or a device, which may never end.
        UnicodeDecodeError: It is no UTF-8.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        data = file.read(most + 1) if status.st_size <= most else b""
    if max(len(data), status.st_size) > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MiB")
    return data.decode("utf-8-sig")


def replace(path: str | Path, data: bytes | Iterable[bytes | memoryview]) -> Path:
    """Write a file under a temporary name in its folder, which is made if need be, then rename it.

    Args:
        path: The file.
        data: Its bytes, whole or in pieces.

    Returns:
        The file.

    Raises:
        InputError: The file cannot be written.
    """
    path = Path(path)
    temporary = ""
    try:
        if path.is_dir():
            raise InputError(
                f"{path}: a folder, not a file name", f"give a file name, such as {path}{os.sep}heatmap.png"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = str(path.with_name(f".{os.urandom(8).hex()}.tmp"))
        with open(temporary, "xb") as file:  # with the mode of any new file, which mkstemp would make private
            for piece in [data] if isinstance(data, bytes) else data:
                file.write(piece)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written ({reason(error)})", "choose another file with -o") from None
        raise
    return path


def reason(error: BaseException) -> str:
    """Return the first line of an error, cut to fit into brackets."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:120]


def to_jsonable(value: Any) -> Any:
    """Convert a value to JSON's types.

    Arrays and numpy's scalars become lists and Python's numbers, NaN and infinity null, keys text; anything that JSON
    has no type for (a path, a rule) becomes its text.
    """
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's, which is not imported for this
        return to_jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def unique_names(names: Iterable[str], written: Callable[[str], str] = str) -> list[str]:
    """Return the names with -2, -3, … appended where they repeat, as they are or as they are written."""
    taken: set[str] = set()
    made = []
    for name in names:
        unique, n = name, 1
        while written(unique) in taken:
            n += 1
            unique = f"{name}-{n}"
        taken.add(written(unique))
        made.append(unique)
    return made


def refuse_other(path: Path, before: Mapping[str, Any], now: Mapping[str, Any], fix: str) -> None:
    """Raise UsageError where a file or folder was made by another run than one that would go on with it.

    Args:
        path: The file or folder.
        before: The identity of the run that made it, as JSON gives it back.
        now: That of the run that would go on.
        fix: What to do where they differ.
    """
    wanted = to_jsonable(now)
    for key in {**before, **wanted}:
        if before.get(key) != wanted.get(key):
            was, is_now = _short(before.get(key)), _short(wanted.get(key))
            raise UsageError(f"{path}: made with another {key}: {was}, now {is_now}", fix)


def _short(value: Any) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "…"
