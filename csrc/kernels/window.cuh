// Sliding windows over depth, height and width: the taps of a window that fall on its input, and the windows that
// contain an element of it.
//
// Parameters w of a window, each for depth, height, width (missing axes have size 1):
//   [0..2] source  [3..5] target  [6..8] kernel  [9..11] stride  [12..14] dilation  [15..17] padding before
// Windows, places (elements of the input) and taps are indexed in row-major order.

__device__ __forceinline__ int places_of(const int* __restrict__ w) { return w[0] * w[1] * w[2]; }
__device__ __forceinline__ int windows_of(const int* __restrict__ w) { return w[3] * w[4] * w[5]; }

// Input coordinates of a window's first tap, and the taps [low, high) along each axis that fall on the input.
struct Taps {
  int begin[3], low[3], high[3];
};

__device__ __forceinline__ Taps taps_of(const int* __restrict__ w, int window) {
  const int at[3] = {window / (w[4] * w[5]), window / w[5] % w[4], window % w[5]};
  Taps t;
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    const int begin = at[k] * w[9 + k] - w[15 + k], dilation = w[12 + k];
    const int end = w[k] <= begin ? 0 : (w[k] - begin + dilation - 1) / dilation;
    t.begin[k] = begin;
    t.low[k] = begin < 0 ? (dilation - 1 - begin) / dilation : 0;
    t.high[k] = end < w[6 + k] ? end : w[6 + k];
  }
  return t;
}

// Call visit(place, tap) for each row of a window that falls on the input, in order, with the place and index of the
// row's tap 0 along the width; its taps are t.low[2] to t.high[2], w[14] places apart.
template <typename Visit>
__device__ __forceinline__ void each_row(const int* __restrict__ w, const Taps& t, Visit visit) {
  for (int a = t.low[0]; a < t.high[0]; ++a) {
    for (int b = t.low[1]; b < t.high[1]; ++b) {
      const int place = ((t.begin[0] + a * w[12]) * w[1] + t.begin[1] + b * w[13]) * w[2] + t.begin[2];
      visit(place, (a * w[7] + b) * w[8]);
    }
  }
}

// Return the window that has a tap at `reach` (position + padding - tap * dilation), or -1 if there is none.
__device__ __forceinline__ int window_at(int reach, int stride, int windows) {
  if (reach < 0 || reach % stride != 0) return -1;
  const int window = reach / stride;
  return window < windows ? window : -1;
}

// Call visit(window, tap) for each window that contains the place, in the order of the taps that fall on it.
template <typename Visit>
__device__ __forceinline__ void each_window(const int* __restrict__ w, int place, Visit visit) {
  const int td = w[3], th = w[4], tw = w[5];
  const int pd = place / (w[1] * w[2]) + w[15], ph = place / w[2] % w[1] + w[16], pw = place % w[2] + w[17];
#pragma unroll 1
  for (int a = 0; a < w[6]; ++a) {
    const int d = window_at(pd - a * w[12], w[9], td);
    if (d < 0) continue;
#pragma unroll 1
    for (int b = 0; b < w[7]; ++b) {
      const int h = window_at(ph - b * w[13], w[10], th);
      if (h < 0) continue;
#pragma unroll 1
      for (int e = 0; e < w[8]; ++e) {
        const int v = window_at(pw - e * w[14], w[11], tw);
        if (v >= 0) visit((d * th + h) * tw + v, (a * w[7] + b) * w[8] + e);
      }
    }
  }
}
