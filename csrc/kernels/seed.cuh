// Seeds of relevance: y[targets, samples, classes] is 1 at the chosen class, 0 elsewhere.

// For given classes: ids[rows], rows = targets * samples. An id outside [0, classes) chooses none.
// Grid: x over classes, y over rows; both may be smaller than what they cover.
extern "C" __global__ void __launch_bounds__(256, 2)
seed_index(const long long* __restrict__ ids, float* __restrict__ y, int rows, int classes) {
  for (int row = blockIdx.y; row < rows; row += gridDim.y) {
    const long long id = ids[row];
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)classes; i += gridDim.x * blockDim.x) {
      y[(long long)row * classes + i] = i == id ? 1.0f : 0.0f;
    }
  }
}

// Sort key of a score: ordered as floats are, the lower class first among equal scores (-0 equals 0), NaN last.
__device__ __forceinline__ unsigned long long seed_key(float score, int i) {
  unsigned int bits = __float_as_uint(score);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    bits = 0;
  } else if ((bits & 0x7fffffffu) == 0) {
    bits = 0x80000000u;
  } else {
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  }
  return (unsigned long long)bits << 32 | (0xffffffffu - (unsigned int)i);
}

// Target t is the class with the t-th highest of scores[samples, classes]. Block: 256 threads for one sample; each
// search takes the highest key below the one found before. Grid: x over samples, may be smaller.
extern "C" __global__ void __launch_bounds__(256, 2)
seed_top(const float* __restrict__ scores, float* __restrict__ y, int samples, int classes, int targets) {
  __shared__ unsigned long long best[8];
  for (int n = blockIdx.x; n < samples; n += gridDim.x) {
    const float* score = scores + (long long)n * classes;
    unsigned long long bound = ~0ull;
    for (int t = 0; t < targets; ++t) {
      unsigned long long key = 0;
      for (int i = threadIdx.x; i < classes; i += blockDim.x) {
        const unsigned long long other = seed_key(score[i], i);
        if (other < bound && other > key) key = other;
      }
      for (int step = 16; step > 0; step /= 2) {
        const unsigned long long other = __shfl_xor_sync(0xffffffffu, key, step);
        if (other > key) key = other;
      }
      if (threadIdx.x % 32 == 0) best[threadIdx.x / 32] = key;
      __syncthreads();
      for (int warp = 0; warp < (int)blockDim.x / 32; ++warp) {
        if (best[warp] > key) key = best[warp];
      }
      __syncthreads();
      // Key 0 belongs to no class: there are more targets than classes.
      const unsigned int chosen = key == 0 ? 0xffffffffu : 0xffffffffu - (unsigned int)key;
      for (int i = threadIdx.x; i < classes; i += blockDim.x) {
        y[((long long)t * samples + n) * classes + i] = (unsigned int)i == chosen ? 1.0f : 0.0f;
      }
      bound = key;
    }
  }
}
