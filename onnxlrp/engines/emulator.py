"""The CUDA engine without a GPU: the same kernels, compiled for the CPU."""

from __future__ import annotations

from . import Engine, engine


@engine("emulator", order=3)
def emulator(precision: str | None = None) -> Engine:
    """Return the engine on the emulated GPU, with precision "exact" (the default) or "fast". Raises UsageError."""
    from .cuda.engine import Cuda
    from .cuda.kernels.tiles import precision_of
    from .cuda.runtime.device import Emulated

    wanted = precision_of(precision)
    return Cuda(Emulated(), wanted)
