"""Samples of an analysis, batch by batch: files, folders and globs, or what a model reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from ..streaming import sources
from ..streaming.batches import Batch, Rejected, batches
from ..streaming.sources import Item, Source

Progress = Callable[[int, int], bool]  # (done, of) -> whether to go on
Reject = Callable[[Rejected], None]


def go_on(done: int, total: int) -> bool:
    """Show no progress, and continue."""
    return True


def refuse(rejected: Rejected) -> None:
    """Raise the error of an item that cannot be read."""
    raise rejected.error


def source_of(x: Any) -> Source:
    """Return samples as named items.

    Args:
        x: Files, folders and globs; or an array, a picture, or a list of them; or items that are ready.

    Raises:
        NothingToDo: A folder or glob without pictures and arrays.
    """
    several = list(x) if isinstance(x, list | tuple) else [x]
    if hasattr(x, "paths") or any(isinstance(one, Item) for one in several):
        return x  # type: ignore[no-any-return]
    if all(isinstance(one, str | os.PathLike) for one in several):
        return sources.files([os.fspath(one) for one in several])
    if len(several) == 1:
        return [Item("sample", several[0])]
    return [Item(f"sample.{n}", one) for n, one in enumerate(several)]


def read(model: Any, source: Source, size: int, progress: Progress = go_on, reject: Reject = refuse) -> Iterator[Batch]:
    """Yield batches of samples; what cannot be read is rejected, and a progress that says so ends them.

    Args:
        model: The model that the samples are read for.
        source: The samples.
        size: Samples of a batch.
        progress: Told of the items that are done.
        reject: Told of an item that cannot be read.
    """
    done = 0
    for batch in batches(source, [model], size):
        if isinstance(batch, Rejected):
            reject(batch)
            done += 1
            continue
        yield batch
        done += sum(piece.start + len(piece) == piece.size for piece in batch)
        if not progress(done, len(source)):
            return
