"""Where the CUDA engine runs: a GPU through CuPy, or the emulated kernels with numpy arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

import numpy as np

from ....errors import UnsupportedError
from ....program.program import Array
from ..kernels.cublas import CuBlas, Numpy
from ..kernels.launch import Kernels, Launcher
from .forward import OnCpu, Session, SharedWeightModel, on_gpu
from .loaders import load


class Device(Protocol):
    """What differs between a GPU and the emulator."""

    name: str
    kernels: Kernels
    library: Launcher
    stream: Any

    def alone(self) -> AbstractContextManager[object]:
        """For the time of a run: runs share arrays and a stream, so that one thread has them at a time."""
        ...

    def free(self) -> int | None:
        """Bytes of memory that a plan may take; None where nobody counts."""
        ...

    def empty(self, size: int) -> Any: ...
    def upload(self, array: Array) -> Any: ...
    def download(self, arrays: Sequence[Any]) -> Sequence[Array]: ...
    def write(self, target: Any, array: Array) -> None: ...
    def session(self, model: SharedWeightModel, tensors: Sequence[str], tf32: bool) -> Session: ...
    def replay(self, planned: Any, launch: Callable[[], None]) -> None: ...


class Emulated:
    """The emulator: every array is numpy's, every launch runs to its end."""

    name = "emulator"
    library: Launcher = Numpy()
    stream = None

    def __init__(self, memory: int | None = None) -> None:
        self.kernels, self.memory = load("emulator"), memory
        self._lock = threading.RLock()

    def alone(self) -> AbstractContextManager[object]:
        return self._lock

    def free(self) -> int | None:
        """What the tests of large batches say."""
        return self.memory

    def empty(self, size: int) -> Any:
        """Uninitialised bytes, poisoned so that a read before the write shows."""
        return np.full(size, 0xFF, np.uint8)

    def upload(self, array: Array) -> Any:
        return np.ascontiguousarray(array)

    def download(self, arrays: Sequence[Any]) -> Sequence[Array]:
        return [*map(np.array, arrays)]

    def write(self, target: Any, array: Array) -> None:
        target[...] = array.reshape(-1)

    def session(self, model: SharedWeightModel, tensors: Sequence[str], tf32: bool) -> Session:
        """The CPU has no TF32: this forward pass is float32 at every precision."""
        return OnCpu(model, tensors, self.write)

    def replay(self, planned: Any, launch: Callable[[], None]) -> None:
        launch()


class Gpu:
    """An NVIDIA GPU through CuPy: one stream, and a CUDA graph for each planned batch size."""

    name = "cuda"

    def __init__(self, loader: str = "auto") -> None:
        self.kernels = load(loader)
        import cupy

        self._cupy, self._lock = cupy, threading.RLock()
        self._device = cupy.cuda.Device()  # the one that was current, to which the stream belongs
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.library: Launcher = CuBlas(cupy, self.stream)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """On this device: every thread has a current one of its own."""
        with self._lock, self._device:
            yield

    def free(self) -> int | None:
        """Nine tenths of what the driver and CuPy's pool have left."""
        pool = self._cupy.get_default_memory_pool()
        return int(0.9 * (self._cupy.cuda.runtime.memGetInfo()[0] + pool.free_bytes()))

    def empty(self, size: int) -> Any:
        """Uninitialised bytes. Raises UnsupportedError where so many are not free."""
        with self._room(size):
            return self._cupy.empty(max(size, 1), self._cupy.uint8)[:size]

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        try:
            yield
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            what = f"{size / 2**20:.1f} MiB of device memory are not free"
            fix = "give a smaller --batch-size, free the GPU (nvidia-smi says who has it), or --engine ort"
            raise UnsupportedError(what, fix) from error

    def upload(self, array: Array) -> Any:
        with self._room(array.nbytes):
            made = self._cupy.asarray(np.ascontiguousarray(array))
        self._cupy.cuda.runtime.deviceSynchronize()  # uploads happen on another stream, once, while planning
        return made

    def download(self, arrays: Sequence[Any]) -> Sequence[Array]:
        """Copies in pinned memory, which CuPy's pool takes back when they are gone: all enqueued, then one wait."""
        pinned = self._cupy.cuda.alloc_pinned_memory
        copies: list[Array] = [np.ndarray(a.shape, a.dtype, buffer=pinned(a.nbytes)) for a in arrays]
        for array, copy in zip(arrays, copies, strict=True):
            array.get(stream=self.stream, out=copy, blocking=False)
        self.stream.synchronize()
        return copies

    def write(self, target: Any, array: Array) -> None:
        target.set(np.ascontiguousarray(array, target.dtype).reshape(-1), stream=self.stream)

    def session(self, model: SharedWeightModel, tensors: Sequence[str], tf32: bool) -> Session:
        """onnxruntime on the GPU, bound to our arrays; without its CUDA provider, on the CPU, and copied."""
        return on_gpu(model, tensors, self, tf32)

    def replay(self, planned: Any, launch: Callable[[], None]) -> None:
        """The first run launches one by one (it loads what is lazy), the second is captured, later ones replay."""
        with self.stream:
            if planned.graph is None and planned.runs:
                self.stream.begin_capture(self._cupy.cuda.runtime.streamCaptureModeRelaxed)
                try:
                    launch()
                except BaseException:
                    with suppress(Exception):  # what went wrong may have ended it
                        self.stream.end_capture()  # of a part, which nobody may replay
                    raise
                planned.graph = self.stream.end_capture()
            if planned.graph is None:
                launch()
            else:
                planned.graph.launch(self.stream)
        planned.runs += 1
