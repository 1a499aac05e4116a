// Depthwise convolution in float32: y[batch, C_out, target] = W x, C_in groups of C_out / C_in channels. Geometry g is
// that of conv.cuh, with depth 1. A thread computes 4 neighbours of a row and passes them to `finish` (see GemmStore).
// K x K taps and stride S along both axes, without dilation, are compile-time constants; K = 0 reads them from g.
#define DEPTHWISE_PARAMETERS \
  const float *__restrict__ x, const float *__restrict__ w, const int *__restrict__ g, int batch
#define DEPTHWISE_ARGUMENTS x, w, g, batch

template <int K, int S, typename Finish>
__device__ __forceinline__ void depthwise(DEPTHWISE_PARAMETERS, Finish finish) {
  const int sh = g[4], sw = g[5], th = g[7], tw = g[8], kh = K ? K : g[10], kw = K ? K : g[11];
  const int step_h = K ? S : g[13], step_w = K ? S : g[14], dh = K ? 1 : g[16], dw = K ? 1 : g[17];
  const int place = sh * sw, quads = (tw + 3) / 4, each = g[1] / g[0];
  const long long outputs = (long long)g[1] * th * tw;
  const unsigned items = (unsigned)g[1] * th * quads;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < items; i += gridDim.x * blockDim.x) {
    const int ow = i % quads * 4, oh = i / quads % th, c = i / quads / th;
    const int h0 = oh * step_h - g[19], w0 = ow * step_w - g[20];
    const float* weight = w + (long long)c * kh * kw;
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = x + ((long long)n * g[0] + c / each) * place;
      float total[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) total[j] = 0.0f;
#pragma unroll
      for (int a = 0; a < kh; ++a) {
        const int h = h0 + a * dh;
        if ((unsigned)h >= (unsigned)sh) continue;
        const float* row = input + h * sw;
        if (K) {
          constexpr int REACH = 3 * S + (K ? K : 1);
          float seen[REACH];
#pragma unroll
          for (int e = 0; e < REACH; ++e) seen[e] = (unsigned)(w0 + e) < (unsigned)sw ? row[w0 + e] : 0.0f;
#pragma unroll
          for (int b = 0; b < K; ++b) {
#pragma unroll
            for (int j = 0; j < 4; ++j) total[j] += weight[a * K + b] * seen[j * S + b];
          }
        } else {
          for (int b = 0; b < kw; ++b) {
#pragma unroll
            for (int j = 0; j < 4; ++j) {
              const int v = w0 + j * step_w + b * dw;
              if ((unsigned)v < (unsigned)sw) total[j] += weight[a * kw + b] * row[v];
            }
          }
        }
      }
      const int at = (int)(n * outputs) + (c * th + oh) * tw + ow;
      if (tw % 4 == 0) {
        float whole[1][4] = {{total[0], total[1], total[2], total[3]}};
        const int channel[1] = {c}, to[1] = {at};
        finish(whole, channel, to);
      } else {
        float one[4][1] = {{total[0]}, {total[1]}, {total[2]}, {total[3]}};
        int channel[4], to[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) channel[j] = c, to[j] = ow + j < tw ? at + j : -1;
        finish(one, channel, to);
      }
    }
  }
}
