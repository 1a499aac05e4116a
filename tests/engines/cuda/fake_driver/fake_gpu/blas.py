"""cuBLAS over the fake GPU: one product, in the order of the columns."""

from __future__ import annotations

import itertools
from ctypes import POINTER, c_float, c_int, c_longlong, c_size_t, c_void_p
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .device import DEVICE
from .errors import Failure, function

TABLE: dict[str, Any] = {}
NOT_INITIALISED, INVALID_VALUE = 1, 7
FLOAT, COMPUTE, DEFAULT = 0, (68, 77), -1  # CUDA_R_32F; CUBLAS_COMPUTE_32F and _FAST_TF32; CUBLAS_GEMM_DEFAULT
_handles = itertools.count(1)
_streams: dict[int, int] = {}


def offered(name: str, *arguments: Any) -> Any:
    def add(call: Any) -> Any:
        TABLE[name] = function(call, *arguments)
        return call

    return add


@offered("cublasCreate_v2", POINTER(c_void_p))
def create(at: Any) -> None:
    at[0] = next(_handles)
    _streams[at[0]] = 0


@offered("cublasSetStream_v2", c_void_p, c_void_p)
def set_stream(handle: int, stream: int | None) -> None:
    DEVICE.streams.stream(stream)
    _streams[handle] = stream or 0


@offered("cublasSetWorkspace_v2", c_void_p, c_void_p, c_size_t)
def set_workspace(handle: int, at: int, size: int) -> int:
    DEVICE.memory.view(at, size)
    return 0 if handle in _streams and at % 256 == 0 else INVALID_VALUE


_MATRIX = (c_void_p, c_int, c_int, c_longlong)


@offered(
    "cublasGemmStridedBatchedEx",
    *[c_void_p, *[c_int] * 5, POINTER(c_float), *_MATRIX, *_MATRIX, POINTER(c_float), *_MATRIX, *[c_int] * 3],
)
def gemm(handle: int, turn_a: int, turn_b: int, m: int, n: int, k: int, alpha: Any, *rest: Any) -> int:
    a, b, beta, c = rest[:4], rest[4:8], rest[8], rest[9:13]
    count, compute, algorithm = rest[13:]
    if handle not in _streams:
        return NOT_INITIALISED
    kinds = {a[1], b[1], c[1]}
    if kinds != {FLOAT} or compute not in COMPUTE or algorithm != DEFAULT or beta[0] != 0:
        return INVALID_VALUE
    left = _matrices(a, (k, m) if turn_a else (m, k), count)
    right = _matrices(b, (n, k) if turn_b else (k, n), count)
    result, scale = _matrices(c, (m, n), count), alpha[0]

    def run() -> None:
        x = left.swapaxes(1, 2) if turn_a else left
        y = right.swapaxes(1, 2) if turn_b else right
        result[...] = scale * (x @ y)

    DEVICE.streams.enqueue(_streams[handle], run)
    return 0


def _matrices(of: tuple[int, int, int, int], shape: tuple[int, int], count: int) -> np.ndarray:
    """Matrices of the device, each column one after the other."""
    address, _, leading, step = of
    rows, columns = shape
    if leading < rows:
        raise Failure(INVALID_VALUE, "a leading dimension below the rows")
    size = 4 * (step * (count - 1) + leading * (columns - 1) + rows)
    return as_strided(
        DEVICE.memory.view(address, size).view(np.float32), (count, rows, columns), (4 * step, 4, 4 * leading)
    )
