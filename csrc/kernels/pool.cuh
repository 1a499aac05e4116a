// Average pooling, max-pool routing, and the adjoints of both, as gathers: overlapping windows need no atomics.
//
// Geometry g: [0] planes of a sample  [1..18] the window's numbers (window.cuh)
// A window without any place on the input has winner -1.
// With several targets the winners are those of the samples: sample n of s and y has those of n % samples.
// Grid: x over the elements of one sample, y over samples; both may be smaller than what they cover.

// y[batch, planes, target] = means over the windows of x[batch, planes, source]; share[target] is 1 / the count of each.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_average(const float* __restrict__ x, const float* __restrict__ share, float* __restrict__ y,
             const int* __restrict__ g, int batch) {
  const int* w = g + 1;
  const int places = w[0] * w[1] * w[2], windows = w[3] * w[4] * w[5];
  const unsigned outputs = g[0] * windows;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int window = (int)i % windows, plane = (int)i / windows;
    const Taps t = taps_of(w, window);
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = x + ((long long)n * g[0] + plane) * places;
      float total = 0.0f;
      for (int a = t.low[0]; a < t.high[0]; ++a) {
        for (int b = t.low[1]; b < t.high[1]; ++b) {
          const int row = ((t.begin[0] + a * w[12]) * w[1] + t.begin[1] + b * w[13]) * w[2] + t.begin[2];
          float sum = 0.0f;
          for (int e = t.low[2]; e < t.high[2]; ++e) sum += input[row + e * w[14]];
          total += sum;
        }
      }
      y[(long long)n * outputs + i] = total * share[window];
    }
  }
}

// x[batch, planes, source]: every element gets its share of s[batch, planes, target] from each window over it.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_average_adjoint(const float* __restrict__ s, const float* __restrict__ share, float* __restrict__ x,
                     const int* __restrict__ g, int batch) {
  const int* w = g + 1;
  const int places = w[0] * w[1] * w[2], windows = w[3] * w[4] * w[5];
  const unsigned outputs = g[0] * places;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int place = (int)i % places, plane = (int)i / places;
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = s + ((long long)n * g[0] + plane) * windows;
      float total = 0.0f;
      each_window(w, place, [&](int window, int) { total += input[window] * share[window]; });
      x[(long long)n * outputs + i] = total;
    }
  }
}

// winners[batch, planes, target]: the tap of each window's largest element of x. The first of equals wins; padding
// never does, and NaN only where there is nothing else.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_winners(const float* __restrict__ x, int* __restrict__ winners, const int* __restrict__ g, int batch) {
  const int* w = g + 1;
  const int places = w[0] * w[1] * w[2], windows = w[3] * w[4] * w[5];
  const unsigned outputs = g[0] * windows;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int window = (int)i % windows, plane = (int)i / windows;
    const Taps t = taps_of(w, window);
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = x + ((long long)n * g[0] + plane) * places;
      int winner = -1;
      float best = 0.0f;
      for (int a = t.low[0]; a < t.high[0]; ++a) {
        for (int b = t.low[1]; b < t.high[1]; ++b) {
          const int row = ((t.begin[0] + a * w[12]) * w[1] + t.begin[1] + b * w[13]) * w[2] + t.begin[2];
          for (int e = t.low[2]; e < t.high[2]; ++e) {
            const float value = input[row + e * w[14]];
            if (winner < 0 || value > best || (best != best && value == value)) {
              best = value;
              winner = (a * w[7] + b) * w[8] + e;
            }
          }
        }
      }
      winners[(long long)n * outputs + i] = winner;
    }
  }
}

// y[batch, planes, target]: the elements of x[batch, planes, source] at the winners [samples, planes, target].
extern "C" __global__ void __launch_bounds__(256, 2)
pool_select(const float* __restrict__ x, const int* __restrict__ winners, float* __restrict__ y,
            const int* __restrict__ g, int batch, int samples) {
  const int* w = g + 1;
  const int places = w[0] * w[1] * w[2], windows = w[3] * w[4] * w[5];
  const unsigned outputs = g[0] * windows;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int window = (int)i % windows, plane = (int)i / windows;
    const Taps t = taps_of(w, window);
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const int tap = winners[(long long)(n % samples) * outputs + i];
      const float* input = x + ((long long)n * g[0] + plane) * places;
      const int d = t.begin[0] + tap / (w[7] * w[8]) * w[12], h = t.begin[1] + tap / w[8] % w[7] * w[13];
      const int v = t.begin[2] + tap % w[8] * w[14];
      y[(long long)n * outputs + i] = tap < 0 ? 0.0f : input[(d * w[1] + h) * w[2] + v];
    }
  }
}

// x[batch, planes, source]: every element gets s[batch, planes, target] from each window that it wins.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_select_adjoint(const float* __restrict__ s, const int* __restrict__ winners, float* __restrict__ x,
                    const int* __restrict__ g, int batch, int samples) {
  const int* w = g + 1;
  const int places = w[0] * w[1] * w[2], windows = w[3] * w[4] * w[5];
  const unsigned outputs = g[0] * places;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int place = (int)i % places, plane = (int)i / places;
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = s + ((long long)n * g[0] + plane) * windows;
      const int* winner = winners + ((long long)(n % samples) * g[0] + plane) * windows;
      float total = 0.0f;
      each_window(w, place, [&](int window, int tap) {
        if (winner[window] == tap) total += input[window];
      });
      x[(long long)n * outputs + i] = total;
    }
  }
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
