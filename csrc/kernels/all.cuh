// All kernels: their files, then their names. Every loader reads this list; kernels that it lacks are not loaded.
//
// Each #include "name" needs a line of its own: for NVRTC these lines are replaced by the contents of the files.
#pragma once
#include "ptx.cuh"
#include "axpy.cuh"
#include "window.cuh"
#include "conv.cuh"
#include "dense.cuh"
#include "elementwise.cuh"
#include "gemm.cuh"
#include "gemm_instances.cuh"
#include "depthwise.cuh"
#include "direct.cuh"
#include "move.cuh"
#include "route.cuh"
#include "pool.cuh"
#include "reduce.cuh"
#include "seed.cuh"
#include "take.cuh"

#define KERNELS(X) \
  X(axpy) \
  X(conv_forward) X(conv_adjoint) \
  X(dense_rows) X(dense_columns) X(dense_tiled) \
  X(gemm_exact_128x128) X(gemm_exact_128x64) X(gemm_exact_64x128) X(gemm_exact_64x64) X(gemm_exact_64x32) X(gemm_exact_32x128) \
  X(gemm_fast_128x128) X(gemm_fast_128x64) X(gemm_fast_64x128) X(gemm_fast_64x64) X(gemm_fast_64x32) X(gemm_fast_32x128) X(gemm_reduce) \
  X(depthwise_any) X(depthwise_3x3) X(depthwise_3x3_by_2) X(depthwise_5x5) X(depthwise_back_any) X(depthwise_back_by_2) \
  X(image_forward) X(image_adjoint) \
  X(move_gather) X(move_add) X(move_unslice) X(move_copy) \
  X(pool_average) X(pool_average_adjoint) X(pool_winners) X(pool_select) X(pool_select_adjoint) X(pool_route_2x2) X(pool_route_3x3) \
  X(reduce_threads) X(reduce_blocks) X(reduce_finish) \
  X(seed_index) X(seed_top) \
  X(take_copy) X(take_clear) X(take_largest) X(take_add) X(take_finish)
