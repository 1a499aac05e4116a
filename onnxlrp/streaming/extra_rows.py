"""Rows of a model's other inputs that belong to each sample, where --given names a file with a row for each."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from ..errors import InputError, UsageError
from ..model import Model
from ..model.interface.extra_inputs import Array, rows
from ..preprocessing import images, tables
from .batches import Batch
from .sources import Item, Source


def starts(model: Model, source: Source) -> Sequence[int]:
    """Return the row of each item's first sample, items that will be rejected included.

    Raises:
        UsageError: The rows are not as many as the samples.
    """
    long = {name: len(array) for name, array in model.given.items() if len(array) > 1}
    if not long:
        return array("Q", [0]) * len(source)
    counts = [_samples(item, len(model.graph.inputs[0].shape)) for item in source]
    for name, length in long.items():
        if length != sum(counts):
            raise UsageError(
                f"--given {name}: {length} samples beside {sum(counts)} that are explained",
                "give one sample for all, or one for each, in the order of the inputs",
            )
    return [0, *accumulate(counts[:-1])] if counts else []


def of_batch(model: Model, batch: Batch) -> dict[str, Array]:
    """Return the rows that belong to a batch, of the inputs that have a row for each sample."""
    return of_rows(model, [np.arange(piece.row, piece.row + len(piece)) for piece in batch])


def of_rows(model: Model, numbers: Sequence[Array]) -> dict[str, Array]:
    """Return some rows of the inputs that have a row for each sample."""
    return rows(model.given, np.concatenate(numbers))


def _samples(item: Item, rank: int) -> int:
    """The number of samples in a file; one that cannot be read is refused later, and counts as one."""
    if not isinstance(item.content, str | Path):
        return 1  # a member of an archive, or what is in memory
    path = Path(item.content)
    if tables.is_table(path):
        try:
            return tables.read(path, item.name_column).height
        except InputError:
            return 1
    if path.suffix.lower() != ".npy":
        return 1
    try:
        array = images.read_array(path)
    except InputError:
        return 1
    return len(array) if array.ndim == rank + 1 else 1
