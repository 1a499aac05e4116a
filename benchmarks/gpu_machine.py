"""The machine that benchmarks/gpu.py runs on: the GPU, the driver, the versions, the rate of a copy."""

from __future__ import annotations

import argparse

import floors
from clocks import cuda_clock
from records import Record, environment


def meta(given: argparse.Namespace) -> Record:
    """Return the GPU, the driver, the versions and the date."""
    from onnxlrp.commands import probes

    packages = ("onnxlrp", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "cupy-cuda13x", "torch", "zennit")
    there = probes.gpus() if given.engine == "cuda" else []
    return {
        **environment(packages),
        "device": there[0]["name"] if there else given.engine,
        "gpus": there,
        "driver CUDA": probes.driver_cuda(),
        "CUDA runtime": probes.runtime_cuda(),
        "cuDNN": probes.cudnn(),
        "bandwidth": floors.BANDWIDTH,
        "arguments": {key: str(value) for key, value in vars(given).items()},
    }


def copy_rate() -> float:
    """Bytes a second of a copy on the device, read and written."""
    import cupy

    size = 2**30
    a, b = cupy.zeros(size, cupy.uint8), cupy.zeros(size, cupy.uint8)
    stream = cupy.cuda.Stream(non_blocking=True)
    seconds = cuda_clock(stream, flush=0)(lambda: b.data.copy_from_device_async(a.data, size, stream), 0.5)
    return 2 * size / seconds
