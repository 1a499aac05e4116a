// Average pooling, max-pool routing, and the adjoints of both, as gathers: overlapping windows need no atomics.
//
// Geometry g, as in conv.cuh with planes for channels (3 numbers are depth, height, width):
//   [0] planes of a sample  [1..3] source  [4..6] target  [7..9] kernel  [10..12] stride  [13..15] dilation
//   [16..18] padding before
// A tap is the row-major number of a place in the kernel; a window without any place on the input has winner -1.
// With several targets the winners are those of the samples: sample n of s and y has those of n % samples.
// Grid: x over the elements of one sample, y over samples; both may be smaller than what they cover.

// The taps [low, high) of one axis that fall on the input, when the window starts at `start`.
__device__ __forceinline__ void pool_taps(int start, int dilation, int taps, int size, int* low, int* high) {
  *low = start < 0 ? (dilation - 1 - start) / dilation : 0;
  int end = size <= start ? 0 : (size - start + dilation - 1) / dilation;
  *high = end < taps ? end : taps;
}

// The window whose tap is at `reach` (position + padding - tap * dilation), or -1 if there is none.
__device__ __forceinline__ int pool_window(int reach, int stride, int windows) {
  if (reach < 0 || reach % stride != 0) return -1;
  int window = reach / stride;
  return window < windows ? window : -1;
}

// y[batch, planes, target] = means over the windows of x[batch, planes, source]; share[target] is 1 / the count of each.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_average(const float* __restrict__ x, const float* __restrict__ share, float* __restrict__ y,
             const int* __restrict__ g, int batch) {
  const int sd = g[1], sh = g[2], sw = g[3], td = g[4], th = g[5], tw = g[6];
  const int inputs = g[0] * sd * sh * sw, windows = td * th * tw;
  const unsigned outputs = g[0] * windows;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int place = (int)i % windows, plane = (int)i / windows;
    const int d0 = place / (th * tw) * g[10] - g[16], h0 = place / tw % th * g[11] - g[17];
    const int w0 = place % tw * g[12] - g[18];
    int d_low, d_high, h_low, h_high, w_low, w_high;
    pool_taps(d0, g[13], g[7], sd, &d_low, &d_high);
    pool_taps(h0, g[14], g[8], sh, &h_low, &h_high);
    pool_taps(w0, g[15], g[9], sw, &w_low, &w_high);

    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = x + (long long)n * inputs + (long long)plane * sd * sh * sw;
      float total = 0.0f;
      for (int a = d_low; a < d_high; ++a) {
        for (int b = h_low; b < h_high; ++b) {
          const int row = ((d0 + a * g[13]) * sh + h0 + b * g[14]) * sw + w0;
          float sum = 0.0f;
          for (int e = w_low; e < w_high; ++e) sum += input[row + e * g[15]];
          total += sum;
        }
      }
      y[(long long)n * outputs + i] = total * share[place];
    }
  }
}

// x[batch, planes, source]: every element gets its share of s[batch, planes, target] from each window over it.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_average_adjoint(const float* __restrict__ s, const float* __restrict__ share, float* __restrict__ x,
                     const int* __restrict__ g, int batch) {
  const int sd = g[1], sh = g[2], sw = g[3], td = g[4], th = g[5], tw = g[6];
  const int places = sd * sh * sw, inputs = g[0] * td * th * tw;
  const unsigned outputs = g[0] * places;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int place = (int)i % places, plane = (int)i / places;
    const int pd = place / (sh * sw) + g[16], ph = place / sw % sh + g[17], pw = place % sw + g[18];

    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = s + (long long)n * inputs + (long long)plane * td * th * tw;
      float total = 0.0f;
#pragma unroll 1
      for (int a = 0; a < g[7]; ++a) {
        const int d = pool_window(pd - a * g[13], g[10], td);
        if (d < 0) continue;
#pragma unroll 1
        for (int b = 0; b < g[8]; ++b) {
          const int h = pool_window(ph - b * g[14], g[11], th);
          if (h < 0) continue;
#pragma unroll 1
          for (int e = 0; e < g[9]; ++e) {
            const int v = pool_window(pw - e * g[15], g[12], tw);
            if (v < 0) continue;
            const int window = (d * th + h) * tw + v;
            total += input[window] * share[window];
          }
        }
      }
      x[(long long)n * outputs + i] = total;
    }
  }
}

// winners[batch, planes, target]: the tap of each window's largest element of x. The first of equals wins; padding
// never does, and NaN only where there is nothing else.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_winners(const float* __restrict__ x, int* __restrict__ winners, const int* __restrict__ g, int batch) {
  const int sd = g[1], sh = g[2], sw = g[3], td = g[4], th = g[5], tw = g[6];
  const int inputs = g[0] * sd * sh * sw, windows = td * th * tw;
  const unsigned outputs = g[0] * windows;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int place = (int)i % windows, plane = (int)i / windows;
    const int d0 = place / (th * tw) * g[10] - g[16], h0 = place / tw % th * g[11] - g[17];
    const int w0 = place % tw * g[12] - g[18];
    int d_low, d_high, h_low, h_high, w_low, w_high;
    pool_taps(d0, g[13], g[7], sd, &d_low, &d_high);
    pool_taps(h0, g[14], g[8], sh, &h_low, &h_high);
    pool_taps(w0, g[15], g[9], sw, &w_low, &w_high);

    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = x + (long long)n * inputs + (long long)plane * sd * sh * sw;
      int winner = -1;
      float best = 0.0f;
      for (int a = d_low; a < d_high; ++a) {
        for (int b = h_low; b < h_high; ++b) {
          const int row = ((d0 + a * g[13]) * sh + h0 + b * g[14]) * sw + w0;
          for (int e = w_low; e < w_high; ++e) {
            const float value = input[row + e * g[15]];
            if (winner < 0 || value > best || (best != best && value == value)) {
              best = value;
              winner = (a * g[8] + b) * g[9] + e;
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
  const int sd = g[1], sh = g[2], sw = g[3], td = g[4], th = g[5], tw = g[6];
  const int inputs = g[0] * sd * sh * sw, windows = td * th * tw;
  const unsigned outputs = g[0] * windows;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int place = (int)i % windows, plane = (int)i / windows;
    const int d0 = place / (th * tw) * g[10] - g[16], h0 = place / tw % th * g[11] - g[17];
    const int w0 = place % tw * g[12] - g[18];

    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const int tap = winners[(long long)(n % samples) * outputs + i];
      const float* input = x + (long long)n * inputs + (long long)plane * sd * sh * sw;
      const int d = d0 + tap / (g[8] * g[9]) * g[13], h = h0 + tap / g[9] % g[8] * g[14], v = w0 + tap % g[9] * g[15];
      y[(long long)n * outputs + i] = tap < 0 ? 0.0f : input[(d * sh + h) * sw + v];
    }
  }
}

// x[batch, planes, source]: every element gets s[batch, planes, target] from each window that it wins.
extern "C" __global__ void __launch_bounds__(256, 2)
pool_select_adjoint(const float* __restrict__ s, const int* __restrict__ winners, float* __restrict__ x,
                    const int* __restrict__ g, int batch, int samples) {
  const int sd = g[1], sh = g[2], sw = g[3], td = g[4], th = g[5], tw = g[6];
  const int places = sd * sh * sw, windows = td * th * tw, inputs = g[0] * windows;
  const unsigned outputs = g[0] * places;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int place = (int)i % places, plane = (int)i / places;
    const int pd = place / (sh * sw) + g[16], ph = place / sw % sh + g[17], pw = place % sw + g[18];

    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = s + (long long)n * inputs + (long long)plane * windows;
      const int* winner = winners + (long long)(n % samples) * inputs + (long long)plane * windows;
      float total = 0.0f;
#pragma unroll 1
      for (int a = 0; a < g[7]; ++a) {
        const int d = pool_window(pd - a * g[13], g[10], td);
        if (d < 0) continue;
#pragma unroll 1
        for (int b = 0; b < g[8]; ++b) {
          const int h = pool_window(ph - b * g[14], g[11], th);
          if (h < 0) continue;
#pragma unroll 1
          for (int e = 0; e < g[9]; ++e) {
            const int v = pool_window(pw - e * g[15], g[12], tw);
            if (v < 0) continue;
            const int window = (d * th + h) * tw + v;
            if (winner[window] == (a * g[8] + b) * g[9] + e) total += input[window];
          }
        }
      }
      x[(long long)n * outputs + i] = total;
    }
  }
}
