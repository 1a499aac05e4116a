// CUDA C++ on a CPU: the parts of the language that kernels of csrc/kernels use, for the host compiler.
//
// Include this, then kernels/all.cuh, then write CUDA_ON_CPU_TABLE(KERNELS). A kernel's threads are fibers; their
// barriers, shuffles and asynchronous copies call the table of functions that the runtime (runtime.cpp) puts into every
// Thread. This file holds no state and includes almost nothing, since it is compiled with every generated kernel.
#pragma once

#include <math.h>
#include <string.h>

#include "abi.hpp"

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) alignas(bytes)
#define __launch_bounds__(...)
// Blocks of a kernel run in parallel on several operating-system threads, one block at a time on each.
#define __shared__ thread_local

#if defined(__SANITIZE_THREAD__)
#define CUDA_ON_CPU_PLAIN __attribute__((no_sanitize("thread"), noinline))
#else
#define CUDA_ON_CPU_PLAIN inline
#endif

#define CUDA_ON_CPU_VECTOR(type, name)                             \
  struct alignas(2 * sizeof(type)) name##2 { type x, y; };         \
  struct alignas(4 * sizeof(type)) name##4 { type x, y, z, w; };   \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; } \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
CUDA_ON_CPU_VECTOR(float, float)
CUDA_ON_CPU_VECTOR(int, int)
CUDA_ON_CPU_VECTOR(unsigned, uint)

namespace cuda_on_cpu {

// Stacks are aligned to their size, so that the stack pointer gives the Thread. (Not volatile: constant in a fiber.)
__forceinline__ Thread* self() {
  uintptr_t here;
#if defined(__x86_64__)
  asm("movq %%rsp, %0" : "=r"(here));
#else
  here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
#endif
  return reinterpret_cast<Thread*>((here | (kStack - 1)) + 1 - kThread);
}

inline void* dynamic_shared() { return self()->shared; }

template <typename To, typename From>
__forceinline__ To bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits are copied one to one");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

inline unsigned tf32(float x) {
  const unsigned raw = bits<unsigned>(x);
  return (raw & 0x7f800000u) == 0x7f800000u ? raw : (raw + 0x1000u) & 0xffffe000u;
}

struct Fragments {
  float* d;
  const unsigned *a, *b;
};

CUDA_ON_CPU_PLAIN void multiply(void* const* brought, unsigned) {
  float a[16][8], b[8][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Fragments& of = *static_cast<const Fragments*>(brought[lane]);
    const int g = lane >> 2, t = lane & 3;
    for (int i = 0; i < 4; ++i) a[g + 8 * (i & 1)][t + 4 * (i >> 1)] = bits<float>(of.a[i] & 0xffffe000u);
    for (int i = 0; i < 2; ++i) b[t + 4 * i][g] = bits<float>(of.b[i] & 0xffffe000u);
    for (int i = 0; i < 4; ++i) d[g + 8 * (i >> 1)][2 * t + (i & 1)] = of.d[i];
  }
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < 8; ++k) {
      for (int j = 0; j < 8; ++j) d[i][j] += a[i][k] * b[k][j];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const Fragments& of = *static_cast<const Fragments*>(brought[lane]);
    const int g = lane >> 2, t = lane & 3;
    for (int i = 0; i < 4; ++i) of.d[i] = d[g + 8 * (i >> 1)][2 * t + (i & 1)];
  }
}

CUDA_ON_CPU_PLAIN void mma_16x8x8(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                  const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  Fragments mine{d, a, b};
  self()->runtime->warp(self(), ~0u, multiply, &mine, {"mma.sync", file, line});
}

CUDA_ON_CPU_PLAIN void copy_async(void* shared, const void* global, int bytes, int valid) {
  self()->runtime->copy(self(), shared, global, bytes, valid);
}
CUDA_ON_CPU_PLAIN void copies_commit() { self()->runtime->commit(self()); }
CUDA_ON_CPU_PLAIN void copies_arrived(int pending) { self()->runtime->arrived(self(), pending); }

// One lane's part in a shuffle or a vote: a value of at most eight bytes, and the lane `from` whose value it receives.
struct Shuffle {
  uint64_t value, result;
  int from;
};

CUDA_ON_CPU_PLAIN void shuffle(void* const* brought, unsigned mask) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    Shuffle& to = *static_cast<Shuffle*>(brought[lane]);
    const bool there = mask >> to.from & 1;  // the value of a lane outside the mask is undefined, as on the GPU
    to.result = there ? static_cast<Shuffle*>(brought[to.from])->value : ~0ull;
  }
}

CUDA_ON_CPU_PLAIN void vote(void* const* brought, unsigned mask) {
  uint64_t ballot = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1 && static_cast<Shuffle*>(brought[lane])->value) ballot |= 1u << lane;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) static_cast<Shuffle*>(brought[lane])->result = ballot;
  }
}

CUDA_ON_CPU_PLAIN void meet(void* const*, unsigned) {}

inline int lane() {
  const Thread* t = self();
  return (t->thread.x + t->block_size.x * (t->thread.y + t->block_size.y * t->thread.z)) & 31;
}

template <typename T>
CUDA_ON_CPU_PLAIN T exchange(unsigned mask, T value, int from, Place place) {
  static_assert(sizeof(T) <= 8, "shuffles move at most eight bytes");
  Shuffle mine{0, 0, from};
  memcpy(&mine.value, &value, sizeof value);
  self()->runtime->warp(self(), mask, shuffle, &mine, place);
  memcpy(&value, &mine.result, sizeof value);
  return value;
}

CUDA_ON_CPU_PLAIN unsigned ballot(unsigned mask, bool value, Place place) {
  Shuffle mine{value, 0, 0};
  self()->runtime->warp(self(), mask, vote, &mine, place);
  return static_cast<unsigned>(mine.result);
}

// Atomics on any type of four or eight bytes: `next` computes the new value from the old one.
template <typename T, typename Bits, typename Next>
CUDA_ON_CPU_PLAIN T atomically(T* address, Next next) {
  self()->runtime->access(self(), address, sizeof(T), kAtomic);
  Bits* raw = reinterpret_cast<Bits*>(address);
  Bits old = __atomic_load_n(raw, __ATOMIC_SEQ_CST);
  while (!__atomic_compare_exchange_n(raw, &old, bits<Bits>(next(bits<T>(old))), false, __ATOMIC_SEQ_CST,
                                      __ATOMIC_SEQ_CST)) {
  }
  return bits<T>(old);
}

// ---- The table of kernels that the runtime reads ----

template <typename T>
struct Element {
  static constexpr Param param{'V', 0, 1, sizeof(T)};
};
template <>
struct Element<void> {
  static constexpr Param param{'V', 0, 1, 1};
};
#define CUDA_ON_CPU_ELEMENT(type, kind, lanes)                          \
  template <>                                                           \
  struct Element<type> {                                                \
    static constexpr Param param{kind, 0, lanes, sizeof(type) / lanes}; \
  };
CUDA_ON_CPU_ELEMENT(bool, 'b', 1)
CUDA_ON_CPU_ELEMENT(char, 'i', 1)
CUDA_ON_CPU_ELEMENT(signed char, 'i', 1)
CUDA_ON_CPU_ELEMENT(short, 'i', 1)
CUDA_ON_CPU_ELEMENT(int, 'i', 1)
CUDA_ON_CPU_ELEMENT(long, 'i', 1)
CUDA_ON_CPU_ELEMENT(long long, 'i', 1)
CUDA_ON_CPU_ELEMENT(unsigned char, 'u', 1)
CUDA_ON_CPU_ELEMENT(unsigned short, 'u', 1)
CUDA_ON_CPU_ELEMENT(unsigned, 'u', 1)
CUDA_ON_CPU_ELEMENT(unsigned long, 'u', 1)
CUDA_ON_CPU_ELEMENT(unsigned long long, 'u', 1)
CUDA_ON_CPU_ELEMENT(float, 'f', 1)
CUDA_ON_CPU_ELEMENT(double, 'f', 1)
CUDA_ON_CPU_ELEMENT(float2, 'f', 2)
CUDA_ON_CPU_ELEMENT(float4, 'f', 4)
CUDA_ON_CPU_ELEMENT(int2, 'i', 2)
CUDA_ON_CPU_ELEMENT(int4, 'i', 4)
CUDA_ON_CPU_ELEMENT(uint2, 'u', 2)
CUDA_ON_CPU_ELEMENT(uint4, 'u', 4)

template <typename T>
struct Bare {
  using type = T;
  static constexpr int pointer = 0;
};
template <typename T>
struct Bare<T*> {
  using type = T;
  static constexpr int pointer = 1;
};
template <typename T>
struct Bare<T* __restrict__> : Bare<T*> {};
template <typename T>
struct Mutable {
  using type = T;
};
template <typename T>
struct Mutable<const T> {
  using type = T;
};

template <typename T>
constexpr Param param() {
  Param p = Element<typename Mutable<typename Bare<T>::type>::type>::param;
  p.pointer = Bare<T>::pointer;
  return p;
}

template <int...>
struct Indices {};
template <int n, int... rest>
struct Count : Count<n - 1, n - 1, rest...> {};
template <int... all>
struct Count<0, all...> {
  using type = Indices<all...>;
};

template <typename... Args>
struct Signature {
  static constexpr Param params[sizeof...(Args) + 1] = {param<Args>()..., Param{}};
  template <void (*kernel)(Args...), int... i>
  CUDA_ON_CPU_PLAIN static void unpack(void* const* arguments, Indices<i...>) {
    (void)arguments;
    kernel(*static_cast<Args*>(arguments[i])...);
  }
  template <void (*kernel)(Args...)>
  CUDA_ON_CPU_PLAIN static void call(void* const* arguments) {
    unpack<kernel>(arguments, typename Count<sizeof...(Args)>::type{});
  }
};
template <typename... Args>
Signature<Args...> signature(void (*)(Args...));

}  // namespace cuda_on_cpu

#if defined(__SANITIZE_THREAD__)
#define CUDA_ON_CPU_INSTRUMENTED 1
#else
#define CUDA_ON_CPU_INSTRUMENTED 0
#endif
#if !defined(CUDA_ON_CPU_ALONE)
#define CUDA_ON_CPU_ALONE 0
#endif
#define CUDA_ON_CPU_ROW(kernel)                                                               \
  cuda_on_cpu::Kernel{#kernel, &decltype(cuda_on_cpu::signature(&::kernel))::call<&::kernel>, \
                      decltype(cuda_on_cpu::signature(&::kernel))::params,                    \
                      sizeof(decltype(cuda_on_cpu::signature(&::kernel))::params) / sizeof(cuda_on_cpu::Param) - 1},
// Define `symbol` as the table of the listed kernels. (The last row is no kernel, so that the list may be empty.)
#define CUDA_ON_CPU_TABLE(list, symbol)                                                                              \
  static const cuda_on_cpu::Kernel symbol##_rows[] = {list(CUDA_ON_CPU_ROW) cuda_on_cpu::Kernel{}};                  \
  extern "C" __attribute__((visibility("default"))) const cuda_on_cpu::Table symbol;                                 \
  const cuda_on_cpu::Table symbol{cuda_on_cpu::kVersion, CUDA_ON_CPU_INSTRUMENTED, CUDA_ON_CPU_ALONE, symbol##_rows, \
                                  sizeof symbol##_rows / sizeof symbol##_rows[0] - 1};

// ---- The language ----

#define threadIdx (cuda_on_cpu::self()->thread)
#define blockIdx (cuda_on_cpu::self()->block)
#define blockDim (cuda_on_cpu::self()->block_size)
#define gridDim (cuda_on_cpu::self()->grid_size)
constexpr int warpSize = 32;

#define CUDA_ON_CPU_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

CUDA_ON_CPU_PLAIN void __syncthreads(CUDA_ON_CPU_HERE) {
  cuda_on_cpu::self()->runtime->barrier(cuda_on_cpu::self(), {"__syncthreads", file, line});
}
CUDA_ON_CPU_PLAIN void __syncwarp(unsigned mask = ~0u, CUDA_ON_CPU_HERE) {
  cuda_on_cpu::self()->runtime->warp(cuda_on_cpu::self(), mask, cuda_on_cpu::meet, nullptr, {"__syncwarp", file, line});
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Lanes beyond the segment of `width` keep their own value, except that shfl itself wraps around.
template <typename T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, CUDA_ON_CPU_HERE) {
  const int lane = cuda_on_cpu::lane(), base = lane & -width;
  return cuda_on_cpu::exchange(mask, value, base + (from & (width - 1)), {"__shfl_sync", file, line});
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32, CUDA_ON_CPU_HERE) {
  const int lane = cuda_on_cpu::lane(), from = lane ^ other;
  return cuda_on_cpu::exchange(mask, value, from < (lane & -width) + width ? from : lane,
                               {"__shfl_xor_sync", file, line});
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, CUDA_ON_CPU_HERE) {
  const int lane = cuda_on_cpu::lane(), at = lane & (width - 1);
  const int from = at + static_cast<int>(by) < width ? lane + static_cast<int>(by) : lane;
  return cuda_on_cpu::exchange(mask, value, from, {"__shfl_down_sync", file, line});
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, CUDA_ON_CPU_HERE) {
  const int lane = cuda_on_cpu::lane(), at = lane & (width - 1);
  const int from = at - static_cast<int>(by) >= 0 ? lane - static_cast<int>(by) : lane;
  return cuda_on_cpu::exchange(mask, value, from, {"__shfl_up_sync", file, line});
}
inline unsigned __ballot_sync(unsigned mask, bool value, CUDA_ON_CPU_HERE) {
  return cuda_on_cpu::ballot(mask, value, {"__ballot_sync", file, line});
}
inline int __any_sync(unsigned mask, bool value, CUDA_ON_CPU_HERE) {
  return cuda_on_cpu::ballot(mask, value, {"__any_sync", file, line}) != 0;
}
inline int __all_sync(unsigned mask, bool value, CUDA_ON_CPU_HERE) {
  return cuda_on_cpu::ballot(mask, !value, {"__all_sync", file, line}) == 0;
}

template <typename T>
T __ldg(const T* address) {
  return *address;
}

#define CUDA_ON_CPU_ATOMIC(type, raw)                                                                     \
  inline type atomicAdd(type* at, type by) {                                                              \
    return cuda_on_cpu::atomically<type, raw>(at, [=](type old) { return static_cast<type>(old + by); }); \
  }                                                                                                       \
  inline type atomicMax(type* at, type by) {                                                              \
    return cuda_on_cpu::atomically<type, raw>(at, [=](type old) { return old < by ? by : old; });         \
  }                                                                                                       \
  inline type atomicMin(type* at, type by) {                                                              \
    return cuda_on_cpu::atomically<type, raw>(at, [=](type old) { return by < old ? by : old; });         \
  }                                                                                                       \
  inline type atomicExch(type* at, type by) {                                                             \
    return cuda_on_cpu::atomically<type, raw>(at, [=](type) { return by; });                              \
  }                                                                                                       \
  inline type atomicCAS(type* at, type expected, type by) {                                               \
    return cuda_on_cpu::atomically<type, raw>(at, [=](type old) { return old == expected ? by : old; });  \
  }
CUDA_ON_CPU_ATOMIC(int, uint32_t)
CUDA_ON_CPU_ATOMIC(unsigned, uint32_t)
CUDA_ON_CPU_ATOMIC(unsigned long long, uint64_t)
CUDA_ON_CPU_ATOMIC(float, uint32_t)
CUDA_ON_CPU_ATOMIC(double, uint64_t)

#define CUDA_ON_CPU_ORDER(type)                             \
  inline type min(type a, type b) { return b < a ? b : a; } \
  inline type max(type a, type b) { return a < b ? b : a; }
CUDA_ON_CPU_ORDER(int)
CUDA_ON_CPU_ORDER(unsigned)
CUDA_ON_CPU_ORDER(long)
CUDA_ON_CPU_ORDER(unsigned long)
CUDA_ON_CPU_ORDER(long long)
CUDA_ON_CPU_ORDER(unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline int __float_as_int(float x) { return cuda_on_cpu::bits<int>(x); }
inline unsigned __float_as_uint(float x) { return cuda_on_cpu::bits<unsigned>(x); }
inline float __int_as_float(int x) { return cuda_on_cpu::bits<float>(x); }
inline float __uint_as_float(unsigned x) { return cuda_on_cpu::bits<float>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __mul24(int a, int b) { return a * b; }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t(a) * b) >> 32); }

inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frsqrt_rn(float a) { return 1.0f / sqrtf(a); }
inline float __expf(float a) { return expf(a); }
inline float __logf(float a) { return logf(a); }
inline float __saturatef(float a) { return fminf(fmaxf(a, 0.0f), 1.0f); }
#define rsqrtf __frsqrt_rn  // a macro, because newer C libraries have a function of that name

// ---- Calls that the compiler inserts in instrumented builds ----

#if defined(__SANITIZE_THREAD__)
// -fsanitize=thread calls these before every load and store; the emulator takes the place of the sanitizer.
#define CUDA_ON_CPU_HOOK extern "C" __attribute__((visibility("hidden"), no_sanitize("thread"))) void
#define CUDA_ON_CPU_ACCESS(name, bytes, kind) \
  CUDA_ON_CPU_HOOK name(void* at) { cuda_on_cpu::self()->runtime->access(cuda_on_cpu::self(), at, bytes, kind); }
#define CUDA_ON_CPU_ACCESSES(bytes)                                             \
  CUDA_ON_CPU_ACCESS(__tsan_read##bytes, bytes, cuda_on_cpu::kRead)             \
  CUDA_ON_CPU_ACCESS(__tsan_write##bytes, bytes, cuda_on_cpu::kWrite)           \
  CUDA_ON_CPU_ACCESS(__tsan_unaligned_read##bytes, bytes, cuda_on_cpu::kRead)   \
  CUDA_ON_CPU_ACCESS(__tsan_unaligned_write##bytes, bytes, cuda_on_cpu::kWrite) \
  CUDA_ON_CPU_ACCESS(__tsan_volatile_read##bytes, bytes, cuda_on_cpu::kRead)    \
  CUDA_ON_CPU_ACCESS(__tsan_volatile_write##bytes, bytes, cuda_on_cpu::kWrite)
CUDA_ON_CPU_ACCESSES(1)
CUDA_ON_CPU_ACCESSES(2)
CUDA_ON_CPU_ACCESSES(4)
CUDA_ON_CPU_ACCESSES(8)
CUDA_ON_CPU_ACCESSES(16)
CUDA_ON_CPU_HOOK __tsan_read_range(void* at, size_t bytes) {
  cuda_on_cpu::self()->runtime->access(cuda_on_cpu::self(), at, bytes, cuda_on_cpu::kRead);
}
CUDA_ON_CPU_HOOK __tsan_write_range(void* at, size_t bytes) {
  cuda_on_cpu::self()->runtime->access(cuda_on_cpu::self(), at, bytes, cuda_on_cpu::kWrite);
}
CUDA_ON_CPU_HOOK __tsan_init() {}
CUDA_ON_CPU_HOOK __tsan_func_entry(void*) {}
CUDA_ON_CPU_HOOK __tsan_func_exit() {}
#endif
