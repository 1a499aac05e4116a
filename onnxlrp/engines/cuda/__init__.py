"""The CUDA engine: our own kernels on an NVIDIA GPU."""

from __future__ import annotations

from .. import Engine, engine


@engine("cuda", order=2)
def cuda(precision: str | None = None) -> Engine:
    """Return the engine on the current GPU, with precision "exact" (the default) or "fast". Raises UsageError."""
    from .engine import Cuda
    from .kernels.tiles import precision_of
    from .runtime.device import Gpu

    wanted = precision_of(precision)
    return Cuda(Gpu(), wanted)
