"""Memory of the fake GPU: blocks of the host's, poisoned, so that what a kernel may touch is known."""

from __future__ import annotations

import bisect

import numpy as np

from .errors import INVALID_VALUE, OUT_OF_MEMORY, Failure

ALIGNMENT = 512


class Memory:
    """Allocations by address. `limit` is the size of the device in bytes; pinned memory of the host is unlimited."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self._starts: list[int] = []
        self._blocks: dict[int, np.ndarray] = {}
        self._pinned: set[int] = set()

    def allocate(self, size: int, pinned: bool = False) -> int:
        if not pinned and self.used + size > self.limit:
            raise Failure(OUT_OF_MEMORY)
        whole = np.full(size + ALIGNMENT, 0xFF, np.uint8)  # floats that are NaN
        skipped = -whole.ctypes.data % ALIGNMENT
        block = whole[skipped : skipped + size]
        start = block.ctypes.data
        bisect.insort(self._starts, start)
        self._blocks[start] = block
        if pinned:
            self._pinned.add(start)
        else:
            self.used += size
        return start

    def free(self, start: int) -> None:
        block = self._blocks.pop(start, None)
        if block is None:
            raise Failure(INVALID_VALUE)
        self._starts.remove(start)
        if start in self._pinned:
            self._pinned.remove(start)
        else:
            self.used -= block.size
            block[...] = 0xFF  # who still reads it gets NaN

    def owner(self, address: int) -> tuple[int, np.ndarray] | None:
        """Start and bytes of the block that an address is in."""
        at = bisect.bisect(self._starts, address) - 1
        if at < 0:
            return None
        start = self._starts[at]
        block = self._blocks[start]
        return (start, block) if address < start + max(block.size, 1) else None

    def is_pinned(self, address: int) -> bool:
        found = self.owner(address)
        return found is not None and found[0] in self._pinned

    def is_host(self, address: int) -> bool:
        return self.owner(address) is None or self.is_pinned(address)

    def view(self, address: int, size: int | None = None) -> np.ndarray:
        """The device's bytes from an address on, to the end of its block or `size` of them."""
        found = self.owner(address)
        if found is None or found[0] in self._pinned:
            raise Failure(INVALID_VALUE, f"{address:#x} is no address of the device")
        start, block = found
        rest = block[address - start :]
        if size is None:
            return rest
        if size > rest.size:
            raise Failure(INVALID_VALUE, f"{size} bytes from {address:#x} end {size - rest.size} past their block")
        return rest[:size]
