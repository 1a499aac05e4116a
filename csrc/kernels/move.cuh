// Strided copies: permutations, slices, broadcasts, and the adjoint of a slice; up to 8 axes.
//
// Grid: x over the elements of one sample, y over samples; both may be smaller than what they cover.
// x has `samples` samples of `stride` elements: sample n of y reads sample n % samples, so that a constant (1 sample)
// and activations under several targets are broadcast over the leading axes too.

// Geometry g: [0] axes  [1] offset of the first element  [2..9] size of each axis of y  [10..17] its stride in x
// (0 broadcasts an axis, a negative stride runs backward).
__device__ __forceinline__ long long move_place(int i, const int* __restrict__ g) {
  long long place = g[1];
  int rest = i;
  for (int axis = g[0] - 1; axis >= 0; --axis) {
    const int size = g[2 + axis];
    place += (long long)(rest % size) * g[10 + axis];
    rest /= size;
  }
  return place;
}

// Call store(y, x) for each element y of [batch, size] and the element x that g assigns to it, in sample n % samples.
template <typename Store>
__device__ __forceinline__ void move_each(const float* __restrict__ x, float* __restrict__ y,
                                          const int* __restrict__ g, int batch, int size, int samples,
                                          long long stride, Store store) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)size; i += gridDim.x * blockDim.x) {
    const long long place = move_place((int)i, g);
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      store(y[(long long)n * size + i], x[(long long)(n % samples) * stride + place]);
    }
  }
}

// y[batch, size] = x at the indices that g gives.
extern "C" __global__ void __launch_bounds__(256, 2)
move_gather(const float* __restrict__ x, float* __restrict__ y, const int* __restrict__ g, int batch, int size,
            int samples, long long stride) {
  move_each(x, y, g, batch, size, samples, stride, [](float& to, float from) { to = from; });
}

// y[batch, size] += x at the indices that g gives: a bias of any shape.
extern "C" __global__ void __launch_bounds__(256, 2)
move_add(const float* __restrict__ x, float* __restrict__ y, const int* __restrict__ g, int batch, int size,
         int samples, long long stride) {
  move_each(x, y, g, batch, size, samples, stride, [](float& to, float from) { to += from; });
}

// x[batch, size] = s[batch, taken] in the box that a slice takes, 0 outside.
// Geometry g: [0] axes  [1..8] size of each axis of x  [9..16] the slice's start  [17..24] its step  [25..32] its size
extern "C" __global__ void __launch_bounds__(256, 2)
move_unslice(const float* __restrict__ s, float* __restrict__ x, const int* __restrict__ g, int batch, int size,
             long long taken) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)size; i += gridDim.x * blockDim.x) {
    long long place = 0, unit = 1;
    int rest = (int)i;
    for (int axis = g[0] - 1; axis >= 0; --axis) {
      const int here = rest % g[1 + axis] - g[9 + axis], step = g[17 + axis], q = here / step;
      rest /= g[1 + axis];
      if (q * step != here || q < 0 || q >= g[25 + axis]) unit = 0;
      if (unit == 0) break;
      place += q * unit;
      unit *= g[25 + axis];
    }
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      x[(long long)n * size + i] = unit == 0 ? 0.0f : s[(long long)n * taken + place];
    }
  }
}

// y = x, `count` elements: a reshape whose array cannot be shared. Grid: x only.
extern "C" __global__ void __launch_bounds__(256, 2)
move_copy(const float* __restrict__ x, float* __restrict__ y, long long count) {
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count;
       i += (long long)gridDim.x * blockDim.x) {
    y[i] = x[i];
  }
}
