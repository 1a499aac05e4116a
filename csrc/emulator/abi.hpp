// The binary interface between compiled kernels and the runtime. Change kVersion with it.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct dim3 {
  unsigned x, y, z;
};

namespace cuda_on_cpu {

struct Thread;

// Called once per warp when all its lanes have arrived: reads the value of each lane and writes the result of each.
using Exchange = void (*)(void* const* brought, unsigned mask);

// Where a thread waits, for the report of a deadlock.
struct Place {
  const char* what;
  const char* file;
  int line;
};

struct Runtime {
  void (*barrier)(Thread*, Place);
  void (*warp)(Thread*, unsigned mask, Exchange, void* brought, Place);
  void (*copy)(Thread*, void* shared, const void* global, int bytes, int valid);
  void (*commit)(Thread*);
  void (*arrived)(Thread*, int pending);
  void (*access)(Thread*, const void*, size_t bytes, int kind);
};
enum { kRead, kWrite, kAtomic };

// The identity of a thread, at the top of the fiber's stack.
struct Thread {
  dim3 thread, block, block_size, grid_size;
  void* shared;
  const Runtime* runtime;
};

constexpr size_t kStack = 128 << 10, kThread = 256;

// A parameter as numpy sees it: kind 'f', 'i', 'u', 'b', or 'V' for anything; `lanes` is 4 for float4.
struct Param {
  char kind;
  unsigned char pointer, lanes;
  unsigned size;
};
struct Kernel {
  const char* name;
  void (*call)(void* const* arguments);
  const Param* params;
  int count;
};
struct Table {
  int version;
  int instrumented;  // every access is reported
  int alone;         // the file's only thread_local variables are its __shared__ ones
  const Kernel* kernels;
  int count;
};
constexpr int kVersion = 1;

}  // namespace cuda_on_cpu
