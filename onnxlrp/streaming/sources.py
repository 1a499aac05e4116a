"""Sources of samples: named items in an order, such as the files of folders and patterns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..errors import InputError, NothingToDo
from ..explanation.names import file_word
from ..files import unique_names
from ..model import Model
from ..preprocessing import images, tables
from ..preprocessing.samples import TEXTS, Samples

READ = images.SUFFIXES | tables.SUFFIXES | {*TEXTS}
_STAMP = b"Software\0onnxlrp"  # in the head of every PNG that a sink writes


class Item(NamedTuple):
    """Something to read, under a name that no other item of its source has.

    Attributes:
        name: Its name; samples of an item that holds several are called NAME.0, NAME.1, …
        content: What `Model.read` takes: a path, a picture or an array.
        name_column: The column of a table that names its rows.
    """

    name: str
    content: Any
    name_column: str | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, for messages: the path of a file, else the name."""
        return str(self.content) if isinstance(self.content, str | Path) else self.name

    def read(self, model: Model) -> Samples:
        """Return its samples as the model takes them. Raises InputError, UnsupportedError."""
        samples = model.read(self.content, *filter(None, [self.name_column]))
        several = [f"{self.name}.{i}" for i in range(len(samples))]
        if self.name_column is not None and samples.columns is not None:
            several = [self.name + name.removeprefix(Path(self.content).stem) for name in samples.names]
            return replace(samples, names=several)
        return replace(samples, names=[self.name] if len(samples) == 1 else several)


class Source(Protocol):
    """Items in an order: a list of them, or a class that finds them."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Item]: ...


@dataclass(frozen=True)
class Files:
    """The files that words name, as items.

    Attributes:
        items: The items in order.
        left_out: Folder → the number of heatmaps of onnxlrp's own in it, which are not read.
    """

    items: Sequence[Item]
    left_out: Mapping[Path, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    @property
    def paths(self) -> list[Path]:
        """The paths in order."""
        return [item.content for item in self.items]

    @property
    def pictures(self) -> list[Path]:
        """The paths of what is read as a picture."""
        return pictures(self.paths)


def pictures(paths: Sequence[Path]) -> list[Path]:
    """Return those of some paths that are read as pictures: no arrays, tables and texts."""
    others = {".npy", *tables.SUFFIXES, *TEXTS}
    return [path for path in paths if path.suffix.lower() not in others]


def files(words: Sequence[str], name_column: str | None = None) -> Files:
    """Find the files to explain, named by their stems (-2, -3 where these repeat, or would as names of files).

    Args:
        words: Files, folders and globs. Of folders and globs, heatmaps of onnxlrp's own are left out.
        name_column: The column of tables that names their rows.

    Raises:
        NothingToDo: A folder or glob without pictures and arrays.
        InputError: A folder that cannot be listed.
    """
    paths: list[Path] = []
    left_out: dict[Path, int] = {}
    for word in words:
        named = expand(word)
        found = [path for path in named if named == [Path(word)] or not _is_heatmap(path)]
        if not found:
            raise NothingToDo(f"{word}: holds nothing but heatmaps", "give the folder of the pictures")
        if len(found) < len(named):
            left_out[Path(word)] = len(named) - len(found)
        paths += found
    names = unique_names((path.stem for path in paths), file_word)
    return Files([Item(name, path, name_column) for name, path in zip(names, paths, strict=True)], left_out)


def expand(word: str, folder: Path = Path()) -> list[Path]:
    """Return the files that a word names: itself, those right in a folder, or those that a glob matches.

    Args:
        word: A path or a glob, relative to `folder`.
        folder: Where the word starts from.

    Raises:
        NothingToDo: A folder or glob without pictures and arrays.
        InputError: A folder that cannot be listed.
    """
    path = folder / word
    if os.path.isdir(path):  # Path.is_dir raises for a name that is too long
        return images.listing(path)
    if os.path.exists(path) or not any(c in word for c in "*?["):
        return [path]
    # An absolute pattern has an anchor, which Path.glob refuses.
    start = Path(path.anchor) if path.is_absolute() else Path()
    found = sorted(p for p in start.glob(str(path.relative_to(start))) if p.suffix.lower() in READ)
    if not found and not any(c in word for c in "*?"):
        return [path]  # the name of a file that is not there
    if not found:
        raise NothingToDo(
            f"{path}: matches no picture, no .npy file, no table and no text", "check the pattern of samples"
        )
    return found


def names_by_folder(paths: Sequence[Path]) -> list[str]:
    """Return the stem of each path, with as many of its folders before it as tell all of them apart.

    Raises:
        InputError: A path that is given twice.
    """
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        made = ["/".join(path.with_suffix("").parts[-depth:]) for path in paths]
        if len(set(made)) == len(made):
            return made
    whole = [str(path) for path in paths]
    for path, name in zip(paths, whole, strict=True):
        if whole.count(name) > 1:
            raise InputError(f"{path} is given twice", "give every sample once")
    return whole


def _is_heatmap(path: Path) -> bool:
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb") as file:
            return _STAMP in file.read(4096)
    except OSError:
        return False
