"""Devices of the CUDA engine: a GPU through CuPy, or the emulated kernels with numpy arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

import numpy as np

from ....errors import UnsupportedError
from ....program.program import Array
from ..kernels.cublas import CuBlas, NumpyBlas
from ..kernels.launch import Kernels, Launcher
from .forward import CpuSession, Session, SharedWeightModel, open_session
from .loaders import load


class Device(Protocol):
    """Interface of a device: memory, streams, kernels, and the session of the forward pass."""

    name: str
    kernels: Kernels
    blas: Launcher
    stream: Any

    def exclusive(self) -> AbstractContextManager[object]:
        """Return a context for a run: runs share arrays and a stream, so that one thread has them at a time."""
        ...

    def free(self) -> int | None:
        """Return the bytes of memory that a schedule may take; None without a limit."""
        ...

    def empty(self, size: int) -> Any:
        """Return a device array of `size` uninitialised bytes."""
        ...

    def upload(self, array: Array) -> Any:
        """Return a copy of a host array on the device."""
        ...

    def download(self, arrays: Sequence[Any]) -> Sequence[Array]:
        """Return copies of device arrays on the host."""
        ...

    def write(self, target: Any, array: Array) -> None:
        """Copy a host array into a device array of one axis."""
        ...

    def session(self, model: SharedWeightModel, tensors: Sequence[str], tf32: bool) -> Session:
        """Return the session of a forward pass that outputs these tensors."""
        ...

    def replay(self, prepared: Any, launch: Callable[[], None]) -> None:
        """Run the launches of a prepared schedule; `launch` enqueues them one by one."""
        ...


class EmulatedDevice:
    """The emulator: arrays are numpy's, and every launch runs to its end.

    Args:
        memory: Bytes of memory that a schedule may take, for tests of large batches; None without a limit.
    """

    name = "emulator"
    blas: Launcher = NumpyBlas()
    stream = None

    def __init__(self, memory: int | None = None) -> None:
        self.kernels, self.memory = load("emulator"), memory
        self._lock = threading.RLock()

    def exclusive(self) -> AbstractContextManager[object]:
        """Return a lock."""
        return self._lock

    def free(self) -> int | None:
        """Return the limit that the device was given."""
        return self.memory

    def empty(self, size: int) -> Any:
        """Return bytes poisoned with 0xFF, so that a read before the first write shows as NaN."""
        return np.full(size, 0xFF, np.uint8)

    def upload(self, array: Array) -> Any:
        """Return the array itself, contiguous."""
        return np.ascontiguousarray(array)

    def download(self, arrays: Sequence[Any]) -> Sequence[Array]:
        """Return copies of the arrays."""
        return [*map(np.array, arrays)]

    def write(self, target: Any, array: Array) -> None:
        """Copy an array into another of one axis."""
        target[...] = array.reshape(-1)

    def session(self, model: SharedWeightModel, tensors: Sequence[str], tf32: bool) -> Session:
        """Return a session on the CPU, in float32 at every precision: the CPU has no TF32."""
        return CpuSession(model, tensors, self.write)

    def replay(self, prepared: Any, launch: Callable[[], None]) -> None:
        """Launch."""
        launch()


class GpuDevice:
    """An NVIDIA GPU through CuPy: one stream, and a CUDA graph for each batch size.

    Args:
        loader: How kernels are compiled, one of `loaders.LOADERS`.
    """

    name = "cuda"

    def __init__(self, loader: str = "auto") -> None:
        self.kernels = load(loader)
        import cupy

        self._cupy, self._lock = cupy, threading.RLock()
        self._device = cupy.cuda.Device()  # the one that was current, to which the stream belongs
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.blas: Launcher = CuBlas(cupy, self.stream)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock, and make this the thread's current device."""
        with self._lock, self._device:
            yield

    def free(self) -> int | None:
        """Return 90 % of the memory that the driver and CuPy's pool have left, in bytes."""
        pool = self._cupy.get_default_memory_pool()
        return int(0.9 * (self._cupy.cuda.runtime.memGetInfo()[0] + pool.free_bytes()))

    def empty(self, size: int) -> Any:
        """Return a device array of uninitialised bytes. Raises UnsupportedError if there is too little memory."""
        with self._translated_out_of_memory(size):
            return self._cupy.empty(max(size, 1), self._cupy.uint8)[:size]

    @contextmanager
    def _translated_out_of_memory(self, size: int) -> Iterator[None]:
        """Raise CuPy's OutOfMemoryError as UnsupportedError with a fix."""
        try:
            yield
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            what = f"{size / 2**20:.1f} MiB of device memory are not free"
            fix = "give a smaller --batch-size, free the GPU (nvidia-smi lists what uses it), or --engine ort"
            raise UnsupportedError(what, fix) from error

    def upload(self, array: Array) -> Any:
        """Return a copy of an array on the device."""
        with self._translated_out_of_memory(array.nbytes):
            made = self._cupy.asarray(np.ascontiguousarray(array))
        self._cupy.cuda.runtime.deviceSynchronize()  # uploads happen on another stream, once, while planning
        return made

    def download(self, arrays: Sequence[Any]) -> Sequence[Array]:
        """Return copies in pinned host memory of CuPy's pool: all are enqueued, then one synchronisation."""
        pinned = self._cupy.cuda.alloc_pinned_memory
        copies: list[Array] = [np.ndarray(a.shape, a.dtype, buffer=pinned(a.nbytes)) for a in arrays]
        for array, copy in zip(arrays, copies, strict=True):
            array.get(stream=self.stream, out=copy, blocking=False)
        self.stream.synchronize()
        return copies

    def write(self, target: Any, array: Array) -> None:
        """Enqueue the copy of a host array into a device array of one axis."""
        target.set(np.ascontiguousarray(array, target.dtype).reshape(-1), stream=self.stream)

    def session(self, model: SharedWeightModel, tensors: Sequence[str], tf32: bool) -> Session:
        """Return a session on the GPU, bound to device arrays; without onnxruntime's CUDA provider, one on the CPU."""
        return open_session(model, tensors, self, tf32)

    def replay(self, prepared: Any, launch: Callable[[], None]) -> None:
        """Launch one by one at the first run (it loads lazy modules), capture a graph at the second, then replay it."""
        with self.stream:
            if prepared.graph is None and prepared.runs:
                self.stream.begin_capture(self._cupy.cuda.runtime.streamCaptureModeRelaxed)
                try:
                    launch()
                except BaseException:
                    with suppress(Exception):  # the error may have ended the capture
                        self.stream.end_capture()  # an incomplete graph, which must not be replayed
                    raise
                prepared.graph = self.stream.end_capture()
            if prepared.graph is None:
                launch()
            else:
                prepared.graph.launch(self.stream)
        prepared.runs += 1
