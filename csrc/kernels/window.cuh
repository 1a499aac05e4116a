// Sliding windows over depth, height and width: which taps of a window fall on its input, which windows hold a place.
//
// A window's numbers w, each of depth, height, width (missing axes have size 1):
//   [0..2] source  [3..5] target  [6..8] kernel  [9..11] stride  [12..14] dilation  [15..17] padding before
// Windows, places and taps are counted in row-major order.

// Where a window begins on the input, and the taps [low, high) along each axis that fall on it.
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

// The window whose tap is at `reach` (position + padding - tap * dilation), or -1 if there is none.
__device__ __forceinline__ int window_at(int reach, int stride, int windows) {
  if (reach < 0 || reach % stride != 0) return -1;
  const int window = reach / stride;
  return window < windows ? window : -1;
}

// visit(window, tap) for each window that holds the place, in the order of the taps that fall on it.
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
