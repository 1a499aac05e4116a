"""The folder of entries: bounded, safe for processes at once, and checked whenever an entry is taken from it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..graph.reading import memory_limit
from ..registry import has_foreign
from .later import finish, is_left

log = logging.getLogger("onnxlrp")

FOLDER, SIZE = "ONNXLRP_CACHE", "ONNXLRP_CACHE_SIZE"  # variables of the environment
OFF = "off"
LIMIT = "2G"
_FORMAT = "1"  # of entries; others are no entries
_LISTING = "entry.json"
_KEY = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"\.[0-9a-f]{16}\.part")
_SMALL = 1 << 20  # bytes up to which a file is known by its hash
_MOST = 4  # entries that one process writes: a run of many methods does not fill the disk with them
_ABANDONED = 3600  # seconds after which what a process has begun to write is given up


class Usage(NamedTuple):
    """What a cache holds.

    Attributes:
        folder: Where it is; None where there is none.
        entries: The number of entries.
        bytes: Their size.
        limit: The size that it may have.
        why: Why there is none, or why it cannot be used; else "".
    """

    folder: Path | None
    entries: int
    bytes: int
    limit: int
    why: str = ""


class Store:
    """Entries in a folder: each is a folder of files, called by the digest of what it was made from.

    An entry is written under another name and renamed when it is whole. One that is damaged is removed, and made again.
    When entries take more than the limit, those go that were used least recently.

    Args:
        folder: The folder; it is made, for this user alone, when the first entry is written.
        limit: Bytes that all entries may take.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._left = _MOST

    def get(self, key: str) -> Path | None:
        """Return the folder of an entry, and note that it is used; None where there is none, or it is damaged.

        Args:
            key: The digest of what it is made from.
        """
        if is_left(key):
            finish()
        place = self.folder / key
        try:
            if not place.is_dir() or (why := self.unsafe()):
                return None
            listing = json.loads((place / _LISTING).read_text(encoding="utf-8"))
            whole = listing["format"] == _FORMAT and all(
                _known(place / name) == known for name, known in listing["files"].items()
            )
            if whole:
                os.utime(place / _LISTING)
                return place
            why = "it does not have the content that was written"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = str(error)
        log.info("cache: the entry %s is damaged, and removed: %s", key[:12], why)
        self.remove(key)
        return None

    def put(self, key: str, write: Callable[[Path], None], expected: int = 0) -> bool:
        """Write an entry, in the place of an old one; return whether it is there.

        What the disk or the limit does not allow is no error: the entry is left out.

        Args:
            key: The digest of what it is made from.
            write: Writes its files into a folder.
            expected: Bytes that it will have at least: more than the limit, or than half of what the disk has free, is
                not begun.
        """
        part = self.begin(expected)
        return part is not None and self.complete(key, part, write)

    def begin(self, expected: int = 0) -> Path | None:
        """Return a folder for the files of an entry, which `complete` makes one and `drop` removes.

        Args:
            expected: As of `put`.

        Returns:
            The folder; None where the disk or the limit does not allow another entry.
        """
        if not self._left:
            log.info("cache: this run has kept %d entries, and keeps no more", _MOST)
            return None
        self._left -= 1
        # Their code may be anywhere. What was kept without them stays right: they add, and replace nothing.
        if has_foreign():
            log.info("cache: nothing is kept beside what other packages register")
            return None
        if expected > self.limit:
            log.info("cache: an entry of %s is left out (%s limits it)", memory_limit.size(expected), SIZE)
            return None
        part = self.folder / f".{os.urandom(8).hex()}.part"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if why := self.unsafe():
                log.info("cache: %s", why)
                return None
            if expected > shutil.disk_usage(self.folder).free // 2:
                log.info("cache: an entry of %s is left out: the disk is full", memory_limit.size(expected))
                return None
            part.mkdir(mode=0o700)
        except OSError as error:
            log.info("cache: an entry cannot be written: %s", error)
            return None
        return part

    def complete(self, key: str, part: Path, write: Callable[[Path], None] = lambda folder: None) -> bool:
        """Make what was begun an entry, in the place of an old one; return whether it is there.

        Args:
            key: The digest of what it is made from.
            part: What `begin` returned.
            write: Writes the files that are missing into the folder.
        """
        try:
            write(part)
            files = {file.name: _known(file) for file in sorted(part.iterdir())}
            listing = json.dumps({"format": _FORMAT, "files": files})
            (part / _LISTING).write_text(listing, encoding="utf-8")
            if _size(part) > self.limit:
                log.info("cache: an entry of %s is left out (%s limits it)", memory_limit.size(_size(part)), SIZE)
                return False
            if (self.folder / key).exists():
                self.remove(key)
            with contextlib.suppress(OSError):  # another process has written the same at the same time
                part.rename(self.folder / key)
            self._shrink(key)
            return (self.folder / key).is_dir()
        except OSError as error:
            log.info("cache: an entry cannot be written: %s", error)
            return False
        finally:
            self.drop(part)

    def drop(self, part: Path) -> None:
        """Remove what was begun."""
        shutil.rmtree(part, ignore_errors=True)

    def remove(self, key: str) -> None:
        """Remove an entry; what processes have open of it they keep."""
        part = self.folder / f".{os.urandom(8).hex()}.part"
        with contextlib.suppress(OSError):
            (self.folder / key).rename(part)
            shutil.rmtree(part, ignore_errors=True)

    def clear(self) -> Usage:
        """Remove all entries, and return what there was."""
        before = self.usage()
        for place in self._entries():
            self.remove(place.name)
        for part in self._parts():
            shutil.rmtree(part, ignore_errors=True)
        return before

    def usage(self) -> Usage:
        """Return where the cache is and what it holds."""
        sizes = [_size(place) for place in self._entries()]
        return Usage(self.folder, len(sizes), sum(sizes), self.limit, self.unsafe() if self.folder.exists() else "")

    def unsafe(self) -> str:
        """Return why the folder cannot be trusted: entries are code to whoever reads them; "" where it can."""
        if not hasattr(os, "getuid"):
            return ""
        status = self.folder.stat()
        if status.st_uid != os.getuid():
            return f"{self.folder} is not used: it belongs to another user"
        if status.st_mode & 0o022:
            return f"{self.folder} is not used: others may write there (chmod go-w '{self.folder}')"
        return ""

    def _entries(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return [place for place in self.folder.iterdir() if _KEY.fullmatch(place.name)]
        return []

    def _parts(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return [place for place in self.folder.iterdir() if _PART.fullmatch(place.name)]
        return []

    def _shrink(self, kept: str) -> None:
        """Remove entries, the least recently used first, until they fit; and what was never finished."""
        sizes = {place: _size(place) for place in self._entries()}
        total = sum(sizes.values())
        for place in sorted(sizes, key=_used):
            if total <= self.limit:
                break
            if place.name != kept:
                self.remove(place.name)
                total -= sizes[place]
        for part in self._parts():
            with contextlib.suppress(OSError):
                if part.stat().st_mtime < time.time() - _ABANDONED:
                    shutil.rmtree(part, ignore_errors=True)


def _known(file: Path) -> list[int | str]:
    """Return what a file is known by: its size, and a hash, or of a large one the sum of its words of 8 bytes.

    The sum tells a file that was cut off or has holes, in a thirtieth of the time of a hash; who may change files
    deliberately is kept out by the rights of the folder.
    """
    size = file.stat().st_size
    if size <= _SMALL:
        return [size, hashlib.sha256(file.read_bytes()).hexdigest()]
    words = np.memmap(file, np.uint64, "r", shape=(size // 8,))
    total = int(np.add.reduce(words))
    with file.open("rb") as rest:
        rest.seek(size // 8 * 8)
        return [size, f"{total:x}.{rest.read().hex()}"]


def _size(place: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in place.iterdir())
    return 0


def _used(place: Path) -> float:
    with contextlib.suppress(OSError):
        return (place / _LISTING).stat().st_mtime
    return 0.0


def of_environment() -> Store | None:
    """Return the cache that the environment names, by default the user's own; None where it is off.

    Raises:
        UsageError: ONNXLRP_CACHE_SIZE is no size.
    """
    said = os.environ.get(FOLDER, "")
    if said.lower() == OFF:
        return None
    words = os.environ.get(SIZE) or LIMIT
    try:
        limit = memory_limit.limit(words)
    except UsageError:
        raise UsageError(f'{SIZE}="{words}" is no size', f"write it as in {SIZE}=8G") from None
    folder = Path(said).expanduser() if said else _own_folder()
    return None if folder is None else Store(folder, limit)


def _own_folder() -> Path | None:
    """The folder for caches of this system's user; None where there is no home."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "onnxlrp" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "onnxlrp"
    stated = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(stated) if os.path.isabs(stated) else home / ".cache") / "onnxlrp"
