"""The record of a run of `onnxlrp explain`: rows of what was explained, in a table, in a run folder, or nowhere."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OnnxLrpError, UsageError, at_least
from ..explanation import Explanation
from ..model import Model
from ..streaming.batches import Batch, Rejected
from ..streaming.sinks import Plan, Written
from ..streaming.sources import Files, Item
from ..version import __version__
from .arguments import is_stated
from .console import Console

if TYPE_CHECKING:  # imported where rows are kept
    from ..streaming.records import Table
    from ..streaming.run_folder import Again, RunFolder

# Arguments that change no file of a run.
_NO_MATTER = (
    "command", "model", "inputs", "recursive", "from_list", "path_column", "out", "table", "resume", "on_error", "json",
    "verbose", "quiet", "max_memory", "allow_linked_data",
)  # fmt: skip


class Record:
    """What a run writes down of its explanations.

    Attributes:
        left: The items that are to be explained, with their positions among all; None for all of them.
        samples: The number of samples that were done before.
        rejected: The number of items that were rejected before.
        again: What is done and lacks a file, by its item's name: it is explained again, its rows stay.
    """

    def __init__(self, table: Path | None, grid: int, run: RunFolder | None, written: Written) -> None:
        self.run = run
        self.left: Sequence[tuple[int, Item]] | None = None
        self.samples = run.samples if run else 0
        self.rejected = run.rejected if run else 0
        self.again: Mapping[str, Again] = {}
        self._path, self._grid = table, grid if table else 0
        self._table: Table | None = None
        if run is None and table is not None:
            from ..streaming.records import Table

            self._table = Table(written.claim(table))
        self._waiting: list[dict[str, Any]] = []
        self._digest = ("", "")

    @property
    def _rows(self) -> RunFolder | Table | None:
        """Where rows are kept; None for nowhere."""
        return self.run or self._table

    def explained(self, one: Explanation, item: Item, sample: int, paths: Sequence[Path]) -> None:
        """Keep the rows of one sample until its batch is done."""
        if self._rows is None or self._is_again(item):
            return
        from ..streaming.records import of_explanation

        names = [self.run.relative(path) if self.run else str(path) for path in paths]
        self._waiting += of_explanation(one, item, sample, self._hash(item), names, self._grid)

    def number(self, item: Item, sample: int, new: int) -> int:
        """Return the number among all samples of the run of an item's sample, `new` where it was not done before."""
        return self.again[item.name].first + sample if self._is_again(item) else new

    def _is_again(self, item: Item) -> bool:
        return item.stop is not None and item.name in self.again

    def batch(self, batch: Batch) -> None:
        """Write down a batch whose files are written. Raises InputError."""
        if self._rows is None or self._is_again(batch[0].item):
            return
        last = batch[-1]
        done = last.start + len(last)
        made, self._waiting = self._waiting, []
        self._rows.add(made, samples=sum(map(len, batch)), cut=("", 0) if done == last.size else (last.item.name, done))

    def reject(self, row: Rejected) -> None:
        """Write down an item that cannot be read. Raises InputError."""
        if self._rows is not None and not self._is_again(row.item):
            from ..streaming.records import of_rejected

            made = of_rejected(row.item, self._hash(row.item), row.error.message)
            self._rows.add([made], rejected=1)

    def whole(self, progress: Callable[..., bool]) -> Callable[..., bool]:
        """Return what a method of many passes is told by, which ends a run that goes on later, not the passes alone."""
        if self.run is None:
            return progress

        def told(done: int, total: int) -> bool:
            if not progress(done, total):
                raise KeyboardInterrupt
            return True

        return told

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write the table at the end of a run, or leave none where it does not come to its end."""
        try:
            yield
        except BaseException:
            if self._table is not None:
                self._table.discard()
            raise
        if self.run is not None:
            self.run.end(self._path)
        elif self._table is not None:
            self._table.end()

    def _hash(self, item: Item) -> str:
        if self._digest[0] != item.name:
            self._digest = (item.name, item.digest())
        return self._digest[1]


def checked(args: argparse.Namespace) -> Path | None:
    """Return the table that is asked for. Raises UsageError, UnsupportedError."""
    at_least(0, whole=True, pool=args.pool)
    if args.table is None:
        return None
    from ..streaming.records import check_table

    return check_table(args.table)


def record(
    args: argparse.Namespace,
    model: Model,
    source: Files,
    table: Path | None,
    plan: Plan,
    written: Written,
    methods: Sequence[Mapping[str, Any]],
    console: Console,
) -> Record:
    """Return the record of a run, what it has done before counted.

    Args:
        args: The arguments.
        model: The model.
        source: All inputs.
        table: The table.
        plan: The names of the files.
        written: The files of the run.
        methods: How each method explains.
        console: Where it is said what is done already.

    Raises:
        UsageError: A folder of another run, or no folder.
        InputError: A damaged folder.
    """
    if not args.resume:
        return Record(table, args.pool, None, written)
    from ..streaming.run_folder import RunFolder

    folder = _folder(plan)
    run = RunFolder.begin(folder, _identity(args, model, plan, folder, methods, table))
    made = Record(table, args.pool, run, written)
    left = made.left = run.left(source.items, written.claim, console.progress)
    made.again = {one.item.name: one for one in run.again}
    console.clear()
    if run.samples or run.rejected:
        rejected = f", {run.rejected} of them rejected" if run.rejected else ""
        gone = f", but {len(made.again)} whose files are gone" if made.again else ""
        done = len(source) - len(left)
        console.note(f"{folder}: {done} of {len(source)} inputs are done{rejected}: they are not explained again{gone}")
    return made


def _folder(plan: Plan) -> Path:
    """The folder of the names of a run: what lies before the first field."""
    folder = Path(plan.pattern.partition("{")[0] + "x").parent
    if "{" not in plan.pattern or folder == Path():
        raise UsageError("--resume needs a folder", "name one for the files of the run: -o run/")
    return folder


def _identity(
    args: argparse.Namespace,
    model: Model,
    plan: Plan,
    folder: Path,
    methods: Sequence[Mapping[str, Any]],
    table: Path | None,
) -> dict[str, Any]:
    """What must be the same for a run to go on; options that are not stated have the defaults of the version."""
    try:
        preprocessing = model.preprocessing.to_dict()
    except OnnxLrpError:  # the input is no picture
        preprocessing = None
    stated = {name: value for name, value in vars(args).items() if name not in _NO_MATTER and is_stated(value)}
    stated["pool"] = args.pool if table else None
    contents = {text: digest for value in stated.values() for text, digest in _contents(value)}
    given = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in model.given.items()}
    return {
        "onnxlrp": __version__, "model": model.graph.sha256, "input": model.graph.inputs[0].name,
        "output": model.graph.outputs[0].name, "preprocessing": preprocessing, "methods": list(methods),
        "options": {name: stated[name] for name in sorted(stated)}, "given": given, "contents": contents,
        "labels": hashlib.sha256("\n".join(model.labels or ()).encode()).hexdigest(),
        "files": [Path(plan.pattern).relative_to(folder).as_posix(), *plan.formats], "engine": model.engine.name,
    }  # fmt: skip


def _contents(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the files and folders that an option names, such as a baseline or a mask, with the SHA-256 of each."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _contents(item)
    if not isinstance(value, str):
        return
    for text in dict.fromkeys([value, *re.split(r"[=@,]", value)]):
        try:
            inside = sorted(path for path in Path(text).iterdir() if path.is_file()) if Path(text).is_dir() else []
            found = [Path(text)] if Path(text).is_file() else inside if text.strip("./\\") else []
        except (OSError, ValueError):  # no name that a file can have
            continue
        if found:
            made = hashlib.sha256()
            for path in found:
                made.update(f"{path.name} {Item(path.name, path).digest()}\n".encode())
            yield text, made.hexdigest()
