"""Run folders: what is done is written down, so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from .. import files
from ..errors import InputError, UsageError
from .records import write_table
from .rows import Rows
from .sources import Item, MadeOnDemand

MANIFEST = "onnxlrp-run.json"
ROWS = "onnxlrp-rows.jsonl"
_OTHER = "give what the run was made with, or another folder: -o"


class Again(NamedTuple):
    """Samples of an item that are done, and whose files are gone.

    Attributes:
        position: Position of the item in the source.
        item: The item, cut to these samples.
        first: The number of its first sample among all of the run.
    """

    position: int
    item: Item
    first: int


class Left(MadeOnDemand[tuple[int, Item]]):
    """The items that are left to do with their positions in a source; of each only the position is kept.

    Args:
        source: All items.
        positions: The positions of those that are left.
        cut: The position of an item whose first samples are done; None for none.
        start: How many of its samples are.
    """

    def __init__(
        self, source: Sequence[Item], positions: Sequence[int], cut: int | None = None, start: int = 0
    ) -> None:
        self._source, self._positions, self._cut, self._start = source, positions, cut, start

    def __len__(self) -> int:
        return len(self._positions)

    def _made(self, n: int) -> tuple[int, Item]:
        at = self._positions[n]
        item = self._source[at]
        return at, item._replace(start=self._start) if at == self._cut else item


class Items(MadeOnDemand[Item]):
    """The items of some pairs of position and item, each made when it is asked for."""

    def __init__(self, pairs: Sequence[tuple[int, Item]]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def _made(self, n: int) -> Item:
        return self._pairs[n][1]


@dataclass(eq=False)
class RunFolder:
    """A folder with the files of a run, a row for each explanation, and a manifest of what is done.

    After each batch its files are written, then its rows, then the manifest, each as a whole. A run that was killed
    has at most files and rows that the manifest does not know: the rows are cut off, and the files written again. It
    goes on with the same batches as a run that was not, so that the results are the same.

    Attributes:
        folder: The folder.
        identity: What must be the same to go on: model, preprocessing, methods, options, version.
        samples: The number of samples that are done.
        rejected: The number of items that could not be read.
        finished: The run came to its end.
        again: What is done and lacks a file, found by `left`: its rows stay, its files are to be made again.
    """

    folder: Path
    identity: Mapping[str, Any]
    samples: int = 0
    rejected: int = 0
    finished: bool = False
    again: list[Again] = field(default_factory=list)
    _open: tuple[str, int] = ("", 0)  # the name of the item whose samples are not all done, and how many are
    _rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        self._rows = Rows(self.folder / ROWS)

    @classmethod
    def begin(cls, folder: Path, identity: Mapping[str, Any]) -> RunFolder:
        """Return the run of a folder, or a new one where the folder has none; nothing is written.

        Raises:
            UsageError: The folder has the run of another model, preprocessing, method, option or version.
            InputError: The manifest or the rows are damaged.
        """
        run = cls(folder, files.to_jsonable(identity))
        path = folder / MANIFEST
        if path.exists():
            stored = _manifest(path)
            files.refuse_other(folder, stored["identity"], run.identity, _OTHER)
            run.samples, run.rejected = stored["samples"], stored["rejected"]
            run._open = (stored["open"]["item"], stored["open"]["samples"])
            run._rows.size = stored["bytes"]
        return run

    def left(
        self,
        source: Sequence[Item],
        claim: Callable[[Path], Path],
        progress: Callable[[int, int, str], None] = lambda done, of, name: None,
    ) -> Left:
        """Return the items that are left to do with their positions in the source, and make the folder ready.

        Args:
            source: All items of the run.
            claim: Told of each file that the run has written and keeps.
            progress: Told of each item that is done, which is read to see whether it is what it was.

        Raises:
            UsageError: An item that is done is not in the source, has another name there, or was changed.
            InputError: The rows are damaged, or the folder cannot be written to.
        """
        # A run that begins has nothing to look up, and does without names of all items.
        begun = bool(self._rows.size or self._open[0])
        known = {item.name: n for n, item in enumerate(source)} if begun else {}
        done: set[int] = set()
        samples = 0
        for name, found in groupby(self._rows.written(), lambda row: str(row["item"])):  # they stand together
            rows = list(found)
            n = known.get(name)
            if n is None or source[n].origin != rows[0]["input"]:
                said = "is not among the inputs" if n is None else f'{source[n].origin} is called "{name}" now'
                raise UsageError(
                    f"{self.folder}: {rows[0]['input']} was explained in this run, and {said}",
                    "give the same inputs, in the same words, or another folder: -o",
                )
            progress(len(done), len(source), source[n].name)
            if source[n].digest() != rows[0]["sha256"]:
                raise UsageError(
                    f"{self.folder}: {rows[0]['input']} was changed since it was explained in this run",
                    "explain it again in another folder: -o",
                )
            done.add(n)
            written = dict.fromkeys(path for row in rows for path in row.get("files", ()))
            paths = [self.folder / path for path in written]
            count = len({row["sample"] for row in rows if "sample" in row})
            if all(path.exists() for path in paths):
                for path in paths:
                    claim(path)
            else:
                self.again.append(Again(n, source[n]._replace(stop=count), samples))
            samples += count
        self._rows.begin(self._rows.size)
        for temporary in self.folder.rglob(files.TEMPORARY):
            temporary.unlink(missing_ok=True)
        if not (self.folder / MANIFEST).exists():
            self._save()
        if (cut := known.get(self._open[0])) is not None:
            done.discard(cut)
        return Left(source, array("Q", (n for n in range(len(source)) if n not in done)), cut, self._open[1])

    def relative(self, path: Path) -> str:
        """Return the name of a file of the run in its folder."""
        return path.relative_to(self.folder).as_posix()

    def add(
        self, made: Sequence[Mapping[str, Any]], samples: int = 0, rejected: int = 0, cut: tuple[str, int] = ("", 0)
    ) -> None:
        """Write down what is done: the rows of a batch, or of an item that cannot be read.

        Args:
            made: The rows.
            samples: The number of samples that they are of.
            rejected: The number of items that they reject.
            cut: The name of the item whose samples are not all done, and how many of it are; ("", 0) for none.

        Raises:
            InputError: The folder cannot be written to; what was done before stays valid.
        """
        self._rows.add(made)
        self.samples += samples
        self.rejected += rejected
        self._open = cut
        self._save()

    def end(self, table: Path | None) -> None:
        """Give the rows their name, and write them as a table if one is wanted. Raises InputError."""
        path = self._rows.end()
        self.finished = True
        self._save()
        if table is not None:
            write_table(path, table)

    def _save(self) -> None:
        name, done = self._open
        state = {
            "identity": self.identity, "samples": self.samples, "rejected": self.rejected, "bytes": self._rows.size,
            "open": {"item": name, "samples": done}, "finished": self.finished,
        }  # fmt: skip
        text = json.dumps(files.to_jsonable(state), indent=1, allow_nan=False) + "\n"
        files.replace(self.folder / MANIFEST, text.encode())


def _manifest(path: Path) -> dict[str, Any]:
    files.check(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found["identity"], dict) or not isinstance(found["open"], dict):
            raise ValueError
        for name in ("samples", "rejected", "bytes"):
            int(found[name])
        str(found["open"]["item"]), int(found["open"]["samples"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not the manifest of a run", "name another folder with -o") from None
    return dict(found)
