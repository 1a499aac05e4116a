// The instances of gemm.cuh that store their sums, and the split-K reduction. (Kernels with an epilogue are generated:
// onnxlrp/engines/cuda/planning/epilogue.py.)

// y[batch, rows, height, width] or, with more than one share, parts[shares, batch, rows, height, width]
// = W x (+ bias[rows], unless null). The lines must equal `instances()` of onnxlrp/engines/cuda/kernels/tiles.py, which
// plans their blocks and shared memory; a test compares them.
#define GEMM(name, BLOCKS, BM, BN, WM, WN, STAGES, EXACT)                                                \
  extern "C" __global__ void __launch_bounds__(BM / WM * (BN / WN) * 32, BLOCKS)                         \
      name(GEMM_PARAMETERS, const float* __restrict__ bias, float* y) {                                  \
    const GemmStore store{bias, y + (long long)blockIdx.y * batch * rows * height * width};              \
    gemm_tile<BM, BN, WM, WN, STAGES, EXACT>(GEMM_ARGUMENTS, store);                                     \
  }

GEMM(gemm_exact_128x128, 1, 128, 128, 64, 32, 3, true)
GEMM(gemm_exact_128x64, 2, 128, 64, 64, 32, 3, true)
GEMM(gemm_exact_64x128, 2, 64, 128, 64, 32, 3, true)
GEMM(gemm_exact_64x64, 4, 64, 64, 32, 32, 4, true)
GEMM(gemm_exact_32x128, 4, 32, 128, 32, 32, 3, true)
GEMM(gemm_exact_64x32, 5, 64, 32, 32, 16, 4, true)
GEMM(gemm_fast_128x128, 2, 128, 128, 64, 64, 3, false)
GEMM(gemm_fast_128x64, 3, 128, 64, 64, 32, 3, false)
GEMM(gemm_fast_64x128, 3, 64, 128, 64, 32, 3, false)
GEMM(gemm_fast_64x64, 4, 64, 64, 32, 32, 4, false)
GEMM(gemm_fast_32x128, 4, 32, 128, 32, 32, 3, false)
GEMM(gemm_fast_64x32, 5, 64, 32, 32, 16, 4, false)

extern "C" __global__ void __launch_bounds__(256)
gemm_reduce(GEMM_PARTS, const float* __restrict__ bias, float* y) {
  const GemmStore store{bias, y};
  gemm_add_shares(GEMM_PARTS_ARGUMENTS, store);
}
