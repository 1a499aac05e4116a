// Average pooling, max-pool routing, and the adjoints of both as gathers, so that overlapping windows need no atomics.
//
// Geometry g: [0] planes of a sample  [1..18] the window's parameters (window.cuh)
// A window that contains no element of the input has winner -1.
// Several targets share the winners of their sample: sample n of s and y has those of sample n % samples.
// Grid: x over the elements of one sample, y over samples; both may be smaller than what they cover.

// y[batch, planes, target] = value(taps, window, sample, plane, i) for each window of each plane; i is its index.
template <typename T, typename Value>
__device__ __forceinline__ void pool_windows(T* __restrict__ y, const int* __restrict__ g, int batch, Value value) {
  const int windows = windows_of(g + 1);
  const unsigned outputs = g[0] * windows;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int window = (int)i % windows, plane = (int)i / windows;
    const Taps t = taps_of(g + 1, window);
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      y[(long long)n * outputs + i] = value(t, window, n, plane, i);
    }
  }
}

// x[batch, planes, source] = Σ value(window, tap) over the windows that contain an element; `values` returns the
// function `value` of a plane.
template <typename Values>
__device__ __forceinline__ void pool_places(float* __restrict__ x, const int* __restrict__ g, int batch, Values values) {
  const int places = places_of(g + 1);
  const unsigned outputs = g[0] * places;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int place = (int)i % places, plane = (int)i / places;
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const auto value = values(n, plane);
      float total = 0.0f;
      each_window(g + 1, place, [&](int window, int tap) { total += value(window, tap); });
      x[(long long)n * outputs + i] = total;
    }
  }
}

// y[batch, planes, target] = mean over each window of x[batch, planes, source]; share[target] is 1 / its element count.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_average(const float* __restrict__ x, const float* __restrict__ share, float* __restrict__ y,
             const int* __restrict__ g, int batch) {
  const int* w = g + 1;
  const int places = places_of(w);
  pool_windows(y, g, batch, [&](const Taps& t, int window, int n, int plane, unsigned) {
    const float* input = x + ((long long)n * g[0] + plane) * places;
    float total = 0.0f;
    each_row(w, t, [&](int place, int) {
      float sum = 0.0f;
      for (int e = t.low[2]; e < t.high[2]; ++e) sum += input[place + e * w[14]];
      total += sum;
    });
    return total * share[window];
  });
}

// x[batch, planes, source]: every element receives its share of s[batch, planes, target] from each window over it.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_average_adjoint(const float* __restrict__ s, const float* __restrict__ share, float* __restrict__ x,
                     const int* __restrict__ g, int batch) {
  const int windows = windows_of(g + 1);
  pool_places(x, g, batch, [&](int n, int plane) {
    const float* input = s + ((long long)n * g[0] + plane) * windows;
    return [=](int window, int) { return input[window] * share[window]; };
  });
}

// winners[batch, planes, target]: the tap of each window's largest element of x. The first of equal elements wins;
// padding never wins, and NaN only in windows of nothing but NaN.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_winners(const float* __restrict__ x, int* __restrict__ winners, const int* __restrict__ g, int batch) {
  const int* w = g + 1;
  const int places = places_of(w);
  pool_windows(winners, g, batch, [&](const Taps& t, int, int n, int plane, unsigned) {
    const float* input = x + ((long long)n * g[0] + plane) * places;
    int winner = -1;
    float best = 0.0f;
    each_row(w, t, [&](int place, int tap) {
      for (int e = t.low[2]; e < t.high[2]; ++e) {
        const float value = input[place + e * w[14]];
        if (winner < 0 || value > best || (best != best && value == value)) {
          best = value;
          winner = tap + e;
        }
      }
    });
    return winner;
  });
}

// y[batch, planes, target] = x[batch, planes, source] at the winners [samples, planes, target].
extern "C" __global__ void __launch_bounds__(256, 2)
pool_select(const float* __restrict__ x, const int* __restrict__ winners, float* __restrict__ y,
            const int* __restrict__ g, int batch, int samples) {
  const int* w = g + 1;
  const int places = places_of(w);
  const unsigned outputs = g[0] * windows_of(w);
  pool_windows(y, g, batch, [&](const Taps& t, int, int n, int plane, unsigned i) {
    const int tap = winners[(long long)(n % samples) * outputs + i];
    const float* input = x + ((long long)n * g[0] + plane) * places;
    const int d = t.begin[0] + tap / (w[7] * w[8]) * w[12], h = t.begin[1] + tap / w[8] % w[7] * w[13];
    const int v = t.begin[2] + tap % w[8] * w[14];
    return tap < 0 ? 0.0f : input[(d * w[1] + h) * w[2] + v];
  });
}

// x[batch, planes, source]: every element receives s[batch, planes, target] from each window that it wins.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_select_adjoint(const float* __restrict__ s, const int* __restrict__ winners, float* __restrict__ x,
                    const int* __restrict__ g, int batch, int samples) {
  const int windows = windows_of(g + 1);
  pool_places(x, g, batch, [&](int n, int plane) {
    const float* input = s + ((long long)n * g[0] + plane) * windows;
    const int* winner = winners + ((long long)(n % samples) * g[0] + plane) * windows;
    return [=](int window, int tap) { return winner[window] == tap ? input[window] : 0.0f; };
  });
}

// Max-pools over two axes without an array of winners (route.cuh). Grid: x over the patches of one sample, y over
// samples; both may be smaller than what they cover.
#define POOL_ROUTE(name, K, S)                                                                  \
  extern "C" __global__ void __launch_bounds__(256, 2)                                          \
      name(ROUTE_PARAMETERS, const float* __restrict__ bias, float* y) {                        \
    const GemmStore store{bias, y};                                                             \
    pool_route<K, S>(ROUTE_ARGUMENTS, store);                                                   \
  }

POOL_ROUTE(pool_route_2x2, 2, 2)
POOL_ROUTE(pool_route_3x3, 3, 2)
