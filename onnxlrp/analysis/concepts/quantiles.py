"""Exact quantiles of many channels over a stream, in memory that does not grow with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .layer import Array

_TABLE = 1 << 25  # counts that are held: 128 MB
_BITS = 32


@dataclass(eq=False)
class TopQuantile:
    """The threshold of each channel that at most a share of its values exceeds, by radix selection.

    A float32 is 32 bits whose order is that of the numbers once the sign is dealt with. Each pass over the stream
    counts the next bits, 16 at a time for up to 512 channels, of the values that have the bits found so far. The result
    is exact: a value of the stream.

    Args:
        channels: The number of channels.
        share: The share of values above the threshold, at most.
    """

    channels: int
    share: float
    _prefix: Array = field(init=False)
    _rank: Array = field(init=False)
    _done: int = 0
    _total: int = 0
    _counts: Array = field(init=False)

    def __post_init__(self) -> None:
        self._prefix = np.zeros(self.channels, np.uint64)
        self._rank = np.zeros(self.channels, np.int64)
        self._start()

    @property
    def bits(self) -> int:
        """The bits of one pass."""
        fits = max(1, min(16, int(np.log2(_TABLE / self.channels))))
        return min(fits, _BITS - self._done)

    @property
    def passes(self) -> int:
        """The passes over the stream that are still needed."""
        return -(-(_BITS - self._done) // max(1, min(16, int(np.log2(_TABLE / self.channels)))))

    def add(self, values: Array) -> None:
        """Count values [n, channels, positions] of the stream."""
        keys = ordered(np.moveaxis(values, 1, 0).reshape(self.channels, -1))
        if not self._done:
            self._total += keys.shape[1]
        shift = np.uint64(_BITS - self._done)
        mine = (keys >> shift) == self._prefix[:, None] if self._done else np.ones(keys.shape, bool)
        digit = (keys >> np.uint64(_BITS - self._done - self.bits)) & np.uint64((1 << self.bits) - 1)
        index = (np.arange(self.channels, dtype=np.int64)[:, None] << self.bits) + digit.astype(np.int64)
        np.add.at(self._counts, index[mine], 1)

    def end_pass(self) -> bool:
        """End a pass over the stream; return whether the thresholds are known."""
        bits = self.bits
        if not self._done:
            self._rank[:] = int(np.floor(self.share * self._total + 1e-9))  # values above the threshold
        counts = self._counts.reshape(self.channels, 1 << bits)
        above = np.cumsum(counts[:, ::-1], axis=1)
        place = (above <= self._rank[:, None]).sum(axis=1)
        place = np.minimum(place, (1 << bits) - 1)
        before = np.where(place > 0, np.take_along_axis(above, np.maximum(place - 1, 0)[:, None], 1)[:, 0], 0)
        self._rank -= before
        digit = (1 << bits) - 1 - place
        self._prefix = (self._prefix << np.uint64(bits)) | digit.astype(np.uint64)
        self._done += bits
        if self._done < _BITS:
            self._start()
        return self._done == _BITS

    def thresholds(self) -> Array:
        """Return the threshold of each channel [channels] (float32)."""
        return numbers(self._prefix)

    def _start(self) -> None:
        self._counts = np.zeros(self.channels << self.bits, np.int32 if self._total < 1 << 31 else np.int64)


def ordered(values: Array) -> Array:
    """Return keys (uint64 of 32 bits) in the order of float32 values."""
    raw = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(raw >> 31, ~raw, raw | np.uint32(1 << 31)).astype(np.uint64)


def numbers(keys: Array) -> Array:
    """Return the float32 values of keys: the inverse of `ordered`."""
    raw = keys.astype(np.uint32)
    return np.where(raw >> 31, raw & np.uint32((1 << 31) - 1), ~raw).astype(np.uint32).view(np.float32)
