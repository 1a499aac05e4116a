// Machine operations as device functions: inline PTX on the GPU, the same operation in C++ on the emulator.
//
// What plain CUDA C++ cannot express belongs in this file and in no other. NVRTC has no headers, so there are no
// includes and no INFINITY or NAN: use infinity() and not_a_number().
#pragma once

// The dynamic shared memory of the block as an array of T. (`extern __shared__` itself is not emulated.)
template <typename T>
__device__ __forceinline__ T* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
#else
  return static_cast<T*>(cuda_on_cpu::dynamic_shared());
#endif
}

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }
__device__ __forceinline__ float not_a_number() { return __int_as_float(0x7fffffff); }

// Round to the nearest TF32 number, ties away from zero: a float with ten bits of mantissa.
__device__ __forceinline__ unsigned tf32(float x) {
#if defined(__CUDACC__)
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
  return rounded;
#else
  return cuda_on_cpu::tf32(x);
#endif
}

// d += a b on tensor cores, one warp: a is 16x8, b is 8x8, d is 16x8; the low 13 bits of a and b are ignored (TF32).
// With g = lane / 4 and t = lane % 4 a lane holds
//   a[0..3] = A[g][t], A[g+8][t], A[g][t+4], A[g+8][t+4]
//   b[0..1] = B[t][g], B[t+4][g]
//   d[0..3] = D[g][2t], D[g][2t+1], D[g+8][2t], D[g+8][2t+1]
__device__ __forceinline__ void mma_16x8x8(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  cuda_on_cpu::mma_16x8x8(d, a, b);
#endif
}

// Begin to copy Bytes (4, 8 or 16; both addresses aligned to it) from global to shared memory, with zeros from byte
// `valid` on. The target is undefined until copies_arrived, for other threads until a barrier after it.
template <int Bytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global, int valid = Bytes) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async copies 4, 8 or 16 bytes");
#if defined(__CUDACC__)
  const unsigned target = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  if (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(global), "r"(valid) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target), "l"(global), "n"(Bytes), "r"(valid)
                 : "memory");
  }
#else
  cuda_on_cpu::copy_async(shared, global, Bytes, valid);
#endif
}

// Close the group of copies begun since the last call.
__device__ __forceinline__ void copies_commit() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  cuda_on_cpu::copies_commit();
#endif
}

// Wait until all but the newest Pending groups of this thread have arrived.
template <int Pending>
__device__ __forceinline__ void copies_arrived() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#else
  cuda_on_cpu::copies_arrived(Pending);
#endif
}
