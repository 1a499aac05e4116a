"""onnxruntime's CUDA provider: the libraries that it does not find by itself, and what mends its errors."""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stdout

log = logging.getLogger("onnxlrp")

CUDA = "CUDAExecutionProvider"


def preload() -> None:
    """Load CUDA's libraries from their wheels, where onnxruntime does not look; what it says of them is logged."""
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers() or not hasattr(onnxruntime, "preload_dlls"):
        return
    with redirect_stdout(io.StringIO()) as said:  # a command's own output may be there
        onnxruntime.preload_dlls()
    for line in said.getvalue().splitlines():
        log.info("onnxruntime: %s", line)


def fix(text: str, otherwise: str) -> str:
    """The command that mends what onnxruntime complains of: since 1.31 its CUDA provider loads without cuDNN."""
    return 'pip install "onnxruntime-gpu[cudnn]"' if "cudnn is not available" in text.lower() else otherwise
