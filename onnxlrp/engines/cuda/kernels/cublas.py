"""Products of matrices by the vendor's library, behind the launch call: cuBLAS on a GPU, numpy beside the emulator.

A launch of MATMUL has the arguments of `product`; grid and block are the library's own affair.
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
class Product:
    """y = A B, row-major, `count` times a step apart, and all that `repeats` times; steps are in elements.

    A is [rows, inner], B [inner, outer], each stored the other way round where it is `turned`.
    """

    rows: int
    inner: int
    outer: int
    turned: tuple[bool, bool] = (False, False)
    count: int = 1
    steps: tuple[int, int, int] = (0, 0, 0)  # of A, B and y, from one product to the next
    repeats: int = 1
    strides: tuple[int, int, int] = (0, 0, 0)  # of A, B and y, from one repeat to the next

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.rows * self.inner * self.outer * self.count * self.repeats

    def numbers(self) -> tuple[np.int64, ...]:
        """All of it in one row, as a launch takes it."""
        return tuple(np.int64(n) for value in astuple(self) for n in (value if isinstance(value, tuple) else (value,)))

    @classmethod
    def of(cls, numbers: Sequence[Any]) -> Product:
        """What `numbers` wrote."""
        rows, inner, outer, a, b, count, sa, sb, sy, repeats, ra, rb, ry = map(int, numbers)
        return cls(rows, inner, outer, (bool(a), bool(b)), count, (sa, sb, sy), repeats, (ra, rb, ry))


def product(a: Argument, b: Argument, y: Argument, p: Product, precision: Precision) -> Launch:
    """The launch of a product; in float32, or with precision "fast" as TF32 where the library has it."""
    one = (1, 1, 1)
    return Launch(MATMUL, one, one, (a, b, y, np.int32(precision == "fast"), *p.numbers()))


class Numpy:
    """numpy's products, for the emulator."""

    name = "numpy"

    def launch(
        self, name: str, grid: Axes, block: Axes, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Run to the end; the CPU has no TF32."""
        a, b, y, _, *numbers = args
        p = Product.of(numbers)
        for r in range(p.repeats):
            left = self._matrices(a, p, 0, r, (p.rows, p.inner))
            right = self._matrices(b, p, 1, r, (p.inner, p.outer))
            np.matmul(left, right, out=self._matrices(y, p, 2, r, (p.rows, p.outer)))

    @staticmethod
    def _matrices(array: Any, p: Product, which: int, repeat: int, shape: tuple[int, int]) -> Any:
        turned = which < 2 and p.turned[which]
        high, wide = shape[::-1] if turned else shape
        flat = array.reshape(-1)[p.strides[which] * repeat :]
        assert flat.size >= p.steps[which] * (p.count - 1) + high * wide, "a product reaches beyond its array"
        size = flat.itemsize
        found = as_strided(flat, (p.count, high, wide), (p.steps[which] * size, wide * size, size))
        return found.swapaxes(1, 2) if turned else found


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
WORKSPACE = 32 << 20  # bytes; what cuBLAS would take for itself on a Hopper, and asks for while a graph is captured


class CuBlas:
    """cuBLAS on one stream, with a handle and a workspace of its own, so that two runs give the same bits.

    It is called past CuPy's functions, which refuse while a stream is captured, in the library that CuPy has loaded.
    """

    name = "cublas"

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cupy, self._stream = cupy, stream

    def launch(
        self, name: str, grid: Axes, block: Axes, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Enqueue. cuBLAS counts columns first: yᵀ = Bᵀ Aᵀ."""
        a, b, y, tf32, *numbers = args
        p = Product.of(numbers)
        library, handle, one, zero, _ = self._opened
        for r in range(p.repeats):
            at = [array.data.ptr + 4 * r * stride for array, stride in zip((a, b, y), p.strides, strict=True)]
            code = library.cublasGemmStridedBatchedEx(
                handle, int(p.turned[1]), int(p.turned[0]), p.outer, p.rows, p.inner, ctypes.byref(one),
                at[1], _FLOAT, p.inner if p.turned[1] else p.outer, p.steps[1],
                at[0], _FLOAT, p.rows if p.turned[0] else p.inner, p.steps[0], ctypes.byref(zero),
                at[2], _FLOAT, p.outer, p.steps[2], p.count, _TF32 if tf32 else _FLOAT32, _DEFAULT,
            )  # fmt: skip
            _checked(code, "cublasGemmStridedBatchedEx")

    @cached_property
    def _opened(self) -> tuple[Any, Any, ctypes.c_float, ctypes.c_float, Any]:
        """The library, the handle, α, β and the workspace: made by the first product."""
        library = ctypes.CDLL(self._cupy.cuda.cublas.__file__)  # finds what that module is linked to
        library.cublasGemmStridedBatchedEx.argtypes = _SIGNATURE
        library.cublasSetWorkspace_v2.argtypes = [_POINTER, _POINTER, ctypes.c_size_t]
        library.cublasSetStream_v2.argtypes = [_POINTER, _POINTER]
        library.cublasCreate_v2.argtypes = [ctypes.POINTER(_POINTER)]
        handle, workspace = _POINTER(), self._cupy.empty(WORKSPACE, self._cupy.uint8)
        _checked(library.cublasCreate_v2(ctypes.byref(handle)), "cublasCreate")
        _checked(library.cublasSetStream_v2(handle, self._stream.ptr), "cublasSetStream")  # takes workspaces away
        _checked(library.cublasSetWorkspace_v2(handle, workspace.data.ptr, WORKSPACE), "cublasSetWorkspace")
        return library, handle, ctypes.c_float(1), ctypes.c_float(0), workspace


def _checked(code: int, what: str) -> None:
    if code:
        raise UnsupportedError(f"{what} fails with status {code}", "give a smaller --batch-size, or --engine ort")
