"""The CUDA engine: our own kernels on an NVIDIA GPU."""

from __future__ import annotations

from .. import Engine, engine


@engine("cuda", order=2)
def cuda(precision: str | None = None) -> Engine:
    """Our own kernels on an NVIDIA GPU, through CuPy; they have not run on hardware yet.

    Args:
        precision: "exact" (float32, the default) or "fast" (TF32).

    Raises:
        UsageError: CuPy or a GPU is missing, or there is no such precision.
    """
    from .engine import Cuda
    from .kernels.tiles import precision_of
    from .runtime.device import GpuDevice

    wanted = precision_of(precision)
    return Cuda(GpuDevice(), wanted)
