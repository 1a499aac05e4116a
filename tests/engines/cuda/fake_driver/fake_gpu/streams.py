"""Streams, events and graphs of the fake GPU, as late as the real ones may be.

What is enqueued runs when somebody waits for it and not before: a result that is read too early, and an operand that
another stream has yet to write, are poison.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .errors import CAPTURE_INVALIDATED, INVALID_VALUE, LAUNCH_FAILURE, Failure

LinearPlanner = Callable[[], None]
NON_BLOCKING = 1


class Stream:
    """A queue; while it captures, what would be enqueued is kept for a graph."""

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.queue: deque[LinearPlanner] = deque()
        self.captured: list[LinearPlanner] | None = None


class Event:
    """Recorded when the queue it stands in comes to it; one that was never recorded is done."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.pending = 0
        self.time = 0.0


class Streams:
    """All of a device's queues. Handles are numbers; 0, 1 and 2 are CUDA's default streams."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._handles = itertools.count(0x1000, 0x10)
        self.default = Stream(0)
        self.streams: dict[int, Stream] = {0: self.default, 1: self.default, 2: Stream(0)}
        self.things: dict[int, Any] = {}
        self.broken = ""

    def add(self, thing: Any) -> int:
        handle = next(self._handles)
        (self.streams if isinstance(thing, Stream) else self.things)[handle] = thing
        return handle

    def remove(self, handle: int) -> None:
        if self.streams.pop(handle, None) is None and self.things.pop(handle, None) is None:
            raise Failure(INVALID_VALUE, f"{handle:#x} is no handle")

    def stream(self, handle: int | None) -> Stream:
        found = self.streams.get(handle or 0)
        if found is None:
            raise Failure(INVALID_VALUE, f"{handle:#x} is no stream")
        return found

    def thing(self, handle: int, kind: type) -> Any:
        found = self.things.get(handle)
        if not isinstance(found, kind):
            raise Failure(INVALID_VALUE, f"{handle:#x} is no {kind.__name__}")
        return found

    def enqueue(self, handle: int | None, work: LinearPlanner) -> None:
        stream = self.stream(handle)
        with self._lock:
            if stream.captured is not None:
                stream.captured.append(work)
                return
            # The legacy default stream and those that block wait for one another.
            if stream is self.default:
                for other in set(self.streams.values()):
                    if not other.flags & NON_BLOCKING and other is not stream:
                        self.drain(other)
            elif not stream.flags & NON_BLOCKING:
                self.drain(self.default)
            stream.queue.append(work)

    def drain(self, stream: Stream, until: Callable[[], bool] = lambda: False) -> None:
        """Run what is enqueued, in order."""
        with self._lock:
            while stream.queue and not until():
                work = stream.queue.popleft()
                try:
                    if not self.broken:
                        work()
                except Exception as error:
                    self.broken = f"{type(error).__name__}: {error}"
            if self.broken:  # as on a GPU: the context is lost
                raise Failure(LAUNCH_FAILURE, self.broken)

    def drain_all(self) -> None:
        for stream in set(self.streams.values()):
            self.drain(stream)

    # -- events

    def record(self, event: Event, handle: int | None) -> None:
        stream = event.stream = self.stream(handle)
        if stream.captured is not None:
            raise Failure(CAPTURE_INVALIDATED, "the fake driver captures no events")
        event.pending += 1

        def reached() -> None:
            event.pending -= 1
            event.time = time.perf_counter()

        self.enqueue(handle, reached)

    def wait(self, event: Event) -> None:
        if event.stream is not None:
            self.drain(event.stream, lambda: not event.pending)

    # -- graphs

    def begin(self, handle: int) -> None:
        stream = self.stream(handle)
        if stream is self.default or stream.captured is not None:
            raise Failure(INVALID_VALUE, "the default stream, or one that captures, cannot begin to")
        stream.captured = []

    def end(self, handle: int) -> int:
        stream = self.stream(handle)
        works, stream.captured = stream.captured, None
        if works is None:
            raise Failure(INVALID_VALUE, "the stream does not capture")
        return self.add(tuple(works))
