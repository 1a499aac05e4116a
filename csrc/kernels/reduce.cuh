// Sums over any axes of a sample, in float64 and in a fixed order.
//
// Geometry g: [0] kept axes  [1] summed axes  [2..9] sizes of the kept axes  [10..17] their strides in x
//   [18..25] sizes of the summed axes  [26..33] their strides in x
// x has `stride` elements per sample; y[batch, kept]; each element of y is a sum of `summed` elements.

__device__ __forceinline__ long long reduce_place(int i, int axes, const int* __restrict__ sizes,
                                                         const int* __restrict__ strides) {
  long long place = 0;
  for (int axis = axes - 1; axis > 0; --axis) {
    place += (long long)(i % sizes[axis]) * strides[axis];
    i /= sizes[axis];
  }
  return axes == 0 ? 0 : place + (long long)i * strides[0];
}

// One thread per sum, for few terms or sums adjacent in memory. Grid: x over all sums, may be smaller.
extern "C" __global__ void __launch_bounds__(256, 2)
reduce_threads(const float* __restrict__ x, float* __restrict__ y, const int* __restrict__ g, long long sums, int kept,
               int summed, long long stride) {
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < sums;
       i += (long long)gridDim.x * blockDim.x) {
    const float* first = x + i / kept * stride + reduce_place((int)(i % kept), g[0], g + 2, g + 10);
    double total = 0.0;
    if (g[1] == 1) {
      for (int k = 0; k < summed; ++k) total += first[(long long)k * g[26]];
    } else {
      for (int k = 0; k < summed; ++k) total += first[reduce_place(k, g[1], g + 18, g + 26)];
    }
    y[i] = (float)total;
  }
}

// Return, to thread 0, the sum of `value` over a block of 256 threads: warps by shuffles, then their results in order.
__device__ __forceinline__ double reduce_in_block(double value, double* shared) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  double total = 0.0;
  if (threadIdx.x == 0) {
    for (int warp = 0; warp < (int)blockDim.x / 32; ++warp) total += shared[warp];
  }
  return total;
}

// One block per share of a sum: share p of sum i is written to partial[i, p], or to y if there is one share.
// Grid: x over sums, may be smaller; y shares. Share p has the terms [p * length, (p + 1) * length).
extern "C" __global__ void __launch_bounds__(256, 2)
reduce_blocks(const float* __restrict__ x, float* __restrict__ y, double* __restrict__ partial,
              const int* __restrict__ g, long long sums, int kept, int summed, long long stride, int length) {
  __shared__ double shared[8];
  const long long begin = (long long)blockIdx.y * length;
  const long long end = begin + length < summed ? begin + length : summed;
  for (long long i = blockIdx.x; i < sums; i += gridDim.x) {
    const float* first = x + i / kept * stride + reduce_place((int)(i % kept), g[0], g + 2, g + 10);
    double total = 0.0;
    for (long long k = begin + threadIdx.x; k < end; k += blockDim.x) {
      total += first[reduce_place((int)k, g[1], g + 18, g + 26)];
    }
    total = reduce_in_block(total, shared);
    if (threadIdx.x == 0) {
      if (gridDim.y == 1) {
        y[i] = (float)total;
      } else {
        partial[i * gridDim.y + blockIdx.y] = total;
      }
    }
  }
}

// y[sums] = partial[sums, shares] summed over shares, in order. Grid: x over sums, may be smaller.
extern "C" __global__ void __launch_bounds__(256, 2)
reduce_finish(const double* __restrict__ partial, float* __restrict__ y, long long sums, int shares) {
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < sums;
       i += (long long)gridDim.x * blockDim.x) {
    double total = 0.0;
    for (int p = 0; p < shares; ++p) total += partial[i * shares + p];
    y[i] = (float)total;
  }
}
