// y = x W (+ bias): x [matrices, rows, in], y [matrices, rows, out], W of each matrix [in, out], or [out, in]
// transposed. The adjoint of either is the other one. Matrix b of x is multiplied by matrix b / repeat % weights of w.
//
// Three kernels: dense_rows has a warp for each output and sums along rows of W; dense_columns has a thread for each
// column of W; both take 4 rows of x at a time. dense_tiled works on tiles in shared memory, for many rows.
// Partial sums are added in a fixed order. bias [out] may be null.

#define DENSE_ROWS 4

// W [out, in]. Block: 8 warps, one for each output. Grid: x outputs / 8, y rows / 4, z matrices; all may be smaller.
extern "C" __global__ void __launch_bounds__(256, 2)
dense_rows(const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias,
           float* __restrict__ y, int rows, int in, int out, int matrices, int repeat, int weights) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  for (int b = blockIdx.z; b < matrices; b += gridDim.z) {
    const float* weight = w + (long long)(b / repeat % weights) * in * out;
    for (int first = blockIdx.y * DENSE_ROWS; first < rows; first += gridDim.y * DENSE_ROWS) {
      const int live = rows - first < DENSE_ROWS ? rows - first : DENSE_ROWS;
      const float* input = x + ((long long)b * rows + first) * in;
      for (int c = blockIdx.x * warps + threadIdx.x / 32; c < out; c += gridDim.x * warps) {
        const float* row = weight + (long long)c * in;
        float sum[DENSE_ROWS];
#pragma unroll
        for (int r = 0; r < DENSE_ROWS; ++r) sum[r] = 0.0f;
        for (int k = lane; k < in; k += 32) {
          const float value = row[k];
#pragma unroll
          for (int r = 0; r < DENSE_ROWS; ++r) {
            if (r < live) sum[r] += value * input[(long long)r * in + k];
          }
        }
#pragma unroll
        for (int r = 0; r < DENSE_ROWS; ++r) {
          for (int step = 16; step > 0; step /= 2) sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], step);
          if (lane == 0 && r < live) {
            y[((long long)b * rows + first + r) * out + c] = bias == nullptr ? sum[r] : sum[r] + bias[c];
          }
        }
      }
    }
  }
}

#define DENSE_SLICES 16

// W [in, out]. Block: 32 columns x 16 slices of the sum. Grid: x columns / 32, y rows / 4, z matrices;
// all may be smaller.
extern "C" __global__ void __launch_bounds__(512)
dense_columns(const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias,
              float* __restrict__ y, int rows, int in, int out, int matrices, int repeat, int weights) {
  __shared__ float partial[DENSE_SLICES][DENSE_ROWS][32];
  const int lane = threadIdx.x % 32, slice = threadIdx.x / 32;
  for (int b = blockIdx.z; b < matrices; b += gridDim.z) {
    const float* weight = w + (long long)(b / repeat % weights) * in * out;
    for (int first = blockIdx.y * DENSE_ROWS; first < rows; first += gridDim.y * DENSE_ROWS) {
      const int live = rows - first < DENSE_ROWS ? rows - first : DENSE_ROWS;
      const float* input = x + ((long long)b * rows + first) * in;
      for (int left = blockIdx.x * 32; left < out; left += gridDim.x * 32) {
        const int c = left + lane;
        float sum[DENSE_ROWS];
#pragma unroll
        for (int r = 0; r < DENSE_ROWS; ++r) sum[r] = 0.0f;
        if (c < out) {
          for (int k = slice; k < in; k += DENSE_SLICES) {
            const float value = weight[(long long)k * out + c];
#pragma unroll
            for (int r = 0; r < DENSE_ROWS; ++r) {
              if (r < live) sum[r] += value * input[(long long)r * in + k];
            }
          }
        }
#pragma unroll
        for (int r = 0; r < DENSE_ROWS; ++r) partial[slice][r][lane] = sum[r];
        __syncthreads();
        if (slice < live && c < out) {
          float total = 0.0f;
#pragma unroll
          for (int s = 0; s < DENSE_SLICES; ++s) total += partial[s][slice][lane];
          y[((long long)b * rows + first + slice) * out + c] = bias == nullptr ? total : total + bias[c];
        }
        __syncthreads();
      }
    }
  }
}

#define DENSE_TILE 64
#define DENSE_DEPTH 16

// W [in, out], or [out, in] if `transposed`. Block: 256 threads for a tile of 64 x 64, 4 x 4 each.
// Grid: x columns / 64, y rows / 64, z matrices; y and z may be smaller.
extern "C" __global__ void __launch_bounds__(256, 2)
dense_tiled(const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias,
            float* __restrict__ y, int rows, int in, int out, int matrices, int repeat, int weights, int transposed) {
  __shared__ float left[DENSE_DEPTH][DENSE_TILE + 4], right[DENSE_DEPTH][DENSE_TILE + 4];
  const int t = threadIdx.x, across = t % 16 * 4, down = t / 16 * 4, column = blockIdx.x * DENSE_TILE;
  for (int b = blockIdx.z; b < matrices; b += gridDim.z) {
    const float* weight = w + (long long)(b / repeat % weights) * in * out;
    const float* input = x + (long long)b * rows * in;
    for (int row = blockIdx.y * DENSE_TILE; row < rows; row += gridDim.y * DENSE_TILE) {
      float sum[4][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] = 0.0f;
      }
      for (int k = 0; k < in; k += DENSE_DEPTH) {
#pragma unroll
        for (int part = 0; part < 4; ++part) {
          const int e = t + part * 256;
          const int deep = e % DENSE_DEPTH, r = e / DENSE_DEPTH;
          const bool inside = row + r < rows && k + deep < in;
          left[deep][r] = inside ? input[(long long)(row + r) * in + k + deep] : 0.0f;
          const int d = transposed ? deep : e / DENSE_TILE, c = transposed ? r : e % DENSE_TILE;
          const long long at = transposed ? (long long)(column + c) * in + k + d : (long long)(k + d) * out + column + c;
          right[d][c] = column + c < out && k + d < in ? weight[at] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int d = 0; d < DENSE_DEPTH; ++d) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) sum[i][j] += left[d][down + i] * right[d][across + j];
          }
        }
        __syncthreads();
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int r = row + down + i, c = column + across + j;
          if (r < rows && c < out) {
            y[((long long)b * rows + r) * out + c] = bias == nullptr ? sum[i][j] : sum[i][j] + bias[c];
          }
        }
      }
    }
  }
}
