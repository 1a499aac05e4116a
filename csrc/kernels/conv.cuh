// Convolution in 1 to 3 dimensions and its adjoint as plain gathers: one thread per output element, any geometry.
//
// Sums run over taps first, then over channels, in a fixed order: two levels of float32 round less than one.
// Geometry g: [0] C_in  [1] C_out  [2] groups  [3..20] the window's parameters (window.cuh)
// Grid: x over the elements of one sample, y over samples; both may be smaller than what they cover.

// y[batch, C_out, target] = W x (+ bias[C_out], unless null); x [batch, C_in, source],
// w [C_out, C_in / groups, kernel].
extern "C" __global__ void __launch_bounds__(256, 2)
conv_forward(const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias,
             float* __restrict__ y, const int* __restrict__ g, int batch) {
  const int* v = g + 3;
  const int channels = g[0] / g[2], per_group = g[1] / g[2];
  const int places = v[0] * v[1] * v[2], windows = v[3] * v[4] * v[5], taps = v[6] * v[7] * v[8];
  const unsigned outputs = g[1] * windows;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int window = (int)i % windows, c = (int)i / windows;
    const Taps t = taps_of(v, window);
    const float* weight = w + (long long)c * channels * taps;
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = x + ((long long)n * g[0] + c / per_group * channels) * places;
      float total = bias == nullptr ? 0.0f : bias[c];
      for (int k = 0; k < channels; ++k) {
        float sum = 0.0f;
        each_row(v, t, [&](int place, int tap) {
          const float* row = input + (long long)k * places + place;
          const float* weights = weight + (long long)k * taps + tap;
          for (int e = t.low[2]; e < t.high[2]; ++e) sum += weights[e] * row[e * v[14]];
        });
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
  const int* v = g + 3;
  const int channels = g[0] / g[2], per_group = g[1] / g[2];
  const int places = v[0] * v[1] * v[2], windows = v[3] * v[4] * v[5], taps = v[6] * v[7] * v[8];
  const unsigned outputs = g[0] * places;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < outputs; i += gridDim.x * blockDim.x) {
    const int place = (int)i % places, c = (int)i / places;
    const int first = c / channels * per_group;
    const float* weight = w + ((long long)first * channels + c % channels) * taps;
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      const float* input = s + ((long long)n * g[1] + first) * windows;
      float total = 0.0f;
      each_window(v, place, [&](int window, int tap) {
        float sum = 0.0f;
        for (int k = 0; k < per_group; ++k) {
          sum += weight[(long long)k * channels * taps + tap] * input[(long long)k * windows + window];
        }
        total += sum;
      });
      x[(long long)n * outputs + i] = total;
    }
  }
}
