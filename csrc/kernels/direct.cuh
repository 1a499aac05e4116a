// Convolutions in float32 that are too narrow for a matrix product: depthwise ones, and those between an image of at
// most 4 channels and the first layer. A thread computes several results. Geometry g is that of conv.cuh, with depth 1.

// x[batch, C, source] = Wᵀ s, one channel per group: 4 neighbours of a row per thread. S is the stride, or 0: in g.
template <int S>
__device__ __forceinline__ void depthwise_back(const float* __restrict__ s, const float* __restrict__ w,
                                               float* __restrict__ x, const int* __restrict__ g, int batch) {
  const int sh = g[4], sw = g[5], th = g[7], tw = g[8], kh = g[10], kw = g[11], dh = g[16], dw = g[17];
  const int step_h = S ? S : g[13], step_w = S ? S : g[14];
  const int place = th * tw, quads = (sw + 3) / 4;
  const long long outputs = (long long)g[0] * sh * sw;
  const unsigned items = (unsigned)g[0] * sh * quads;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < items; i += gridDim.x * blockDim.x) {
    const int left = i % quads * 4, high = i / quads % sh, c = i / quads / sh;
    const float* weight = w + (long long)c * kh * kw;
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = s + ((long long)n * g[0] + c) * place;
      float total[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      for (int a = 0; a < kh; ++a) {
        const int h = window_at(high + g[19] - a * dh, step_h, th);
        if (h < 0) continue;
        for (int b = 0; b < kw; ++b) {
          const float tap = weight[a * kw + b];
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const int v = window_at(left + j + g[20] - b * dw, step_w, tw);
            if (v >= 0) total[j] += tap * input[h * tw + v];
          }
        }
      }
      float* to = x + n * outputs + ((long long)c * sh + high) * sw + left;
      if (sw % 4 == 0) {
        write_wide<4>(to, total);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (left + j < sw) to[j] = total[j];
        }
      }
    }
  }
}

#define DEPTHWISE(name, K, S)                                                                                  \
  extern "C" __global__ void __launch_bounds__(256, 3)                                                         \
      name(DEPTHWISE_PARAMETERS, const float* __restrict__ bias, float* y) {                                   \
    const GemmStore store{bias, y};                                                                            \
    depthwise<K, S>(DEPTHWISE_ARGUMENTS, store);                                                               \
  }

#define DEPTHWISE_BACK(name, S)                                                                                \
  extern "C" __global__ void __launch_bounds__(256, 3) name(                                                      \
      const float* __restrict__ s, const float* __restrict__ w, float* __restrict__ x,                         \
      const int* __restrict__ g, int batch) {                                                                  \
    depthwise_back<S>(s, w, x, g, batch);                                                                      \
  }

// Grid of all: x over the quads of one sample, y over samples; both may be smaller than what they cover.
DEPTHWISE(depthwise_any, 0, 1)
DEPTHWISE(depthwise_3x3, 3, 1)
DEPTHWISE(depthwise_3x3_by_2, 3, 2)
DEPTHWISE(depthwise_5x5, 5, 1)
DEPTHWISE_BACK(depthwise_back_any, 0)
DEPTHWISE_BACK(depthwise_back_by_2, 2)

#define IMAGE_CHANNELS 8
#define IMAGE_PIXELS 4

// y[batch, C_out, target] = W x (+ bias[C_out]) for few input channels; w [C_out / 8][tap][C_in][8], zeros at the end.
// A thread computes 8 channels at 4 pixels. Grid: x pixels / 512, y C_out / 8, z samples; x and z may be smaller.
extern "C" __global__ void __launch_bounds__(128, 4)
image_forward(const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias,
              float* __restrict__ y, const int* __restrict__ g, int batch) {
  const int channels = g[0], rows = g[1], sh = g[4], sw = g[5], tw = g[8], pixels = g[7] * tw, place = sh * sw;
  const int first = blockIdx.y * IMAGE_CHANNELS;
  const float* weights = w + (long long)first * channels * g[10] * g[11];
  for (int n = blockIdx.z; n < batch; n += gridDim.z) {
    const float* input = x + (long long)n * channels * place;
    for (int tile = blockIdx.x * 128 * IMAGE_PIXELS; tile < pixels; tile += gridDim.x * 128 * IMAGE_PIXELS) {
      int h0[IMAGE_PIXELS], w0[IMAGE_PIXELS];
      float total[IMAGE_PIXELS][IMAGE_CHANNELS];
#pragma unroll
      for (int e = 0; e < IMAGE_PIXELS; ++e) {
        const int pixel = tile + e * 128 + threadIdx.x;
        h0[e] = pixel < pixels ? pixel / tw * g[13] - g[19] : -(1 << 29);
        w0[e] = pixel % tw * g[14] - g[20];
#pragma unroll
        for (int m = 0; m < IMAGE_CHANNELS; ++m) {
          total[e][m] = bias == nullptr || first + m >= rows ? 0.0f : bias[first + m];
        }
      }
      const float* weight = weights;
      for (int a = 0; a < g[10]; ++a) {
        for (int b = 0; b < g[11]; ++b) {
          int at[IMAGE_PIXELS];
#pragma unroll
          for (int e = 0; e < IMAGE_PIXELS; ++e) {
            const int h = h0[e] + a * g[16], v = w0[e] + b * g[17];
            at[e] = (unsigned)h < (unsigned)sh && (unsigned)v < (unsigned)sw ? h * sw + v : -1;
          }
          for (int c = 0; c < channels; ++c, weight += IMAGE_CHANNELS) {
            float low[4], high[4];
            read_wide<4>(low, weight);
            read_wide<4>(high, weight + 4);
#pragma unroll
            for (int e = 0; e < IMAGE_PIXELS; ++e) {
              const float value = at[e] < 0 ? 0.0f : input[c * place + at[e]];
#pragma unroll
              for (int m = 0; m < 4; ++m) {
                total[e][m] += low[m] * value;
                total[e][m + 4] += high[m] * value;
              }
            }
          }
        }
      }
#pragma unroll
      for (int e = 0; e < IMAGE_PIXELS; ++e) {
        const int pixel = tile + e * 128 + threadIdx.x;
        if (pixel >= pixels) continue;
#pragma unroll
        for (int m = 0; m < IMAGE_CHANNELS; ++m) {
          if (first + m < rows) y[((long long)n * rows + first + m) * pixels + pixel] = total[e][m];
        }
      }
    }
  }
}

// x[batch, C_in, source] = Wᵀ s for at most 4 channels of x; w [tap][C_out][4], zeros from C_in on. A thread computes
// all channels at 4 pixels of one column, one stride apart. Columns of neighbouring threads are one stride apart too,
// so that the same taps reach them. Grid: x over columns and groups of rows, y over samples; both may be smaller.
extern "C" __global__ void __launch_bounds__(128, 4)
image_adjoint(const float* __restrict__ s, const float* __restrict__ w, float* __restrict__ x,
              const int* __restrict__ g, int batch) {
  const int channels = g[0], rows = g[1], sh = g[4], sw = g[5], th = g[7], tw = g[8], step = g[13];
  const int place = th * tw, span = step * IMAGE_PIXELS;
  const int across = (sw + g[14] - 1) / g[14], columns = across * g[14];
  const unsigned items = (unsigned)((sh + span - 1) / span) * step * columns;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < items; i += gridDim.x * blockDim.x) {
    const int j = i % columns, of = i / columns, high = of / step * span + of % step;
    const int column = j % across * g[14] + j / across;
    if (column >= sw) continue;
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = s + (long long)n * rows * place;
      float total[IMAGE_PIXELS][4];
#pragma unroll
      for (int e = 0; e < IMAGE_PIXELS; ++e) {
#pragma unroll
        for (int c = 0; c < 4; ++c) total[e][c] = 0.0f;
      }
      for (int a = 0; a < g[10]; ++a) {
        // The window at the first pixel's row, perhaps before the first one; those of the other pixels follow.
        const int reach = high + g[19] - a * g[16];
        if (reach % step != 0) continue;
        const int h = reach / step;
        for (int b = 0; b < g[11]; ++b) {
          const int v = window_at(column + g[20] - b * g[17], g[14], tw);
          if (v < 0) continue;
          const float* weight = w + (long long)(a * g[11] + b) * rows * 4;
          for (int k = 0; k < rows; ++k) {
            float tap[4];
            read_wide<4>(tap, weight + k * 4);
#pragma unroll
            for (int e = 0; e < IMAGE_PIXELS; ++e) {
              const bool there = (unsigned)(h + e) < (unsigned)th;
              const float value = there ? input[(long long)k * place + (h + e) * tw + v] : 0.0f;
#pragma unroll
              for (int c = 0; c < 4; ++c) total[e][c] += tap[c] * value;
            }
          }
        }
      }
#pragma unroll
      for (int e = 0; e < IMAGE_PIXELS; ++e) {
        if (high + e * step >= sh) continue;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          if (c < channels) x[(((long long)n * channels + c) * sh + high + e * step) * sw + column] = total[e][c];
        }
      }
    }
  }
}
