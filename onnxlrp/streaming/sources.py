"""Sources of samples: named items in an order, such as the files of folders, patterns, lists and archives."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, overload

from ..errors import InputError, NothingToDo, UsageError
from ..explanation.names import file_path
from ..files import check, read_text, reason, unique_names
from ..model import Model
from ..preprocessing import images, tables
from ..preprocessing.samples import TEXTS, Samples
from .archives import SUFFIX, Member, is_archive, members

READ = images.SUFFIXES | tables.SUFFIXES | {*TEXTS, SUFFIX}
_LONGEST_LIST = 1 << 30
_STAMP = b"Software\0onnxlrp"  # in the head of every PNG that a sink writes


class Item(NamedTuple):
    """Something to read, under a name that no other item of its source has.

    Attributes:
        name: Its name, with the folders before it that its files get too; samples of an item that holds several are
            called NAME.0, NAME.1, …
        content: What `Model.read` takes: a path, a picture or an array; or a member of an archive.
        name_column: The column of a table that names its rows.
        start: The first sample that is read: those before it are done.
        stop: The first sample that is not read any more; None for all.
    """

    name: str
    content: Any
    name_column: str | None = None
    start: int = 0
    stop: int | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, for messages: the path of a file, else the name."""
        return str(self.content) if isinstance(self.content, str | Path | Member) else self.name

    @property
    def path(self) -> Path | None:
        """The file that it lies in, None for what comes from none."""
        if isinstance(self.content, Member):
            return self.content.archive
        return Path(self.content) if isinstance(self.content, str | Path) else None

    @property
    def size(self) -> int:
        """The number of its bytes in a file; 0 for what is in memory or not there."""
        if isinstance(self.content, Member):
            return self.content.length
        with contextlib.suppress(OSError, ValueError):
            return os.path.getsize(self.content) if isinstance(self.content, str | Path) else 0
        return 0

    def digest(self) -> str:
        """Return the SHA-256 of its bytes; "" for what is no file, or cannot be read."""
        if isinstance(self.content, Member):
            with contextlib.suppress(InputError):
                return hashlib.sha256(self.content.data()).hexdigest()
        with contextlib.suppress(OSError, ValueError):
            if isinstance(self.content, str | Path):
                with open(self.content, "rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()
        return ""

    def read(self, model: Model) -> Samples:
        """Return its samples as the model takes them, from `start` to `stop`. Raises InputError, UnsupportedError."""
        samples = self._whole(model)
        return samples[self.start : self.stop] if self.start or self.stop is not None else samples

    def _whole(self, model: Model) -> Samples:
        content = self.content.encoded() if isinstance(self.content, Member) else self.content
        try:
            samples = model.read(content, *filter(None, [self.name_column]))
        except InputError as error:
            if self.origin in error.message:
                raise
            raise InputError(f"{self.origin}: {error.message}", error.fix, error.command) from None
        several = [f"{self.name}.{i}" for i in range(len(samples))]
        if self.name_column is not None and samples.columns is not None:
            rows = [name.removeprefix(Path(self.content).stem).replace("/", "_") for name in samples.names]
            several = [self.name + row for row in rows]
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
        """The files in order, an archive once for each of its members."""
        return [path for item in self.items if (path := item.path) is not None]

    @property
    def pictures(self) -> list[Path]:
        """The paths of what is read as a picture."""
        return pictures(self.paths)

    def compact(self) -> Files:
        """Return the same files in little memory: each item is made when it is asked for, and is another each time."""
        if all(isinstance(item.content, Path) and (item.start, item.stop) == (0, None) for item in self):
            return replace(self, items=_Compact(self.items))
        return self


T = TypeVar("T")


class MadeOnDemand(Sequence[T]):
    """A sequence whose elements are made when they are asked for, by `_made`; a slice is a list of them."""

    @abstractmethod
    def _made(self, n: int) -> T:
        """Return element n, 0 ≤ n < len."""

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        chosen = range(len(self))[index]
        return [self._made(n) for n in chosen] if isinstance(chosen, range) else self._made(chosen)


class _Compact(MadeOnDemand[Item]):
    """Items of files, whose names and paths are kept as one text."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._ends, self._text = array("Q", [0]), bytearray()
        for item in items:
            for part in (item.name, str(item.content)):
                self._text += os.fsencode(part)
                self._ends.append(len(self._text))
        self._name_column = items[0].name_column if items else None

    def __len__(self) -> int:
        return len(self._ends) // 2

    def _made(self, n: int) -> Item:
        first, middle, last = self._ends[2 * n : 2 * n + 3]
        name, path = (os.fsdecode(bytes(self._text[a:b])) for a, b in ((first, middle), (middle, last)))
        return Item(name, Path(path), self._name_column)


@dataclass(frozen=True)
class Paths:
    """The files of a source and some others, found anew each time that they are gone through.

    Attributes:
        source: The source.
        others: The others.
    """

    source: Files
    others: Sequence[Path] = ()

    def __iter__(self) -> Iterator[Path]:
        yield from (path for item in self.source if (path := item.path) is not None)
        yield from self.others


def pictures(paths: Sequence[Path]) -> list[Path]:
    """Return those of some paths that are read as pictures: no arrays, tables and texts."""
    others = {".npy", *tables.SUFFIXES, *TEXTS}
    return [path for path in paths if path.suffix.lower() not in others]


def find(
    words: Sequence[str] = (),
    from_list: str | None = None,
    path_column: str | None = None,
    name_column: str | None = None,
    recursive: bool = False,
    folder: Path = Path(),
    by_folder: bool = False,
) -> Files:
    """Find the samples of a command: those that words name, or a list of them.

    Args:
        words: As of `files`.
        from_list: As of `listed`, in the place of words.
        path_column: The column of paths of the list.
        name_column: As of `files`.
        recursive: As of `files`.
        folder: As of `files`.
        by_folder: As of `files`.

    Raises:
        UsageError: Words beside a list, a column without one, or no such column.
        InputError: A folder, list or archive that cannot be read.
        NothingToDo: There is nothing to read.
    """
    if from_list is not None and words:
        raise UsageError(f"--from-list {from_list} beside {words[0]}", "give the inputs or a list of them")
    if from_list is not None:
        return listed(from_list if from_list == "-" else str(folder / from_list), path_column, name_column, by_folder)
    if path_column is not None:
        raise UsageError(f"--path-column {path_column} without a list", "name the list of paths: --from-list FILE.csv")
    return files(words, name_column, recursive, folder, by_folder)


def files(
    words: Sequence[str],
    name_column: str | None = None,
    recursive: bool = False,
    folder: Path = Path(),
    by_folder: bool = False,
) -> Files:
    """Find the files that words name, called by their stems.

    Args:
        words: Files, folders, globs and archives. Of folders and globs, heatmaps of onnxlrp's own are left out.
        name_column: The column of tables that names their rows.
        recursive: Folders with all below them; a file is then named with the folders before it.
        folder: What words are relative to.
        by_folder: Where stems repeat, names tell files apart by the folders before them, as masks and baselines do;
            else by numbers, -2, -3, as names of files.

    Raises:
        NothingToDo: A folder, glob or archive without pictures and arrays.
        InputError: A folder or archive that cannot be read; with `by_folder` a file that is given twice.
    """
    found: list[tuple[str, Path | Member]] = []
    left_out: dict[Path, int] = {}
    for word in words:
        named, top = expand(word, folder, recursive=recursive), folder / word
        kept = [path for path in named if named == [top] or not _is_heatmap(path)]
        if not kept:
            raise NothingToDo(f"{word}: holds nothing but heatmaps", "give the folder of the pictures")
        if len(kept) < len(named):
            left_out[top] = len(named) - len(kept)
        for path in kept:
            below = recursive and path != top and path.is_relative_to(top)
            name = path.relative_to(top).with_suffix("").as_posix() if below else path.stem
            found += _members(path) if is_archive(path) else [(name, path)]
    return Files(_items(found, name_column, by_folder), left_out)


def listed(file: str, column: str | None = None, name_column: str | None = None, by_folder: bool = False) -> Files:
    """Return the files whose paths a list holds, each line one, named as of `files`.

    Args:
        file: A text, or a `.csv` or `.parquet` with a column of paths; "-" for the text on standard input. Paths are
            relative to the folder of the list (of standard input, to the current one). Empty lines of a text and those
            that begin with # are left out.
        column: The column of paths; by default the only one.
        name_column: As of `files`.
        by_folder: As of `files`.

    Raises:
        InputError: The list cannot be read, or a row of a table has no path.
        UsageError: There is no such column, or no telling which it is.
        NothingToDo: It holds no path.
    """
    if tables.is_table(file):
        paths = [path.strip() for path in tables.column(file, column)]
        if "" in paths:
            raise InputError(
                f"{file}: row {paths.index('') + 1} has no path ({paths.count('')} of {len(paths)} rows)",
                "leave out rows without a path, or fill them in",
            )
    elif column is not None:
        raise UsageError(f"{file}: a text has no columns", "leave --path-column out, or give a .csv or .parquet file")
    else:
        paths = [line for line in map(str.strip, _lines(file)) if line and not line.startswith("#")]
    folder = Path() if file == "-" else Path(file).parent
    whole = [folder / path for path in paths]
    if not whole:
        raise NothingToDo(f"{file}: holds no paths", "give a path on each line")
    found: list[tuple[str, Path | Member]] = []
    for path in whole:
        found += _members(path) if is_archive(path) else [(path.stem, path)]
    return Files(_items(found, name_column, by_folder))


def _lines(file: str) -> list[str]:
    """Return the lines of a text. Raises InputError."""
    if file == "-":
        return sys.stdin.read().splitlines()
    check(Path(file))
    try:
        return read_text(Path(file), _LONGEST_LIST).splitlines()
    except (OSError, ValueError) as error:
        fix = "give a text in UTF-8 with a path on each line"
        raise InputError(f"{file}: cannot be read as a list of paths ({reason(error)})", fix) from None


def _members(path: Path) -> list[tuple[str, Path | Member]]:
    return [(one.stem, one) for one in members(path)]


def _items(found: Sequence[tuple[str, Path | Member]], name_column: str | None, by_folder: bool = False) -> list[Item]:
    if by_folder:
        found = list(dict.fromkeys(found))
        names = [name for name, _ in found]
        if len(set(names)) < len(names):
            paths = [one if isinstance(one, Path) else one.archive.with_suffix("") / one.name for _, one in found]
            names = names_by_folder(paths)
    else:
        names = unique_names((name for name, _ in found), file_path)
    return [Item(name, content, name_column) for name, (_, content) in zip(names, found, strict=True)]


def expand(word: str, folder: Path = Path(), recursive: bool = False) -> list[Path]:
    """Return the files that a word names: itself, those in a folder, or those that a glob matches.

    Args:
        word: A path or a glob, relative to `folder`.
        folder: Where the word starts from.
        recursive: Of a folder also those in the folders below it.

    Raises:
        NothingToDo: A folder or glob without pictures and arrays.
        InputError: A folder that cannot be listed.
    """
    path = folder / word
    if os.path.isdir(path):  # Path.is_dir raises for a name that is too long
        return images.listing(path, recursive)
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
