"""Read items ahead in threads: the next are decoded while the current are computed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS = 4
_BYTES = 32 << 20  # of files that wait, encoded as they are


def ahead(
    items: Iterable[T], read: Callable[[T], R], weigh: Callable[[T], int], threads: int | None = None
) -> Iterator[tuple[T, Callable[[], R]]]:
    """Yield each item in order, with a function that returns what was read of it or raises what reading it raised.

    The first is read alone, so that what reading finds out once is known when threads start. So few items are ahead
    that memory does not grow with their number.

    Args:
        items: The items.
        read: Reads one; called in threads.
        weigh: The size of an item's file in bytes.
        threads: How many read at a time (default: one for each processor, at most 4).
    """
    rest = iter(items)
    for first in islice(rest, 1):
        yield first, partial(read, first)
    for second in rest:
        yield from _in_threads(chain([second], rest), read, weigh, threads or min(THREADS, os.cpu_count() or 1))


def _in_threads(
    items: Iterator[T], read: Callable[[T], R], weigh: Callable[[T], int], threads: int
) -> Iterator[tuple[T, Callable[[], R]]]:
    from concurrent.futures import Future, ThreadPoolExecutor  # a command of one picture does without

    waiting: deque[tuple[T, Future[R], int]] = deque()
    weight = 0
    pool = ThreadPoolExecutor(threads, "onnxlrp-read")
    try:
        while True:
            while not waiting or (len(waiting) < 2 * threads and weight < _BYTES):
                try:
                    item = next(items)
                except StopIteration:
                    break
                size = weigh(item)
                waiting.append((item, pool.submit(read, item), size))
                weight += size
            if not waiting:
                return
            item, result, size = waiting.popleft()
            weight -= size
            yield item, result.result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
