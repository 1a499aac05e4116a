"""Arena: the offset of each result in one block of memory, planned before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ALIGNMENT = 256  # bytes; what CUDA's own allocations give


@dataclass(frozen=True)
class Lifetime:
    """An array and the steps during which it is needed.

    Args:
        name: Its identity.
        size: Bytes.
        born: The step that writes it.
        dies: The step that reads it for the last time.
    """

    name: object
    size: int
    born: int
    dies: int


def layout(lifetimes: Iterable[Lifetime]) -> tuple[Mapping[object, int], int]:
    """Return the offset of every array, such that arrays that are needed at once do not overlap, and the total bytes.

    Largest first, each at the lowest gap that is free during its lifetime (greedy by size).

    References:
        Pisarchyk and Lee, Efficient memory management for deep neural net inference, MLSys workshop 2020.
    """
    placed: list[tuple[int, int, Lifetime]] = []
    offsets: dict[object, int] = {}
    for life in sorted(lifetimes, key=lambda one: -one.size):
        size = -(-max(life.size, 1) // ALIGNMENT) * ALIGNMENT
        taken = sorted(
            (start, end) for start, end, other in placed if other.born <= life.dies and life.born <= other.dies
        )
        offset = 0
        for start, end in taken:
            if start - offset >= size:
                break
            offset = max(offset, end)
        offsets[life.name] = offset
        placed.append((offset, offset + size, life))
    return offsets, max((end for _, end, _ in placed), default=0)
