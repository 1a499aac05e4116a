"""What is left to write once the answer is given: nobody who waits for it waits for the cache."""

from __future__ import annotations

import atexit
from collections import deque
from collections.abc import Callable
from typing import NamedTuple


class _Work(NamedTuple):
    key: str
    do: Callable[[], object]
    undo: Callable[[], object]


_left: deque[_Work] = deque()


def later(key: str, do: Callable[[], object], undo: Callable[[], object] = lambda: None) -> None:
    """Put work off until `finish` is called, at the latest when the process ends.

    Args:
        key: The entry that it writes.
        do: The work; it raises nothing.
        undo: Removes what has begun of it, where it will not be done.
    """
    if not _left:
        atexit.unregister(finish)
        atexit.register(finish)
    _left.append(_Work(key, do, undo))


def is_left(key: str) -> bool:
    """Return whether an entry is still to be written."""
    return any(work.key == key for work in tuple(_left))


def finish() -> None:
    """Do what was put off. Who interrupts it has the answer already: what is left is given up, and nothing raised."""
    while _left:
        try:
            work = _left.popleft()
        except IndexError:  # another thread was faster
            return
        try:
            work.do()
        except KeyboardInterrupt:
            work.undo()
            give_up()


def give_up() -> None:
    """Undo what was put off."""
    while _left:
        _left.popleft().undo()
