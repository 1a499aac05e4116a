// What test_emulator.py runs: small kernels, some right and some with one planted mistake.

#define ROTATE(name, barrier)                                           \
  extern "C" __global__ void name(const float* x, float* y) {           \
    float* tile = dynamic_shared<float>();                              \
    tile[threadIdx.x] = x[threadIdx.x];                                 \
    barrier;                                                            \
    y[threadIdx.x] = tile[(threadIdx.x + 1) % blockDim.x];              \
  }
ROTATE(rotate, __syncthreads())
ROTATE(rotate_without_barrier, )
ROTATE(rotate_some_skip_barrier, if (threadIdx.x < 16) __syncthreads())

extern "C" __global__ void two_barriers(float* y) {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = 1;
}

// Each round reads what the round before wrote. Without the second barrier a fast thread overwrites what a slow one reads.
#define ROUNDS(name, second)                                                        \
  extern "C" __global__ void name(float* x, int rounds) {                           \
    __shared__ float tile[128];                                                     \
    float mine = x[threadIdx.x];                                                    \
    for (int i = 0; i < rounds; ++i) {                                              \
      tile[threadIdx.x] = mine;                                                     \
      __syncthreads();                                                              \
      mine += tile[(threadIdx.x + 1) % 128];                                        \
      second;                                                                       \
    }                                                                               \
    x[threadIdx.x] = mine;                                                          \
  }
ROUNDS(rounds, __syncthreads())
ROUNDS(rounds_without_second_barrier, )

extern "C" __global__ void add_in_shared(const float* x, float* y) {
  __shared__ float total;
  if (threadIdx.x == 0) total = 0;
  __syncthreads();
  total += x[threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) y[0] = total;
}
extern "C" __global__ void add_in_global(const float* x, float* y) {
  y[0] += x[blockIdx.x * blockDim.x + threadIdx.x];
}
extern "C" __global__ void add_atomically(const float* x, float* y, int* most) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(y, x[i]);
  atomicMax(most, i);
}

extern "C" __global__ void write_at(float* y, int index) {
  if (threadIdx.x == 3) y[index] = 1;
}
extern "C" __global__ void read_at(const float* x, float* y, int index) {
  if (threadIdx.x == 3) y[0] = x[index];
}
extern "C" __global__ void write_shared_at(int index) {
  if (threadIdx.x == 3) dynamic_shared<float>()[index] = 1;
}
extern "C" __global__ void write_read_only(const float* x) { const_cast<float*>(x)[threadIdx.x] = 2; }
extern "C" __global__ void write_vector(float4* y) { y[threadIdx.x] = make_float4(1, 2, 3, 4); }
extern "C" __global__ void divide(int* x, int by) { x[threadIdx.x] /= by; }
extern "C" __global__ void overflow_stack(float* x, int depth) {
  volatile float big[60000];
  for (int i = 0; i < depth; ++i) big[i] = x[0];
  x[0] = big[depth - 1];
}

extern "C" __global__ void show_poison(float* y) {
  __shared__ float fixed[32];
  y[threadIdx.x] = dynamic_shared<float>()[threadIdx.x];
  y[threadIdx.x + 32] = fixed[threadIdx.x];
  fixed[threadIdx.x] = dynamic_shared<float>()[threadIdx.x] = 0;  // the next block must not see this
}

// Two groups of copies; reads after `waits` of: nothing, all but one group, all.
extern "C" __global__ void copy_in_groups(const float* x, float* y, int waits) {
  float* tile = dynamic_shared<float>();
  const int t = threadIdx.x;
  copy_async<4>(tile + t, x + t);
  copies_commit();
  copy_async<4>(tile + 32 + t, x + 32 + t);
  copies_commit();
  if (waits == 1) copies_arrived<1>();
  if (waits == 2) copies_arrived<0>();
  __syncthreads();
  y[t] = tile[31 - t];
  y[t + 32] = tile[32 + 31 - t];
}
extern "C" __global__ void copy_some(const float* x, float* y, int valid, int offset) {
  float* tile = dynamic_shared<float>();
  copy_async<16>(tile + offset, x, valid);
  copies_commit();
  copies_arrived<0>();
  for (int i = 0; i < 4; ++i) y[i] = tile[offset + i];
}

// c[16, 8] += a[16, k] b[k, 8], one warp; operands rounded to TF32 if asked.
extern "C" __global__ void multiply(const float* a, const float* b, float* c, int k, int round) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  float d[4] = {c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t], c[(g + 8) * 8 + 2 * t + 1]};
  for (int i = 0; i < k; i += 8) {
    const float left[4] = {a[g * k + i + t], a[(g + 8) * k + i + t], a[g * k + i + t + 4], a[(g + 8) * k + i + t + 4]};
    const float right[2] = {b[(i + t) * 8 + g], b[(i + t + 4) * 8 + g]};
    unsigned l[4], r[2];
    for (int j = 0; j < 4; ++j) l[j] = round ? tf32(left[j]) : __float_as_uint(left[j]);
    for (int j = 0; j < 2; ++j) r[j] = round ? tf32(right[j]) : __float_as_uint(right[j]);
    mma_16x8x8(d, l, r);
  }
  c[g * 8 + 2 * t] = d[0];
  c[g * 8 + 2 * t + 1] = d[1];
  c[(g + 8) * 8 + 2 * t] = d[2];
  c[(g + 8) * 8 + 2 * t + 1] = d[3];
}

extern "C" __global__ void shuffles(const int* x, int* y, int width) {
  const int t = threadIdx.x, n = blockDim.x, v = x[t];
  y[t] = __shfl_sync(~0u, v, 5, width);
  y[n + t] = __shfl_xor_sync(~0u, v, 3, width);
  y[2 * n + t] = __shfl_down_sync(~0u, v, 2, width);
  y[3 * n + t] = __shfl_up_sync(~0u, v, 2, width);
}
extern "C" __global__ void votes(const int* x, unsigned* y) {
  const int t = threadIdx.x, n = blockDim.x;
  y[t] = __ballot_sync(~0u, x[t] > 0);
  y[n + t] = __any_sync(~0u, x[t] > 0);
  y[2 * n + t] = __all_sync(~0u, x[t] > 0);
}
// The two halves of a warp shuffle by themselves, one of them twice.
extern "C" __global__ void halves(int* y) {
  const int t = threadIdx.x;
  const unsigned mask = t < 16 ? 0x0000ffffu : 0xffff0000u;
  int v = __shfl_xor_sync(mask, t, 1);
  if (t >= 16) v = 100 * __shfl_xor_sync(mask, v, 2);
  y[t] = v;
}
extern "C" __global__ void warp_diverges(int* y) {
  const int t = threadIdx.x;
  if (t < 16) {
    y[t] = __shfl_xor_sync(~0u, t, 1);
  } else {
    y[t] = __shfl_xor_sync(~0u, t, 2);
  }
}
extern "C" __global__ void lane_leaves(int* y) {
  if (threadIdx.x == 7) return;
  y[threadIdx.x] = __shfl_xor_sync(~0u, (int)threadIdx.x, 1);
}
// Threads of one warp hand values on through shared memory, ordered by __syncwarp alone.
#define PASS(name, barrier)                          \
  extern "C" __global__ void name(int* y) {          \
    __shared__ int slot[32];                         \
    slot[threadIdx.x] = threadIdx.x;                 \
    barrier;                                         \
    y[threadIdx.x] = slot[31 - threadIdx.x];         \
  }
PASS(pass_in_warp, __syncwarp())
PASS(pass_in_warp_without, )
PASS(pass_in_warp_by_shuffle, __shfl_sync(~0u, 0, 0))  // as if ordered here, but a GPU need not

extern "C" __global__ void where(int* y, const float* maybe) {
  const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const int threads = blockDim.x * blockDim.y * blockDim.z;
  y[block * threads + thread] = maybe == nullptr ? block * threads + thread : -1;
}
// Which thread comes how early: different from seed to seed.
extern "C" __global__ void arrival(int* y, int* turn) { y[threadIdx.x] = atomicAdd(turn, 1); }
struct Pair {
  int a;
  float b;
};
extern "C" __global__ void by_value(Pair pair, long long large, bool flag, double* y) {
  y[0] = pair.a, y[1] = pair.b, y[2] = large, y[3] = flag;
}

#define KERNELS(X) \
  X(add_in_shared) X(add_in_global) X(add_atomically) X(write_at) X(read_at) X(write_shared_at) \
  X(write_read_only) X(write_vector) X(divide) X(overflow_stack) X(show_poison) X(copy_in_groups) X(copy_some) \
  X(multiply) X(shuffles) X(votes) X(halves) X(warp_diverges) X(lane_leaves) X(where) X(arrival) X(by_value) \
  X(rotate) X(rotate_without_barrier) X(rotate_some_skip_barrier) X(two_barriers) X(rounds) \
  X(rounds_without_second_barrier) X(pass_in_warp) X(pass_in_warp_without) X(pass_in_warp_by_shuffle)
