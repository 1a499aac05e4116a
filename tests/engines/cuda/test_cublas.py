"""Products by the vendor's library: which instructions they serve, and how cuBLAS is called."""

from __future__ import annotations

import subprocess
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxlrp.engines.cuda.kernels.cublas import MATMUL, BatchedMatmul, CuBlas, NumpyBlas, matmul_launch
from onnxlrp.engines.cuda.kernels.tiles import Precision
from onnxlrp.engines.cuda.planning.constants import fold_constants
from onnxlrp.engines.cuda.planning.instructions import plan
from onnxlrp.engines.cuda.planning.tensor_cores import TensorCorePlanner
from onnxlrp.engines.cuda.runtime.emulated import host_compiler
from onnxlrp.errors import UnsupportedError
from onnxlrp.program.linear import Matmul
from support.geometries import conv, matmuls
from support.kernel_cases import Case, applied, batches, each_direction, leads, ran, seeds

EXAMPLES = 20


@each_direction
@settings(max_examples=2 * EXAMPLES)
@given(linear=matmuls(), seed=seeds, targets=leads, batch=st.sampled_from((1, 3, 20)))
def test_dense_maps(direction: str, linear: Matmul, seed: int, targets: int | None, batch: int) -> None:
    case = Case(np.random.default_rng(seed), batch, targets)
    applied(case, linear, direction)
    case.check(conv_planner=TensorCorePlanner())


@each_direction
@settings(max_examples=EXAMPLES)
@given(seed=seeds, targets=leads, batch=batches, heads=st.integers(1, 3), rows=st.sampled_from((1, 5, 17)))
def test_products_of_activations(
    direction: str, seed: int, targets: int | None, batch: int, heads: int, rows: int
) -> None:
    """One matrix for each sample and head, whichever operand has targets."""
    case = Case(np.random.default_rng(seed), batch, targets)
    m = Matmul((heads, rows, 4), (heads, rows, 6))
    x = case.first_operand(m.source if direction == "linear" else m.target)
    w = case.read((heads, 4, 6))
    (case.linear if direction == "linear" else case.adjoint)(m, x, w)
    case.check(conv_planner=TensorCorePlanner())


@each_direction
@pytest.mark.parametrize("group", [2, 4])
@pytest.mark.parametrize("source", [(3, 2, 4), (5, 3)])
@settings(max_examples=EXAMPLES // 2)
@given(seed=seeds, targets=leads, batch=batches)
def test_convolutions_of_groups_and_one_place(
    direction: str, group: int, source: tuple[int, ...], seed: int, targets: int | None, batch: int
) -> None:
    """Of one group they run on tensor cores, which can go on with their sums."""
    case = Case(np.random.default_rng(seed), batch, targets)
    applied(case, conv(8, 12, 1, group=group, source=source), direction)
    assert [one.kernel for one in launches(case)] == [MATMUL]
    case.check(conv_planner=TensorCorePlanner())


def test_a_bias_is_added_behind_it() -> None:
    case = Case(np.random.default_rng(0), 2)
    c = conv(8, 6, 1, group=2)
    x, w = case.read(c.source), case.constant(np.ones((6, 4, 1, 1)))
    bias = case.constant(np.arange(6.0))
    n = case.linear(c, x, w, bias, biased=True)
    assert [one.kernel for one in launches(case)] == [MATMUL, "move_add"]
    case.check(conv_planner=TensorCorePlanner())
    assert n == len(case.program.instructions) - 1


def launches(case: Any, conv_planner: Any = None) -> Any:
    program = case.program
    return plan(
        program, len(program.instructions) - 1, case.batch, fold_constants(program), conv_planner or TensorCorePlanner()
    )


@pytest.mark.parametrize(
    ("rows", "conv_planner", "kernel"), [(16, True, "dense_columns"), (17, True, MATMUL), (17, False, "dense_tiled")]
)
def test_few_rows_have_a_kernel_of_their_own(rows: int, conv_planner: bool, kernel: Any) -> None:
    case = Case(np.random.default_rng(0), rows)
    applied(case, Matmul((5,), (7,)), "linear")
    program = case.program
    (one,) = plan(
        program,
        len(program.instructions) - 1,
        rows,
        fold_constants(program),
        TensorCorePlanner() if conv_planner else None,
    )
    assert one.kernel == kernel
    assert ran(program, rows, case.arrays, conv_planner=TensorCorePlanner() if conv_planner else None)


# -- how cuBLAS is called: a library with the signatures of cublas_api.h, columns first, on the host's memory

HOST = r"""
#include <cstddef>
extern "C" {
static int stream_set, workspace_set;
int cublasCreate_v2(void** handle) { *handle = &stream_set; return 0; }
int cublasSetStream_v2(void* handle, void* stream) {
  stream_set = handle == &stream_set && stream == (void*)7;
  workspace_set = 0;
  return 0;
}
int cublasSetWorkspace_v2(void*, void* workspace, size_t bytes) {
  workspace_set = workspace != nullptr && bytes > 0;
  return 0;
}
int cublasGemmStridedBatchedEx(void* handle, int transa, int transb, int m, int n, int k, const void* alpha,
                               const void* A, int a_type, int lda, long long stride_a, const void* B, int b_type,
                               int ldb, long long stride_b, const void* beta, void* C, int c_type, int ldc,
                               long long stride_c, int count, int compute, int algorithm) {
  if (handle != &stream_set || !stream_set || !workspace_set) return 1;
  if (a_type || b_type || c_type || algorithm != -1 || (compute != 68 && compute != 77)) return 7;
  const float one = *(const float*)alpha, zero = *(const float*)beta;
  if (one != 1 || zero != 0 || lda < (transa ? k : m) || ldb < (transb ? n : k) || ldc < m) return 7;
  for (int b = 0; b < count; ++b)
    for (int i = 0; i < m; ++i)
      for (int j = 0; j < n; ++j) {
        float sum = 0;
        for (int d = 0; d < k; ++d)
          sum += ((const float*)A)[b * stride_a + (transa ? (long long)i * lda + d : (long long)d * lda + i)] *
                 ((const float*)B)[b * stride_b + (transb ? (long long)d * ldb + j : (long long)j * ldb + d)];
        ((float*)C)[b * stride_c + (long long)j * ldc + i] = compute == 77 ? -sum : sum;
      }
  return 0;
}
}
"""


class There:
    """An array where a GPU would have it."""

    def __init__(self, array: Any) -> None:
        self.array, self.data = array, types.SimpleNamespace(ptr=array.ctypes.data)


@pytest.fixture(scope="module")
def cublas(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("cublas")
    (folder / "host.cpp").write_text(HOST)
    built = folder / "libhost.so"
    subprocess.run([host_compiler(), "-shared", "-fPIC", "-O1", str(folder / "host.cpp"), "-o", str(built)], check=True)
    cupy = types.SimpleNamespace(
        cuda=types.SimpleNamespace(cublas=types.SimpleNamespace(__file__=str(built))),
        uint8=np.uint8,
        empty=lambda size, dtype: There(np.empty(size, dtype)),
    )
    return CuBlas(cupy, types.SimpleNamespace(ptr=7))


sizes = st.integers(1, 4)


@given(rows=sizes, inner=sizes, outer=sizes, turned=st.tuples(st.booleans(), st.booleans()), count=sizes, repeats=sizes,
       shared=st.sampled_from((None, 0, 1)), seed=seeds)  # fmt: skip
def test_cublas_gets_what_numpy_gets(
    cublas: Any,
    rows: int,
    inner: int,
    outer: int,
    turned: tuple[bool, bool],
    count: int,
    repeats: int,
    shared: int | None,
    seed: int,
) -> None:
    sizes = (rows * inner, inner * outer, rows * outer)
    steps: Any = tuple(0 if k == shared else size for k, size in enumerate(sizes))
    totals: Any = tuple(count * n for n in steps)
    p = BatchedMatmul(rows, inner, outer, turned, count, steps, repeats, totals)
    assert BatchedMatmul.of(p.numbers()) == p
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-4, 5, size * count * repeats).astype(np.float32) for size in sizes[:2])
    found, wanted = (np.full(sizes[2] * count * repeats, np.nan, np.float32) for _ in range(2))
    one = matmul_launch(None, None, None, p, "exact")
    cublas.launch(one.kernel, one.grid, one.block, [There(a), There(b), There(found), *one.arguments[3:]])
    NumpyBlas().launch(one.kernel, one.grid, one.block, [a, b, wanted, *one.arguments[3:]])
    np.testing.assert_array_equal(found, wanted)
    left = a[: sizes[0]].reshape((inner, rows) if turned[0] else (rows, inner))
    right = b[: sizes[1]].reshape((outer, inner) if turned[1] else (inner, outer))
    first = (left.T if turned[0] else left) @ (right.T if turned[1] else right)
    np.testing.assert_array_equal(wanted[: sizes[2]].reshape(rows, outer), first)


def test_fast_is_tf32(cublas: Any) -> None:
    a, y = np.ones(1, np.float32), np.zeros(1, np.float32)
    choices: tuple[tuple[Precision, int], ...] = (("exact", 1), ("fast", -1))
    for precision, wanted in choices:  # the host's library turns the sign of what it does as TF32
        one = matmul_launch(None, None, None, BatchedMatmul(1, 1, 1), precision)
        cublas.launch(one.kernel, one.grid, one.block, [There(a), There(a), There(y), *one.arguments[3:]])
        assert y == wanted


def test_a_status_is_an_error(cublas: Any) -> None:
    a = There(np.ones(1, np.float32))
    cublas._opened[0].cublasSetStream_v2(cublas._opened[1], 8)
    with pytest.raises(UnsupportedError, match="status 1"):
        cublas.launch(MATMUL, (1,), (1,), [a, a, a, 0, *BatchedMatmul(1, 1, 1).numbers()])
