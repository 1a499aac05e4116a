// The elementwise maps of a program, one device function each; kernels that chain them are generated
// (onnxlrp/engines/cuda/kernels/elementwise.py).

__device__ __forceinline__ float map_add(float a, float b) { return a + b; }
__device__ __forceinline__ float map_sub(float a, float b) { return a - b; }
__device__ __forceinline__ float map_mul(float a, float b) { return a * b; }
__device__ __forceinline__ float map_div(float a, float b) { return a / b; }
__device__ __forceinline__ float map_neg(float a) { return -a; }

// NaN if either operand is NaN.
__device__ __forceinline__ float map_max(float a, float b) { return a >= b || a != a ? a : b; }
__device__ __forceinline__ float map_min(float a, float b) { return a <= b || a != a ? a : b; }

__device__ __forceinline__ float map_greater(float a, float b) { return a > b ? 1.0f : 0.0f; }
__device__ __forceinline__ float map_where(float c, float a, float b) { return c != 0.0f ? a : b; }
__device__ __forceinline__ float map_square(float a) { return a * a; }
__device__ __forceinline__ float map_sqrt(float a) { return sqrtf(a); }
__device__ __forceinline__ float map_exp(float a) { return expf(a); }
__device__ __forceinline__ float map_sin(float a) { return sinf(a); }
__device__ __forceinline__ float map_cos(float a) { return cosf(a); }
__device__ __forceinline__ float map_tanh(float a) { return tanhf(a); }
__device__ __forceinline__ float map_erf(float a) { return erff(a); }

// Two forms, so that exp never overflows.
__device__ __forceinline__ float map_sigmoid(float a) {
  const float e = expf(-fabsf(a));
  return a >= 0.0f ? 1.0f / (1.0f + e) : e / (1.0f + e);
}

// z + epsilon * sgn(z), sgn(0) = +1.
__device__ __forceinline__ float map_stabilize(float z, float epsilon) {
  return z + (z >= 0.0f ? epsilon : -epsilon);
}

// NaN for a negative base and an exponent that is no integer; the sign of an odd power is the base's.
__device__ __forceinline__ float map_power(float a, float exponent) { return powf(a, exponent); }
