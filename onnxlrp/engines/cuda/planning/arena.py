"""The arena: where each result lives in one block of memory, planned before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ALIGNMENT = 256  # bytes; what CUDA's own allocations give


@dataclass(frozen=True)
class Life:
    """An array of `size` bytes that is written at step `born` and read for the last time at step `dies`."""

    name: object
    size: int
    born: int
    dies: int


def layout(lives: Iterable[Life]) -> tuple[Mapping[object, int], int]:
    """The offset of every array, so that no two that live together overlap, and the bytes of the whole.

    Largest first, each at the lowest gap that is free over its life: the greedy plan of offline tensor allocation
    (Pisarchyk & Lee 2020).
    """
    placed: list[tuple[int, int, Life]] = []
    offsets: dict[object, int] = {}
    for life in sorted(lives, key=lambda one: -one.size):
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
