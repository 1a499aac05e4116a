// The adjoint of a max-pool over two axes in one launch: x[batch, planes, source] receives s[batch, planes, target] at
// the winner of each window of chooser[samples, planes, source]. Every thread that needs a winner searches it again:
// its windows are in the L1 cache, and no array of winners is written and read. Winners and the order of sums are those
// of pool.cuh; results are passed to `finish` (see GemmStore), with a plane as a channel.
//
// Windows are K x K, a stride S apart. A thread has a patch of S x S elements, the last rows and columns of one window;
// (K + S - 1) / S windows along each axis overlap it. There are high x wide patches; the first belongs to window
// (first_h, first_w), which may lie outside. aligned: whether S neighbours of a patch are aligned to S floats.
#define ROUTE_PARAMETERS                                                                                         \
  const float *__restrict__ s, const float *__restrict__ chooser, const int *__restrict__ g, int batch, int samples, \
      int first_h, int first_w, int high, int wide, int aligned
#define ROUTE_ARGUMENTS s, chooser, g, batch, samples, first_h, first_w, high, wide, aligned

template <int K, int S, typename Finish>
__device__ __forceinline__ void pool_route(ROUTE_PARAMETERS, Finish finish) {
  constexpr int WINDOWS = (K + S - 1) / S, REACH = K + (WINDOWS - 1) * S;
  const int planes = g[0], sh = g[2], sw = g[3], th = g[5], tw = g[6], ph = g[17], pw = g[18];
  const unsigned items = (unsigned)planes * high * wide;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < items; i += gridDim.x * blockDim.x) {
    const int plane = i / (unsigned)(high * wide), rest = i % (unsigned)(high * wide);
    const int oh = rest / wide + first_h, ow = rest % wide + first_w, h0 = oh * S - ph, w0 = ow * S - pw;
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* from = chooser + ((long long)(n % samples) * planes + plane) * sh * sw;
      float seen[REACH][REACH];
#pragma unroll
      for (int a = 0; a < REACH; ++a) {
#pragma unroll
        for (int b = 0; b < REACH; ++b) {
          const bool inside = (unsigned)(h0 + a) < (unsigned)sh && (unsigned)(w0 + b) < (unsigned)sw;
          seen[a][b] = inside ? from[(h0 + a) * sw + w0 + b] : not_a_number();
        }
      }
      float total[S][S];
#pragma unroll
      for (int a = 0; a < S; ++a) {
#pragma unroll
        for (int b = 0; b < S; ++b) total[a][b] = 0.0f;
      }
      // Windows in the order of pool_select_adjoint: by descending taps, so from the last to the first.
#pragma unroll
      for (int p = WINDOWS - 1; p >= 0; --p) {
#pragma unroll
        for (int q = WINDOWS - 1; q >= 0; --q) {
          const bool there = (unsigned)(oh + p) < (unsigned)th && (unsigned)(ow + q) < (unsigned)tw;
          const float value = there ? s[(((long long)n * planes + plane) * th + oh + p) * tw + ow + q] : 0.0f;
          int winner = -1;
          float best = 0.0f;
#pragma unroll
          for (int a = 0; a < K; ++a) {
#pragma unroll
            for (int b = 0; b < K; ++b) {
              const float other = seen[p * S + a][q * S + b];
              const int h = h0 + p * S + a, v = w0 + q * S + b;
              const bool inside = (unsigned)h < (unsigned)sh && (unsigned)v < (unsigned)sw;
              if (inside && (winner < 0 || other > best || (best != best && other == other))) {
                best = other;
                winner = a * K + b;
              }
            }
          }
#pragma unroll
          for (int a = 0; a < S; ++a) {
#pragma unroll
            for (int b = 0; b < S; ++b) {
              const int tap_h = K - S + a - p * S, tap_w = K - S + b - q * S;
              if (tap_h >= 0 && tap_w >= 0 && there && winner == tap_h * K + tap_w) total[a][b] += value;
            }
          }
        }
      }
      const int low_h = h0 + K - S, low_w = w0 + K - S, at = ((n * planes + plane) * sh + low_h) * sw + low_w;
      if (aligned) {
        int channel[S], to[S];
#pragma unroll
        for (int a = 0; a < S; ++a) {
          channel[a] = plane;
          to[a] = (unsigned)(low_h + a) < (unsigned)sh && (unsigned)low_w < (unsigned)sw ? at + a * sw : -1;
        }
        finish(total, channel, to);
      } else {
        float one[S * S][1];
        int channel[S * S], to[S * S];
#pragma unroll
        for (int k = 0; k < S * S; ++k) {
          const int a = k / S, b = k % S;
          const bool there = (unsigned)(low_h + a) < (unsigned)sh && (unsigned)(low_w + b) < (unsigned)sw;
          one[k][0] = total[a][b], channel[k] = plane, to[k] = there ? at + a * sw + b : -1;
        }
        finish(one, channel, to);
      }
    }
  }
}
