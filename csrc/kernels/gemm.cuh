// Convolution as a matrix product on tensor cores, NCHW, one group:
// y[C_out, pixels] = W [C_out, taps x C_in] gathered x.
//
// The adjoint has the same form: at stride 1 the filter is flipped and transposed; at stride s there are s x s phases,
// one for each residue of the output's coordinates, each with the taps that reach it. Phases are records of a table, so
// that one launch runs them all. onnxlrp/engines/cuda/planning/tensor_cores.py builds the table and the weights.
//
// A block computes BM channels x BN pixels, a warp WM x WN of them. A step of the sum is 16 channels at one tap; taps
// are innermost, so that pixels shared by several taps are still cached. STAGES steps are in flight in shared memory.
//
// Pixels are the rows of the tensor cores' product and channels its columns, so that fragments of both are read
// directly into the registers that use them: row g of a fragment of 16 pixels is pixel 2g, row g + 8 is pixel 2g + 1,
// and one 8-byte read serves two rows. Weights are stored in the order of their fragments:
// [C_out / 16][step][half of the step][lane][4], padded with zeros.
//
// EXACT is 3xTF32: x = big + small, without the product of the two small parts. Tensor cores truncate their sums, so
// each step's products are added to the total by the float unit, which rounds. Without EXACT the product is plain TF32.
//
// Grid: x tiles of pixels, of channels, phases (innermost); y shares of the sum. If there are several shares, each
// writes its own part of a workspace, [shares, y], and gemm_reduce adds them in order.

// W neighbours at once; for W = 2 or 4 the address is aligned to W floats.
template <int W>
__device__ __forceinline__ void read_wide(float (&v)[W], const float* from) {
  static_assert(W == 1 || W == 2 || W == 4, "one float, two or four");
  if (W == 4) {
    const float4 all = *reinterpret_cast<const float4*>(from);
    v[3 % W] = all.w, v[2 % W] = all.z, v[1 % W] = all.y, v[0] = all.x;
  } else if (W == 2) {
    const float2 all = *reinterpret_cast<const float2*>(from);
    v[1 % W] = all.y, v[0] = all.x;
  } else {
    v[0] = *from;
  }
}

template <int W>
__device__ __forceinline__ void write_wide(float* to, const float (&v)[W]) {
  static_assert(W == 1 || W == 2 || W == 4, "one float, two or four");
  if (W == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1 % W], v[2 % W], v[3 % W]);
  } else if (W == 2) {
    *reinterpret_cast<float2*>(to) = make_float2(v[0], v[1 % W]);
  } else {
    *to = v[0];
  }
}

#define GEMM_STEP 16
#define GEMM_RECORD 18

// Record of a phase, with height and width where there are 2 numbers: outputs are the pixels offset + i * step for
// i < size, and tap k of output i reads the source at i * stride + start + k * dilation.
//   [0..1] source  [2..3] size  [4..5] stride  [6..7] start  [8..9] dilation  [10..11] taps  [12..13] step
//   [14..15] offset  [16] offset of its weights, in steps  [17] number of steps of its sum

// Epilogues of finished sums, U groups of W neighbours: v[u] belongs to channel m[u] and to W elements of y from i[u];
// it is skipped if i[u] < 0. All reads are issued before the first value is used, to hide the latency of memory.
template <int U, int W>
__device__ __forceinline__ void finish_add_bias(float (&v)[U][W], const float* bias, const int (&m)[U],
                                                const int (&i)[U]) {
#pragma unroll
  for (int u = 0; u < U; ++u) {
    const float more = i[u] < 0 ? 0.0f : bias[m[u]];
#pragma unroll
    for (int e = 0; e < W; ++e) v[u][e] += more;
  }
}

template <int U, int W>
__device__ __forceinline__ void finish_read(float (&v)[U][W], const float* from, const int (&i)[U]) {
#pragma unroll
  for (int u = 0; u < U; ++u) {
    if (i[u] >= 0) read_wide<W>(v[u], from + i[u]);
  }
}

// The same for an operand that repeats after `period` elements.
template <int U, int W>
__device__ __forceinline__ void finish_read(float (&v)[U][W], const float* from, const int (&i)[U], int period) {
#pragma unroll
  for (int u = 0; u < U; ++u) {
    if (i[u] >= 0) read_wide<W>(v[u], from + (unsigned)i[u] % (unsigned)period);
  }
}

template <int U>
__device__ __forceinline__ void finish_read_channels(float (&v)[U], const float* from, const int (&m)[U],
                                                     const int (&i)[U]) {
#pragma unroll
  for (int u = 0; u < U; ++u) v[u] = i[u] < 0 ? 0.0f : from[m[u]];
}

template <int U, int W>
__device__ __forceinline__ void finish_write(float* to, const float (&v)[U][W], const int (&i)[U]) {
#pragma unroll
  for (int u = 0; u < U; ++u) {
    if (i[u] >= 0) write_wide<W>(to + i[u], v[u]);
  }
}

struct GemmStore {
  const float* bias;
  float* y;
  template <int U, int W>
  __device__ __forceinline__ void operator()(float (&v)[U][W], const int (&m)[U], const int (&i)[U]) const {
    if (bias != nullptr) finish_add_bias(v, bias, m, i);
    finish_write(y, v, i);
  }
};

__device__ __forceinline__ void gemm_split(float x, unsigned* big, unsigned* small) {
  *big = __float_as_uint(x) & 0xffffe000u;
  *small = __float_as_uint(x - __uint_as_float(*big)) + 0x1000u;  // rounds: lower bits are ignored
}

// Parameters of every instance: x [batch, channels, source], weights, the table g of phases, the shape of the result
// [batch, rows, height, width] (fewer than 2^31 elements). wide is 1 if four neighbouring pixels are four aligned
// neighbours of x, 2 if two of them are two aligned neighbours of y. A single phase that covers the whole result is
// described by the parameters after `wide`, and g is null: reading a table first would wait for memory twice.
#define GEMM_PARAMETERS                                                                                       \
  const float *__restrict__ x, const float *__restrict__ w, const int *__restrict__ g, int phases, int channels, \
      int rows, int height, int width, int batch, int wide, int source_h, int source_w, int stride_h, int stride_w, \
      int start_h, int start_w, int dilation_h, int dilation_w, int taps_h, int taps_w
#define GEMM_ARGUMENTS                                                                                         \
  x, w, g, phases, channels, rows, height, width, batch, wide, source_h, source_w, stride_h, stride_w, start_h, \
      start_w, dilation_h, dilation_w, taps_h, taps_w

template <int BM, int BN, int WM, int WN, int STAGES, bool EXACT, typename Finish>
__device__ __forceinline__ void gemm_tile(GEMM_PARAMETERS, Finish finish) {
  constexpr int THREADS = BM / WM * (BN / WN) * 32, PITCH = BN + 8;  // no bank conflicts
  constexpr int LEFT = BM * GEMM_STEP, STAGE = LEFT + GEMM_STEP * PITCH;
  static_assert(WM % 16 == 0 && WN % 16 == 0 && THREADS % BN == 0 && STAGES >= 2, "the tile must divide evenly");
  static_assert(BM * GEMM_STEP % (4 * THREADS) == 0 && BN * GEMM_STEP % (4 * THREADS) == 0, "a thread copies float4");
  float* shared = dynamic_shared<float>();
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;

  const int tiles = (rows + BM - 1) / BM;
  const int of = blockIdx.x % phases, tile = blockIdx.x / phases;
  // In shared memory and read again at every step, because the sums need the registers.
  __shared__ int phase[GEMM_RECORD];
  if (phases > 1) {
    if (thread < GEMM_RECORD) phase[thread] = g[of * GEMM_RECORD + thread];
  } else if (thread == 0) {
    phase[0] = source_h, phase[1] = source_w, phase[2] = height, phase[3] = width, phase[4] = stride_h;
    phase[5] = stride_w, phase[6] = start_h, phase[7] = start_w, phase[8] = dilation_h, phase[9] = dilation_w;
    phase[10] = taps_h, phase[11] = taps_w, phase[12] = 1, phase[13] = 1, phase[14] = 0, phase[15] = 0, phase[16] = 0;
    phase[17] = (channels + GEMM_STEP - 1) / GEMM_STEP * taps_h * taps_w;
  }
  __syncthreads();
  const int size = phase[2] * phase[3], pixels = batch * size, steps = phase[17];
  const int m0 = tile % tiles * BM, n0 = tile / tiles * BN;
  if (n0 >= pixels) return;

  const int share = (steps + (int)gridDim.y - 1) / (int)gridDim.y;
  const int begin = min((int)blockIdx.y * share, steps), end = min(begin + share, steps);

  // Source of this thread's copies: one column (four, if quads) of several rows of the step.
  const int place = phase[0] * phase[1];
  const int columns = wide & 1 ? BN / 4 : BN, row = thread / columns, column = thread % columns * (wide & 1 ? 4 : 1);
  int h0 = -(1 << 29), w0 = 0;
  const float* source = x;
  if (n0 + column < pixels) {
    const int n = n0 + column, at = n % size;
    h0 = at / phase[3] * phase[4] + phase[6];
    w0 = at % phase[3] * phase[5] + phase[7];
    source = x + ((long long)(n / size) * channels + row) * place;
  }
  int chunk = 0, tap_h = 0, tap_w = 0;  // of the next step to copy
  if (steps > 0) {
    const int taps = phase[10] * phase[11];
    chunk = begin / taps;
    tap_h = begin % taps / phase[11];
    tap_w = begin % taps % phase[11];
  }
  const float* left = w + ((long long)(m0 / 16) * steps + phase[16] + begin) * 256;

  // Outside the input nothing is read, wherever the address points.
  auto copy = [&](int stage) {
    float* a = shared + stage * STAGE;
    float* b = a + LEFT;
#pragma unroll
    for (int i = 0; i < BM * GEMM_STEP / (4 * THREADS); ++i) {
      const int part = thread + i * THREADS, block = part / 64;
      const bool there = m0 + block * 16 < rows;
      copy_async<16>(a + part * 4, left + (long long)block * steps * 256 + part % 64 * 4, there ? 16 : 0);
    }
    left += 256;
    const int h = h0 + tap_h * phase[8], v = w0 + tap_w * phase[9];
    const bool inside = (unsigned)h < (unsigned)phase[0] && (unsigned)v < (unsigned)phase[1];
    const int live = inside ? channels - chunk * GEMM_STEP - row : 0;
    const float* from = source + (chunk * GEMM_STEP * place + h * phase[1] + v);
    if (wide & 1) {
      constexpr int ROWS = THREADS * 4 / BN;
#pragma unroll
      for (int i = 0; i < GEMM_STEP / ROWS; ++i) {
        const bool there = i * ROWS < live;
        copy_async<16>(b + (row + i * ROWS) * PITCH + column, from + i * ROWS * place, there ? 16 : 0);
      }
    } else {
      constexpr int ROWS = THREADS / BN;
#pragma unroll
      for (int i = 0; i < GEMM_STEP / ROWS; ++i) {
        const bool there = i * ROWS < live;
        copy_async<4>(b + (row + i * ROWS) * PITCH + column, from + i * ROWS * place, there ? 4 : 0);
      }
    }
    if (++tap_w == phase[11]) {
      tap_w = 0;
      if (++tap_h == phase[10]) {
        tap_h = 0;
        ++chunk;
      }
    }
  };

  // Of 16 pixels, and of 8 channels.
  constexpr int NI = WN / 16, MI = WM / 8;
  const int warp_m = warp % (BM / WM) * WM, warp_n = warp / (BM / WM) * WN, group = lane / 4, t = lane % 4;
  float sum[NI][MI][4];
#pragma unroll
  for (int n = 0; n < NI; ++n) {
#pragma unroll
    for (int i = 0; i < MI; ++i) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[n][i][e] = 0.0f;
    }
  }

#pragma unroll
  for (int s = 0; s < STAGES - 1; ++s) {
    if (begin + s < end) copy(s);
    copies_commit();
  }
  int stage = 0, next = STAGES - 1;
  for (int step = begin; step < end; ++step) {
    copies_arrived<STAGES - 2>();
    __syncthreads();
    if (step + STAGES - 1 < end) copy(next);
    copies_commit();
    const float* a = shared + stage * STAGE + warp_m * 16 + lane * 4;
    const float* b = shared + stage * STAGE + LEFT + t * PITCH + warp_n + group * 2;
#pragma unroll(EXACT ? 1 : 2)
    for (int half = 0; half < 2; ++half) {
      unsigned big[NI][4], small[NI][4];
#pragma unroll
      for (int n = 0; n < NI; ++n) {
        float top[2], bottom[2];
        read_wide<2>(top, b + half * 8 * PITCH + n * 16);
        read_wide<2>(bottom, b + (half * 8 + 4) * PITCH + n * 16);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          if (EXACT) {
            gemm_split(top[r], &big[n][r], &small[n][r]);
            gemm_split(bottom[r], &big[n][2 + r], &small[n][2 + r]);
          } else {
            big[n][r] = tf32(top[r]);
            big[n][2 + r] = tf32(bottom[r]);
          }
        }
      }
#pragma unroll
      for (int i = 0; i < MI; i += 2) {
        float from[4];
        read_wide<4>(from, a + (i + half) * 128);
        unsigned whole[2][2], rest[2][2];
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (EXACT) {
            gemm_split(from[e], &whole[e / 2][e % 2], &rest[e / 2][e % 2]);
          } else {
            whole[e / 2][e % 2] = __float_as_uint(from[e]);  // rounded when the weights were laid out
          }
        }
        if (EXACT) {
          float part[2 * NI][4];  // independent sums
#pragma unroll
          for (int n = 0; n < 2 * NI; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) part[n][e] = 0.0f;
          }
#pragma unroll
          for (int n = 0; n < 2 * NI; ++n) mma_16x8x8(part[n], small[n % NI], whole[n / NI]);
#pragma unroll
          for (int n = 0; n < 2 * NI; ++n) mma_16x8x8(part[n], big[n % NI], rest[n / NI]);
#pragma unroll
          for (int n = 0; n < 2 * NI; ++n) mma_16x8x8(part[n], big[n % NI], whole[n / NI]);
#pragma unroll
          for (int n = 0; n < 2 * NI; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) sum[n % NI][i + n / NI][e] += part[n][e];
          }
        } else {
#pragma unroll
          for (int n = 0; n < 2 * NI; ++n) mma_16x8x8(sum[n % NI][i + n / NI], big[n % NI], whole[n / NI]);
        }
      }
    }
    stage = stage + 1 == STAGES ? 0 : stage + 1;
    next = next + 1 == STAGES ? 0 : next + 1;
  }
  copies_arrived<0>();

  // A lane has 2 neighbouring pixels of each fragment, of 2 channels. A single phase has the order of the result.
  const int size_w = phase[3], step_h = phase[12], step_w = phase[13], whole = height * width;
  const int first = n0 + warp_n + group * 2;
  int sample = first / size, at = first % size;
#pragma unroll
  for (int n = 0; n < NI; ++n) {
    int place[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const bool over = at + r == size;
      const int left = over ? 0 : at + r, of = sample + over;
      int y = left;
      if (phases > 1) y = (left / size_w * step_h + phase[14]) * width + left % size_w * step_w + phase[15];
      place[r] = first + n * 16 + r < pixels ? of * rows * whole + y : -1;
    }
#pragma unroll
    for (int i = 0; i < MI; i += 2) {
      const int m = m0 + warp_m + i * 8 + t * 2;
      // Channels m, m + 1, m + 8, m + 9.
      if (wide & 2) {
        float v[4][2];
        int channel[4], to[4];
#pragma unroll
        for (int u = 0; u < 4; ++u) {
          channel[u] = m + u / 2 * 8 + u % 2;
          to[u] = channel[u] < rows && place[0] >= 0 ? place[0] + channel[u] * whole : -1;
          v[u][0] = sum[n][i + u / 2][u % 2], v[u][1] = sum[n][i + u / 2][u % 2 + 2];
        }
        finish(v, channel, to);
      } else {
        float v[8][1];
        int channel[8], to[8];
#pragma unroll
        for (int u = 0; u < 8; ++u) {
          channel[u] = m + u / 4 * 8 + u % 2;
          to[u] = channel[u] < rows && place[u / 2 % 2] >= 0 ? place[u / 2 % 2] + channel[u] * whole : -1;
          v[u][0] = sum[n][i + u / 4][u % 4];
        }
        finish(v, channel, to);
      }
    }
    at += 16;
    if (at >= size) {
      sample += at / size;
      at %= size;
    }
  }
}

// Sum parts[shares, count] over shares, in order; a channel has `place` elements.
#define GEMM_PARTS const float *__restrict__ parts, int shares, int rows, int place, long long count
#define GEMM_PARTS_ARGUMENTS parts, shares, rows, place, count

template <int W, typename Finish>
__device__ __forceinline__ void gemm_add_wide(GEMM_PARTS, Finish finish) {
  const long long stride = (long long)gridDim.x * blockDim.x * W;
  for (long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * W; i < count; i += stride) {
    float v[1][W];
    read_wide<W>(v[0], parts + i);
#pragma unroll 4
    for (int s = 1; s < shares; ++s) {
      float other[W];
      read_wide<W>(other, parts + s * count + i);
#pragma unroll
      for (int e = 0; e < W; ++e) v[0][e] += other[e];
    }
    const int to[1] = {(int)i}, channel[1] = {(int)i / place % rows};
    finish(v, channel, to);
  }
}

template <typename Finish>
__device__ __forceinline__ void gemm_add_shares(GEMM_PARTS, Finish finish) {
  if (place % 4 == 0) {
    gemm_add_wide<4>(GEMM_PARTS_ARGUMENTS, finish);
  } else {
    gemm_add_wide<1>(GEMM_PARTS_ARGUMENTS, finish);
  }
}
