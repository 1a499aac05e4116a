"""Batches of samples: few enough at a time that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import InputError, at_least
from ..model import Model
from ..preprocessing.samples import Samples
from .ahead import ahead
from .sources import Item, Source

Progress = Callable[[int, int, str], None]  # (done, of, what comes next)


@dataclass(frozen=True)
class Piece:
    """Samples of one item that run together.

    Attributes:
        item: The item.
        samples: The samples as each model takes them, in the order of the models.
        start: Position of the first among the item's samples.
        size: The number of the item's samples.
        row: Position of the first among all samples of the run.
    """

    item: Item
    samples: tuple[Samples, ...]
    start: int
    size: int
    row: int

    def __len__(self) -> int:
        return len(self.samples[0])


class Rejected(NamedTuple):
    """An item that cannot be read, in its place among the batches."""

    item: Item
    error: InputError


Batch = list[Piece]


def batches(
    source: Source,
    models: Sequence[Model],
    size: int,
    rows: Sequence[int] | None = None,
    progress: Progress = lambda done, of, name: None,
) -> Iterator[Batch | Rejected]:
    """Read a source, at most `size` samples at a time, in its order.

    Pictures and arrays, and samples of different sizes, are never in one batch. Items are read ahead in threads.

    Args:
        source: The items.
        models: The models that the samples are read for, each with its own preprocessing.
        size: The most samples in a batch.
        rows: Position of each item's first sample among all; by default the samples that are read are counted.
        progress: Told of each item before it joins a batch.

    Yields:
        Batches; in the place of an item that cannot be read, its error, after all batches before it.

    Raises:
        UsageError: A size below 1.
    """
    at_least(1, whole=True, batch_size=size)
    batch: Batch = []
    room, row = size, 0

    def opened(item: Item) -> tuple[Samples, ...]:
        return tuple(item.read(model) for model in models)

    for done, (item, result) in enumerate(ahead(source, opened, _weight)):
        progress(done, len(source), item.name)
        try:
            read = result()
        except InputError as error:
            if batch:
                yield batch
                batch, room = [], size
            yield Rejected(item, error)
            continue
        count, start = len(read[0]), 0
        row = row if rows is None else rows[done]
        if batch and [samples.form for samples in read] != [samples.form for samples in batch[0].samples]:
            yield batch
            batch, room = [], size
        while start < count:
            part = tuple(samples[start : start + room] for samples in read)
            batch.append(Piece(item, part, item.start + start, item.start + count, row))
            start, row, room = start + len(part[0]), row + len(part[0]), room - len(part[0])
            if not room:
                yield batch
                batch, room = [], size
    if batch:
        yield batch


def _weight(item: Item) -> int:
    return item.size


def joined(batch: Batch, models: Sequence[Model]) -> tuple[Samples, ...]:
    """Return the samples of a batch for each model, as one."""
    return tuple(model.read([piece.samples[n] for piece in batch]) for n, model in enumerate(models))
