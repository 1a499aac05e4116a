"""The CUDA engine without a GPU: the same kernels, compiled for the CPU."""

from __future__ import annotations

from . import Engine, engine


@engine("emulator", order=3)
def emulator(precision: str | None = None) -> Engine:
    """The kernels of the engine "cuda", compiled for the CPU: for tests without a GPU.

    Args:
        precision: "exact" (float32, the default) or "fast" (TF32).

    Raises:
        UsageError: The extension with the emulator is not built, or there is no such precision.
    """
    from .cuda.engine import Cuda
    from .cuda.kernels.tiles import precision_of
    from .cuda.runtime.device import EmulatedDevice

    wanted = precision_of(precision)
    return Cuda(EmulatedDevice(), wanted)
