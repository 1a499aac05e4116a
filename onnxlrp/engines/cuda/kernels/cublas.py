"""Matrix products behind the launch call: by cuBLAS on a GPU, by numpy beside the emulator.

A launch of MATMUL has the arguments of `matmul_launch`; cuBLAS chooses grid and block itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ....errors import UnsupportedError
from .launch import Argument, Axes, Launch
from .tiles import Precision

MATMUL = "library_matmul"


@dataclass(frozen=True)
class BatchedMatmul:
    """Batched products y = A B of row-major matrices, A [rows, inner], B [inner, outer], y [rows, outer].

    Args:
        rows: Rows of A and y.
        inner: Columns of A, rows of B.
        outer: Columns of B and y.
        transposed: Whether A and B are stored transposed.
        count: Products of a batch.
        steps: Elements from one product to the next, of A, B and y.
        repeats: Number of batches.
        strides: Elements from one batch to the next, of A, B and y.
    """

    rows: int
    inner: int
    outer: int
    transposed: tuple[bool, bool] = (False, False)
    count: int = 1
    steps: tuple[int, int, int] = (0, 0, 0)
    repeats: int = 1
    strides: tuple[int, int, int] = (0, 0, 0)

    @property
    def flops(self) -> int:
        """Number of multiplications and additions."""
        return 2 * self.rows * self.inner * self.outer * self.count * self.repeats

    def numbers(self) -> tuple[np.int64, ...]:
        """Return all fields in a row, the form that a launch takes."""
        return tuple(np.int64(n) for value in astuple(self) for n in (value if isinstance(value, tuple) else (value,)))

    @classmethod
    def of(cls, numbers: Sequence[Any]) -> BatchedMatmul:
        """Return the products that `numbers` describes."""
        rows, inner, outer, a, b, count, sa, sb, sy, repeats, ra, rb, ry = map(int, numbers)
        return cls(rows, inner, outer, (bool(a), bool(b)), count, (sa, sb, sy), repeats, (ra, rb, ry))


def matmul_launch(a: Argument, b: Argument, y: Argument, p: BatchedMatmul, precision: Precision) -> Launch:
    """Return the launch of batched products.

    Args:
        a: Array of the left matrices.
        b: Array of the right matrices.
        y: Array of the results.
        p: The products.
        precision: "exact" for float32, "fast" for TF32 where the launcher has it.
    """
    one = (1, 1, 1)
    return Launch(MATMUL, one, one, (a, b, y, np.int32(precision == "fast"), *p.numbers()))


class NumpyBlas:
    """Launcher of products by numpy, for the emulator."""

    name = "numpy"

    def launch(
        self, name: str, grid: Axes, block: Axes, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Run the products of a launch, in float32 at any precision: the CPU has no TF32."""
        a, b, y, _, *numbers = args
        p = BatchedMatmul.of(numbers)
        for r in range(p.repeats):
            left = self._matrices(a, p, 0, r, (p.rows, p.inner))
            right = self._matrices(b, p, 1, r, (p.inner, p.outer))
            np.matmul(left, right, out=self._matrices(y, p, 2, r, (p.rows, p.outer)))

    @staticmethod
    def _matrices(array: Any, p: BatchedMatmul, which: int, repeat: int, shape: tuple[int, int]) -> Any:
        transposed = which < 2 and p.transposed[which]
        high, wide = shape[::-1] if transposed else shape
        flat = array.reshape(-1)[p.strides[which] * repeat :]
        assert flat.size >= p.steps[which] * (p.count - 1) + high * wide, "a product reaches beyond its array"
        size = flat.itemsize
        found = as_strided(flat, (p.count, high, wide), (p.steps[which] * size, wide * size, size))
        return found.swapaxes(1, 2) if transposed else found


# From cublas_api.h and library_types.h.
_FLOAT, _DEFAULT, _FLOAT32, _TF32 = 0, -1, 68, 77
_INT, _LONG, _POINTER = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p
_OPERAND: list[Any] = [_POINTER, _INT, _INT, _LONG]
_SIGNATURE: list[Any] = [
    _POINTER,
    _INT,
    _INT,
    _INT,
    _INT,
    _INT,
    _POINTER,
    *_OPERAND,
    *_OPERAND,
    _POINTER,
    *_OPERAND,
    *[_INT] * 3,
]
WORKSPACE = 32 << 20  # bytes; cuBLAS's own default on Hopper, which it cannot allocate while a graph is captured


class CuBlas:
    """Launcher of products by cuBLAS on one stream, with its own handle and workspace, so that runs are deterministic.

    It calls the library that CuPy has loaded through ctypes: CuPy's own functions raise while a stream is captured.
    """

    name = "cublas"

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cupy, self._stream = cupy, stream

    def launch(
        self, name: str, grid: Axes, block: Axes, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Enqueue the products of a launch; cuBLAS is column-major and gets yᵀ = Bᵀ Aᵀ."""
        a, b, y, tf32, *numbers = args
        p = BatchedMatmul.of(numbers)
        library, handle, one, zero, _ = self._opened
        for r in range(p.repeats):
            at = [array.data.ptr + 4 * r * stride for array, stride in zip((a, b, y), p.strides, strict=True)]
            code = library.cublasGemmStridedBatchedEx(
                handle, int(p.transposed[1]), int(p.transposed[0]), p.outer, p.rows, p.inner, ctypes.byref(one),
                at[1], _FLOAT, p.inner if p.transposed[1] else p.outer, p.steps[1],
                at[0], _FLOAT, p.rows if p.transposed[0] else p.inner, p.steps[0], ctypes.byref(zero),
                at[2], _FLOAT, p.outer, p.steps[2], p.count, _TF32 if tf32 else _FLOAT32, _DEFAULT,
            )  # fmt: skip
            _checked(code, "cublasGemmStridedBatchedEx")

    @cached_property
    def _opened(self) -> tuple[Any, Any, ctypes.c_float, ctypes.c_float, Any]:
        """Library, handle, α, β and workspace, created at the first product."""
        library = ctypes.CDLL(self._cupy.cuda.cublas.__file__)  # resolves symbols of the libraries it is linked to
        library.cublasGemmStridedBatchedEx.argtypes = _SIGNATURE
        library.cublasSetWorkspace_v2.argtypes = [_POINTER, _POINTER, ctypes.c_size_t]
        library.cublasSetStream_v2.argtypes = [_POINTER, _POINTER]
        library.cublasCreate_v2.argtypes = [ctypes.POINTER(_POINTER)]
        handle, workspace = _POINTER(), self._cupy.empty(WORKSPACE, self._cupy.uint8)
        _checked(library.cublasCreate_v2(ctypes.byref(handle)), "cublasCreate")
        _checked(library.cublasSetStream_v2(handle, self._stream.ptr), "cublasSetStream")  # resets the workspace
        _checked(library.cublasSetWorkspace_v2(handle, workspace.data.ptr, WORKSPACE), "cublasSetWorkspace")
        return library, handle, ctypes.c_float(1), ctypes.c_float(0), workspace


def _checked(code: int, what: str) -> None:
    if code:
        raise UnsupportedError(f"{what} fails with status {code}", "give a smaller --batch-size, or --engine ort")
