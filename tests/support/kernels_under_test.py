"""The kernels that tests launch: emulated, or with `pytest --kernels nvrtc` or `fatbin` those on this machine's GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxlrp.engines.cuda.runtime import loaders
from onnxlrp.errors import OnnxLrpError

which, exact_memory = "emulator", False  # conftest.py sets them


def kernels(check: bool = False) -> Any:
    """Kernels that take numpy arrays; `check` looks at every access to memory, where they are emulated."""
    return loaders.load("emulator", check=check) if which == "emulator" else Copied(_asked(loaders.load))


def blas() -> Any:
    """The library's products, for the same arrays."""
    from onnxlrp.engines.cuda.kernels.cublas import CuBlas, NumpyBlas

    if which == "emulator":
        return NumpyBlas()
    import cupy

    return Copied(CuBlas(cupy, cupy.cuda.Stream.null))


def device(memory: int | None = None) -> Any:
    """Where the engine runs them; `memory` is what it may take, in bytes."""
    from onnxlrp.engines.cuda.runtime.device import EmulatedDevice, GpuDevice

    if which == "emulator":
        return EmulatedDevice(memory)
    made = _asked(GpuDevice)
    if memory is not None:
        made.free = lambda: memory
    return made


def _asked(make: Callable[[str], Any]) -> Any:
    """What was asked for by name must be there: tests that cannot run it fail, they are not skipped."""
    try:
        made = make(which)
    except OnnxLrpError as error:
        raise RuntimeError(f"--kernels {which}: {error}") from error
    if exact_memory:
        import cupy

        cupy.cuda.set_allocator(None)
    return made


class Copied:
    """Kernels on a GPU for arrays on the host: a launch copies all of them there and back."""

    def __init__(self, made: Any) -> None:
        self.made, self.seed = made, 0

    def launch(
        self, name: str, grid: Any, block: Any, arguments: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        import cupy

        there = {id(a): cupy.asarray(a) for a in arguments if isinstance(a, np.ndarray)}
        self.made.launch(name, grid, block, [there.get(id(a), a) for a in arguments], shared, stream)
        cupy.cuda.runtime.deviceSynchronize()
        for a in arguments:
            if isinstance(a, np.ndarray) and a.flags.writeable:
                a[...] = there[id(a)].get()

    def from_source(self, code: str) -> Copied:
        return Copied(self.made.from_source(code))
