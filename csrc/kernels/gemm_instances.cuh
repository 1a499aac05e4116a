// The instances of gemm.cuh that store their sums, and the reduction of shares. (Those that go on with a sum are
// generated: onnxlrp/engines/cuda/epilogue.py.)

// y[batch, rows, height, width] or, with more than one share, parts[shares, batch, rows, height, width]
// = W x (+ bias[rows], unless null). Block, dynamic shared memory and registers: tiles.py has the same list.
#define GEMM(name, BM, BN, WM, WN, STAGES, BLOCKS, EXACT)                                                \
  extern "C" __global__ void __launch_bounds__(BM / WM * (BN / WN) * 32, BLOCKS)                         \
      name(GEMM_PARAMETERS, const float* __restrict__ bias, float* y) {                                  \
    const GemmStore store{bias, y + (long long)blockIdx.y * batch * rows * height * width};              \
    gemm_tile<BM, BN, WM, WN, STAGES, EXACT>(GEMM_ARGUMENTS, store);                                     \
  }

GEMM(gemm_exact_128x128, 128, 128, 64, 32, 3, 1, true)
GEMM(gemm_exact_128x64, 128, 64, 64, 32, 3, 2, true)
GEMM(gemm_exact_64x128, 64, 128, 64, 32, 3, 2, true)
GEMM(gemm_exact_64x64, 64, 64, 32, 32, 4, 4, true)
GEMM(gemm_exact_32x128, 32, 128, 32, 32, 3, 4, true)
GEMM(gemm_exact_64x32, 64, 32, 32, 16, 4, 5, true)
GEMM(gemm_fast_128x128, 128, 128, 64, 64, 3, 2, false)
GEMM(gemm_fast_128x64, 128, 64, 64, 32, 3, 3, false)
GEMM(gemm_fast_64x128, 64, 128, 64, 32, 3, 3, false)
GEMM(gemm_fast_64x64, 64, 64, 32, 32, 4, 4, false)
GEMM(gemm_fast_32x128, 32, 128, 32, 32, 3, 4, false)
GEMM(gemm_fast_64x32, 64, 32, 32, 16, 4, 5, false)

extern "C" __global__ void __launch_bounds__(256)
gemm_reduce(GEMM_PARTS, const float* __restrict__ bias, float* y) {
  const GemmStore store{bias, y};
  gemm_add_shares(GEMM_PARTS_ARGUMENTS, store);
}
