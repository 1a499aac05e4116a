// Convolution in 1 to 3 dimensions and its adjoint, as plain gathers: one thread an output element, any geometry.
//
// Sums are over taps first, then over channels: two levels of float32 round less than one, and the order is fixed.
// Missing spatial axes have size 1. Geometry g, in this order (3 numbers are depth, height, width):
//   [0] C_in  [1] C_out  [2] groups  [3..5] source  [6..8] target  [9..11] kernel
//   [12..14] stride  [15..17] dilation  [18..20] padding before
// Grid: x over the elements of one sample, y over samples; both may be smaller than what they cover.

// The taps [low, high) of one axis that fall on the input, when the window starts at `start`.
__device__ __forceinline__ void conv_taps(int start, int dilation, int taps, int size, int* low, int* high) {
  *low = start < 0 ? (dilation - 1 - start) / dilation : 0;
  int end = size <= start ? 0 : (size - start + dilation - 1) / dilation;
  *high = end < taps ? end : taps;
}

// The window whose tap is at `reach` (position + padding - tap * dilation), or -1 if there is none.
__device__ __forceinline__ int conv_window(int reach, int stride, int windows) {
  if (reach < 0 || reach % stride != 0) return -1;
  int window = reach / stride;
  return window < windows ? window : -1;
}

// y[batch, C_out, target] = W x (+ bias[C_out], unless null); x [batch, C_in, source], w [C_out, C_in / groups, kernel].
extern "C" __global__ void __launch_bounds__(256, 2)
conv_forward(const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias,
             float* __restrict__ y, const int* __restrict__ g, int batch) {
  const int channels = g[0] / g[2], per_group = g[1] / g[2];
  const int sd = g[3], sh = g[4], sw = g[5], td = g[6], th = g[7], tw = g[8], kd = g[9], kh = g[10], kw = g[11];
  const int place = sd * sh * sw, taps = kd * kh * kw;
  const int inputs = g[0] * place;
  const unsigned outputs = g[1] * td * th * tw;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    int rest = (int)i;
    const int ow = rest % tw;
    rest /= tw;
    const int oh = rest % th;
    rest /= th;
    const int od = rest % td;
    const int c = rest / td;
    const int d0 = od * g[12] - g[18], h0 = oh * g[13] - g[19], w0 = ow * g[14] - g[20];
    int d_low, d_high, h_low, h_high, w_low, w_high;
    conv_taps(d0, g[15], kd, sd, &d_low, &d_high);
    conv_taps(h0, g[16], kh, sh, &h_low, &h_high);
    conv_taps(w0, g[17], kw, sw, &w_low, &w_high);
    const float* weight = w + (long long)c * channels * taps;
    const int first = (c / per_group) * channels * place;

    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = x + (long long)n * inputs + first;
      float total = bias == nullptr ? 0.0f : bias[c];
      for (int k = 0; k < channels; ++k) {
        float sum = 0.0f;
        for (int a = d_low; a < d_high; ++a) {
          for (int b = h_low; b < h_high; ++b) {
            const float* row = input + (long long)k * place + ((d0 + a * g[15]) * sh + h0 + b * g[16]) * sw + w0;
            const float* taps_of_row = weight + (long long)k * taps + (a * kh + b) * kw;
            for (int e = w_low; e < w_high; ++e) sum += taps_of_row[e] * row[e * g[17]];
          }
        }
        total += sum;
      }
      y[(long long)n * outputs + i] = total;
    }
  }
}

// x[batch, C_in, source] = Wᵀ s; s [batch, C_out, target], w [C_out, C_in / groups, kernel].
extern "C" __global__ void __launch_bounds__(256, 2)
conv_adjoint(const float* __restrict__ s, const float* __restrict__ w, float* __restrict__ x,
             const int* __restrict__ g, int batch) {
  const int channels = g[0] / g[2], per_group = g[1] / g[2];
  const int sd = g[3], sh = g[4], sw = g[5], td = g[6], th = g[7], tw = g[8], kd = g[9], kh = g[10], kw = g[11];
  const int place = td * th * tw, taps = kd * kh * kw;
  const int inputs = g[1] * place;
  const unsigned outputs = g[0] * sd * sh * sw;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    int rest = (int)i;
    const int pw = rest % sw + g[20];
    rest /= sw;
    const int ph = rest % sh + g[19];
    rest /= sh;
    const int pd = rest % sd + g[18];
    const int c = rest / sd;
    const int group = c / channels;
    const float* weight = w + ((long long)group * per_group * channels + c % channels) * taps;
    const long long next = (long long)channels * taps;

    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = s + (long long)n * inputs + (long long)group * per_group * place;
      float total = 0.0f;
      for (int a = 0; a < kd; ++a) {
        const int d = conv_window(pd - a * g[15], g[12], td);
        if (d < 0) continue;
        for (int b = 0; b < kh; ++b) {
          const int h = conv_window(ph - b * g[16], g[13], th);
          if (h < 0) continue;
          for (int e = 0; e < kw; ++e) {
            const int v = conv_window(pw - e * g[17], g[14], tw);
            if (v < 0) continue;
            const float* tap = weight + (a * kh + b) * kw + e;
            const float* from = input + (d * th + h) * tw + v;
            float sum = 0.0f;
            for (int k = 0; k < per_group; ++k) sum += tap[k * next] * from[(long long)k * place];
            total += sum;
          }
        }
      }
      x[(long long)n * outputs + i] = total;
    }
  }
}
