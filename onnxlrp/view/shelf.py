"""The samples that the page can choose: files that the command names, and what is dropped on the page."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from ..errors import InputError, OnnxLrpError, UsageError
from ..inputs.text import Text
from ..model import Model
from ..preprocessing import images, tables
from ..preprocessing.samples import TEXTS, Encoded, Samples, decoded
from ..streaming.archives import Member
from ..streaming.sources import Item

KEPT, KEPT_BYTES = 32, 256 << 20  # samples that were dropped; the oldest are let go
_THUMBNAILS = 512
_SIDE = 112


class Dropped(NamedTuple):
    """A sample that was dropped on the page, or typed.

    Attributes:
        name: The name of its file; of a text its beginning.
        data: The bytes of the file, which a picture takes less room in than decoded.
        text: The text that was typed; None for a file.
    """

    name: str
    data: bytes = b""
    text: str | None = None

    def content(self) -> Any:
        """Return what `Model.read` takes."""
        return Text(self.text) if self.text is not None else self.encoded()

    def encoded(self) -> Encoded:
        """Return the bytes of the file."""
        return Encoded(self.data, self.name, Path(self.name).stem, self.name)


class Shelf:
    """Samples by their ids: "0", "1", … of files, "d0", "d1", … of what was dropped.

    Args:
        items: The files, in order.
    """

    def __init__(self, items: Sequence[Item] = ()) -> None:
        self.items = list(items)
        self._dropped: OrderedDict[str, Dropped] = OrderedDict()
        self._count = 0
        self._lock = Lock()
        self._pictures: OrderedDict[tuple[str, int], bytes | None] = OrderedDict()

    def listed(self, start: int, count: int) -> dict[str, Any]:
        """Return some of the samples for a list.

        Args:
            start: The number of the first file; what was dropped stands before all files.
            count: The most files.
        """
        with self._lock:
            dropped = [
                _entry(key, one.name, one.name, _is_picture(one)) for key, one in reversed(self._dropped.items())
            ]
        part = self.items[start : start + count]
        files = [_entry(str(n), item.name, item.origin, _is_picture(item)) for n, item in enumerate(part, start)]
        return {"dropped": dropped, "files": files, "start": start, "count": len(self.items)}

    def drop(self, name: str, data: bytes) -> str:
        """Take a file that was dropped on the page, and return its id.

        Args:
            name: Its name.
            data: Its bytes.

        Raises:
            InputError: It is no picture, .npy array, .csv table or text, or is damaged.
            UnsupportedError: It is a .parquet file.
        """
        name = Path(name.replace("\\", "/")).name[:200] or "picture"
        if Path(name).suffix.lower() == ".parquet":
            raise InputError(f"{name}: .parquet files are not taken here", "name it behind the model: onnxlrp view")
        made = Dropped(name, data)
        decoded(made.encoded(), whole_texts=True)  # what is damaged is refused now
        return self._keep(made)

    def type(self, text: str) -> str:
        """Take a text that was typed, and return its id. Raises InputError for an empty one."""
        if not text.strip():
            raise InputError("the text is empty", "type some words")
        return self._keep(Dropped(text.strip()[:40], text=text.strip()))

    def read(self, key: str, model: Model) -> Samples:
        """Return a sample as a model takes it; of a table or a batch all rows. Raises InputError, UnsupportedError."""
        found = self.find(key)
        return found.read(model) if isinstance(found, Item) else model.read(found.content())

    def find(self, key: str) -> Item | Dropped:
        """Return the file or what was dropped. Raises UsageError for an id that is none."""
        with self._lock:
            if key in self._dropped:
                return self._dropped[key]
        if key.isascii() and key.isdecimal() and len(key) < 12 and int(key) < len(self.items):
            return self.items[int(key)]
        raise UsageError(f'there is no sample "{key[:40]}"', "choose another, or drop it again")

    def stamp(self, key: str) -> int:
        """Return when the file of a sample was changed last, 0 for what is no file. Raises UsageError."""
        found = self.find(key)
        path = found.path if isinstance(found, Item) else None
        try:
            return 0 if path is None else path.stat().st_mtime_ns
        except OSError:  # said when it is read
            return 0

    def thumbnail(self, key: str) -> bytes | None:
        """Return a small JPEG of a sample; None for one that is no picture."""
        found, place = self.find(key), (key, self.stamp(key))
        with self._lock:
            if place in self._pictures:
                return self._pictures[place]
        try:
            made = _small(_picture(found))
        except OnnxLrpError:  # said when it is explained
            made = None
        with self._lock:
            self._pictures[place] = made
            while len(self._pictures) > _THUMBNAILS:
                self._pictures.popitem(last=False)
        return made

    def _keep(self, one: Dropped) -> str:
        with self._lock:
            key = f"d{self._count}"
            self._count += 1
            self._dropped[key] = one
            sizes = [len(one.data) for one in self._dropped.values()]
            while len(self._dropped) > KEPT or (sum(sizes) > KEPT_BYTES and len(self._dropped) > 1):
                sizes.pop(0)
                self._dropped.popitem(last=False)
        return key


def _entry(key: str, name: str, origin: str, picture: bool) -> dict[str, Any]:
    return {"id": key, "name": name, "origin": origin, "picture": picture}


def _is_picture(found: Item | Dropped) -> bool:
    """Return whether a sample is a picture, by its name."""
    if isinstance(found, Dropped):
        return found.text is None and _is_picture_name(found.name)
    return found.path is not None and _is_picture_name(found.origin)


def _is_picture_name(name: str) -> bool:
    return Path(name).suffix.lower() not in {".npy", *tables.SUFFIXES, *TEXTS}


def _picture(found: Item | Dropped) -> Any:
    """The picture of a sample; None for one that is none."""
    if not _is_picture(found):
        return None
    inside = found if isinstance(found, Dropped) else found.content
    if isinstance(inside, Dropped | Member):
        content = decoded(inside.encoded())[0].content
    else:
        content = images.open_image(inside)
    return content if hasattr(content, "getbands") else None


def _small(picture: Any) -> bytes | None:
    if picture is None:
        return None
    small = images.rgb(picture)
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
