// Copies of elements by places that the forward pass computes, and their adjoint.
//
// places[samples, target]: the element of x[n, source] that y[n, target] copies, as floats. Several targets share the
// places of their sample: sample n of x and y has those of sample n % samples.
//
// The adjoint adds up what each element receives, in any order: floats would make the result depend on it. So it
// finds the largest term of each element, and adds all of them as integers, in units that leave no room for overflow.
// Grid of take_copy, take_largest and take_add: x over the target, y over samples; that of take_clear and take_finish: x
// only. All may be smaller than what they cover.

// Call store(n, i, place) for each i of [batch, target].
template <typename Store>
__device__ __forceinline__ void take_each(const float* __restrict__ places, int batch, int samples, int target,
                                          Store store) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (unsigned)target; i += gridDim.x * blockDim.x) {
    for (int n = blockIdx.y; n < batch; n += gridDim.y) {
      store(n, i, (int)places[(long long)(n % samples) * target + i]);
    }
  }
}

// y[batch, target] = x[batch, source] at the places.
extern "C" __global__ void __launch_bounds__(256, 2)
take_copy(const float* __restrict__ x, const float* __restrict__ places, float* __restrict__ y, int batch, int samples,
          int source, int target) {
  take_each(places, batch, samples, target, [&](int n, unsigned i, int place) {
    y[(long long)n * target + i] = x[(long long)n * source + place];
  });
}

// largest = 0 and total = 0, `count` elements.
extern "C" __global__ void __launch_bounds__(256, 2)
take_clear(int* __restrict__ largest, unsigned long long* __restrict__ total, long long count) {
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count;
       i += (long long)gridDim.x * blockDim.x) {
    largest[i] = 0;
    total[i] = 0;
  }
}

// largest[batch, source] = the bits of the largest |s[batch, target]| that an element receives.
extern "C" __global__ void __launch_bounds__(256, 2)
take_largest(const float* __restrict__ s, const float* __restrict__ places, int* largest, int batch, int samples,
             int source, int target) {
  take_each(places, batch, samples, target, [&](int n, unsigned i, int place) {
    atomicMax(largest + (long long)n * source + place, __float_as_int(fabsf(s[(long long)n * target + i])));
  });
}

// Bits of infinity: those of larger numbers are NaN.
#define TAKE_INFINITE 0x7f800000

// The power of two by which terms below the largest are multiplied, so that 2^bits of them fit into 62 bits.
__device__ __forceinline__ int take_shift(int largest, int bits) { return 62 - bits - ((largest >> 23) - 126); }

// total[batch, source] += the terms that an element receives, as integers. Where one of them is no finite number, the
// lower half of the total counts infinities, the upper half negative ones, and both count NaN.
extern "C" __global__ void __launch_bounds__(256, 2)
take_add(const float* __restrict__ s, const float* __restrict__ places, const int* __restrict__ largest,
         unsigned long long* total, int batch, int samples, int source, int target, int bits) {
  take_each(places, batch, samples, target, [&](int n, unsigned i, int place) {
    const float term = s[(long long)n * target + i];
    const long long at = (long long)n * source + place;
    if (largest[at] < TAKE_INFINITE) {
      const long long units = llrint(ldexp((double)term, take_shift(largest[at], bits)));
      atomicAdd(total + at, (unsigned long long)units);
    } else if (term != term || fabsf(term) == __int_as_float(TAKE_INFINITE)) {
      atomicAdd(total + at, (term < 0.0f ? 0ull : 1ull) + (term > 0.0f ? 0ull : 1ull << 32));
    }
  });
}

// y = the totals as floats, `count` elements.
extern "C" __global__ void __launch_bounds__(256, 2)
take_finish(const int* __restrict__ largest, const unsigned long long* __restrict__ total, float* __restrict__ y,
            long long count, int bits) {
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count;
       i += (long long)gridDim.x * blockDim.x) {
    const float infinite = __int_as_float(TAKE_INFINITE);
    if (largest[i] < TAKE_INFINITE) {
      y[i] = (float)ldexp((double)(long long)total[i], -take_shift(largest[i], bits));
    } else {
      const unsigned long long negative = total[i] >> 32, positive = total[i] & 0xffffffff;
      y[i] = negative == 0 ? infinite : positive == 0 ? -infinite : infinite - infinite;
    }
  }
}
