"""CUDA provider of onnxruntime: its libraries, which it does not find by itself, and fixes for its errors."""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stdout

log = logging.getLogger("onnxlrp")

CUDA = "CUDAExecutionProvider"


def preload() -> None:
    """Load CUDA's libraries from their wheels, where onnxruntime does not look; its messages go to the log."""
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers() or not hasattr(onnxruntime, "preload_dlls"):
        return
    with redirect_stdout(io.StringIO()) as printed:  # standard output belongs to the command
        onnxruntime.preload_dlls()
    for line in printed.getvalue().splitlines():
        log.info("onnxruntime: %s", line)


def fix(text: str, otherwise: str) -> str:
    """Return the fix for an error of onnxruntime; since 1.31 its CUDA provider loads without cuDNN, and then fails."""
    return 'pip install "onnxruntime-gpu[cudnn]"' if "cudnn is not available" in text.lower() else otherwise
