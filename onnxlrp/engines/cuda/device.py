"""Where the CUDA engine runs: a GPU through CuPy, or the emulated kernels with numpy arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ...program.program import Array
from .loaders import Kernels, load

log = logging.getLogger("onnxlrp")


class Session(Protocol):
    """The forward pass: runs on host inputs and leaves the tensors that were asked for in the given arrays."""

    def run(self, inputs: Mapping[str, Array], into: Mapping[str, Any]) -> None: ...


class Device(Protocol):
    """What differs between a GPU and the emulator."""

    name: str
    kernels: Kernels
    stream: Any

    def free(self) -> int | None:
        """Bytes of memory that a plan may take; None where nobody counts."""
        ...

    def empty(self, size: int) -> Any: ...
    def upload(self, array: Array) -> Any: ...
    def download(self, array: Any) -> Array: ...
    def write(self, target: Any, array: Array) -> None: ...
    def session(self, model: Any, tensors: Sequence[str]) -> Session: ...
    def replay(self, planned: Any, launch: Callable[[], None]) -> None: ...


class Emulated:
    """The emulator: every array is numpy's, every launch runs to its end."""

    name = "emulator"
    stream = None

    def __init__(self, memory: int | None = None) -> None:
        self.kernels, self.memory = load("emulator"), memory

    def free(self) -> int | None:
        """What the tests of large batches say."""
        return self.memory

    def empty(self, size: int) -> Any:
        """Uninitialised bytes, poisoned so that a read before the write shows."""
        return np.full(size, 0xFF, np.uint8)

    def upload(self, array: Array) -> Any:
        return np.ascontiguousarray(array)

    def download(self, array: Any) -> Array:
        return np.array(array)

    def write(self, target: Any, array: Array) -> None:
        target[...] = array.reshape(-1)

    def session(self, model: Any, tensors: Sequence[str]) -> Session:
        return OnCpu(model, tensors, self.write)

    def replay(self, planned: Any, launch: Callable[[], None]) -> None:
        launch()


class OnCpu:
    """onnxruntime's CPU provider; results are copied to where the program reads them."""

    def __init__(self, model: Any, tensors: Sequence[str], write: Callable[[Any, Array], None]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._tensors, self._write = list(tensors), write

    def run(self, inputs: Mapping[str, Array], into: Mapping[str, Any]) -> None:
        """One forward pass."""
        wanted = [name for name in self._tensors if name in into]
        if not wanted:
            return  # the program reads nothing of the forward pass, and an empty list would mean all of it
        for name, array in zip(wanted, self._session.run(wanted, dict(inputs)), strict=True):
            self._write(into[name], np.asarray(array, np.float32))


class Gpu:
    """An NVIDIA GPU through CuPy: one stream, and a CUDA graph for each planned batch size."""

    name = "cuda"

    def __init__(self, loader: str = "auto") -> None:
        self.kernels = load(loader)
        import cupy

        self._cupy = cupy
        self.stream = cupy.cuda.Stream(non_blocking=True)

    def free(self) -> int | None:
        """Nine tenths of what the driver and CuPy's pool have left."""
        pool = self._cupy.get_default_memory_pool()
        return int(0.9 * (self._cupy.cuda.runtime.memGetInfo()[0] + pool.free_bytes()))

    def empty(self, size: int) -> Any:
        return self._cupy.empty(max(size, 1), self._cupy.uint8)[:size]

    def upload(self, array: Array) -> Any:
        made = self._cupy.asarray(np.ascontiguousarray(array))
        self._cupy.cuda.runtime.deviceSynchronize()  # uploads happen on another stream, once, while planning
        return made

    def download(self, array: Any) -> Array:
        return np.asarray(self._cupy.asnumpy(array, stream=self.stream))

    def write(self, target: Any, array: Array) -> None:
        target.set(np.ascontiguousarray(array, target.dtype).reshape(-1), stream=self.stream)

    def session(self, model: Any, tensors: Sequence[str]) -> Session:
        """onnxruntime on the GPU, bound to our arrays; without its CUDA provider, on the CPU, and copied."""
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            return OnGpu(model, tensors, self.stream)
        log.info("onnxruntime has no CUDA provider: the forward pass runs on the CPU and is copied")
        return OnCpu(model, tensors, self.write)

    def replay(self, planned: Any, launch: Callable[[], None]) -> None:
        """The first run launches one by one (it loads what is lazy), the second is captured, later ones replay."""
        with self.stream:
            if planned.graph is None and planned.runs:
                self.stream.begin_capture(self._cupy.cuda.runtime.streamCaptureModeRelaxed)
                try:
                    launch()
                finally:
                    planned.graph = self.stream.end_capture()
            if planned.graph is None:
                launch()
            else:
                planned.graph.launch(self.stream)
        planned.runs += 1


class OnGpu:
    """onnxruntime's CUDA provider on our stream; results are written where the program reads them."""

    def __init__(self, model: Any, tensors: Sequence[str], stream: Any) -> None:
        import onnxruntime

        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # A TF32 forward moves epsilon's heatmaps by 5 % (denominators near 0): exact means float32.
        cuda = {"user_compute_stream": str(stream.ptr), "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
        providers = [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        self._run_options = onnxruntime.RunOptions()
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._tensors = list(tensors)
        self._shapes = {o.name: o.shape[1:] for o in self._session.get_outputs()}

    def run(self, inputs: Mapping[str, Array], into: Mapping[str, Any]) -> None:
        """One forward pass, enqueued on the stream."""
        batch = len(next(iter(inputs.values())))
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        wanted = [name for name in self._tensors if name in into]
        for name in wanted:
            binding.bind_output(
                name, "cuda", 0, np.float32, [batch, *self._shapes[name]], buffer_ptr=into[name].data.ptr
            )
        if wanted:
            self._session.run_with_iobinding(binding, self._run_options)
