"""Which rows of the other inputs belong to which source, where --given names a file with a row for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import InputError, UsageError
from ..model import Model
from ..model.extra_inputs import Array
from ..model.extra_inputs import rows as given_rows
from ..preprocessing import images
from .output_names import Source


def starts(model: Model, sources: Sequence[Source]) -> list[int]:
    """The first row of each source, in their order; all 0 where every other input is one sample for all.

    Raises UsageError where the rows are not as many as the samples.
    """
    long = {name: len(array) for name, array in model.given.items() if len(array) > 1}
    if not long:
        return [0] * len(sources)
    counts = [_samples(source, len(model.graph.inputs[0].shape)) for source in sources]
    for name, rows in long.items():
        if rows != sum(counts):
            raise UsageError(
                f"--given {name}: {rows} samples beside {sum(counts)} that are explained",
                "give one sample for all, or one for each, in the order of the inputs",
            )
    return [sum(counts[:n]) for n in range(len(counts))]


def of(given: Mapping[str, Array], pieces: Sequence[tuple[int, int]]) -> dict[str, Array]:
    """The rows of (first, count) pieces, of the inputs that have a row for each sample."""
    return given_rows(given, np.concatenate([np.arange(first, first + count) for first, count in pieces]))


def _samples(source: Source, rank: int) -> int:
    """How many samples a file holds; one that cannot be read is refused later, and counts as one."""
    if source.path.suffix.lower() != ".npy":
        return 1
    try:
        array = images.read_array(source.path)
    except InputError:
        return 1
    return len(array) if array.ndim == rank + 1 else 1
