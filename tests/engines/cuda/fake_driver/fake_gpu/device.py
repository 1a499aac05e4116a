"""The fake GPU itself: what it says that it is, its memory, its queues, the modules that are loaded."""

from __future__ import annotations

import os
import threading

from .errors import INVALID_VALUE, Failure
from .memory import Memory
from .streams import Streams

# Of cudaDeviceAttr, as an H100 has them: what else is asked for is 0.
_ATTRIBUTES = {1: 1024, 8: 49152, 10: 32, 16: 132, 75: 9, 76: 0, 81: 233472, 82: 65536, 97: 232448}


class Device:
    """Its size, its version and how many there are come from the environment: FAKE_GPU_MEMORY (bytes), ..."""

    version = 13000

    def __init__(self) -> None:
        self.memory = Memory(int(os.environ.get("FAKE_GPU_MEMORY", 8 << 30)))
        self.streams = Streams()
        self.loaded: dict[int, object] = {}
        self._local = threading.local()

    def count(self) -> int:
        return int(os.environ.get("FAKE_GPU_COUNT", 1))

    def current(self) -> int:
        return getattr(self._local, "number", 0)

    def use(self, number: int) -> None:
        self._local.number = number


DEVICE = Device()


def attribute(which: int, device: int) -> int:
    if not 0 <= device < DEVICE.count():
        raise Failure(INVALID_VALUE)
    return _ATTRIBUTES.get(which, 0)
