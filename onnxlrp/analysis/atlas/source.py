"""The pictures of an atlas: files, and folders with a subfolder for each class or without."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import NothingToDo, UsageError
from ...explanation import targets
from ...streaming import sources
from ...streaming.archives import Member
from ...streaming.sources import Item


@dataclass(frozen=True, eq=False)
class Pictures:
    """The items of a run in order, with the folder of each.

    Attributes:
        items: The items.
        folders: The name of the subfolder that each comes from, "" where it lies in none.
        start: The position of the first item that is read.
        left_out: The number of heatmaps of onnxlrp's own that are not read.
    """

    items: Sequence[Item]
    folders: Sequence[str]
    start: int = 0
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.items) - self.start

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items[self.start :])

    def after(self, item: int, sample: int) -> Pictures:
        """Return the same from a sample of an item on."""
        items = [*self.items]
        if sample:
            items[item] = items[item]._replace(start=sample)
        return Pictures(items, self.folders, item, self.left_out)

    @property
    def digest(self) -> str:
        """A hash of the files' names in their order."""
        return hashlib.sha256("\n".join(item.origin for item in self.items).encode()).hexdigest()[:16]

    def classes(self, labels: Sequence[str] | None, count: int) -> list[int]:
        """Return the class that each item's folder names, by id or label.

        Args:
            labels: The class names of the model.
            count: The number of classes.

        Raises:
            UsageError: A folder names no class, or a picture lies in none.
        """
        known: dict[str, int] = {}
        for folder, item in zip(self.folders, self.items, strict=True):
            if folder in known:
                continue
            if not folder:
                raise UsageError(f"{item.origin}: lies in no folder of a class", "leave out --folders, or move it")
            try:
                found = targets.resolve(targets.parse(folder), labels, count)
            except UsageError as error:
                raise UsageError(f'the folder "{folder}" names no class: {error.message}', error.fix) from None
            if found is None:
                raise UsageError(f'the folder "{folder}" names no class', "call it by a class id or label")
            known[folder] = found
        return [known[folder] for folder in self.folders]


def pictures(words: Sequence[str], **how: Any) -> Pictures:
    """Find the pictures that words name, or a list; of a folder those in it, and in its subfolders.

    The folder of a picture is the last before its name, below the folder that is named; in a list or an archive, that
    of the path there.

    Args:
        words: Files, folders, globs and archives.
        **how: As of `streaming.sources.find`.

    Raises:
        NothingToDo: There are none.
        UsageError: As of `streaming.sources.find`.
        InputError: A folder, list or archive that cannot be read.
    """
    if how.get("from_list") is not None or how.get("path_column") is not None or how.get("recursive"):
        found = sources.find(words, **how)
        tops = {str(Path(word)) for word in words}
        folders = [_folder(item, tops) for item in found]
        return Pictures(found.items, folders, 0, sum(found.left_out.values()))
    items: list[Item] = []
    named: list[str] = []
    left_out = 0
    for word in words:
        path = Path(word)
        inner = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")) if path.is_dir() else []
        for place in [path, *inner] if inner else [None]:
            try:
                found = sources.find([word if place is None else str(place)], **how)
            except NothingToDo:
                if place is None:
                    raise
                continue
            folder = "" if place is None or place == path else place.name
            items += [item._replace(name=f"{folder}/{item.name}") if folder else item for item in found]
            named += [_folder(item, {str(path)}) if isinstance(item.content, Member) else folder for item in found]
            left_out += sum(found.left_out.values())
    if not items:
        raise NothingToDo(f"{', '.join(words)}: holds neither pictures nor .npy files", "name another folder")
    return Pictures(items, named, 0, left_out)


def _folder(item: Item, tops: Container[str]) -> str:
    """The last folder before an item's name; "" for one that lies in a folder that was named itself."""
    if isinstance(item.content, Member):
        return PurePosixPath(item.content.name).parent.name
    parent = Path(item.content).parent
    return "" if str(parent) in tops else parent.name
