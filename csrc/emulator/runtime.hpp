// Runs one launch of a kernel on the CPU: fibers, barriers, and the search for what goes wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "abi.hpp"

namespace cuda_on_cpu {

// The memory that a pointer parameter points to, and how errors speak of it.
struct Array {
  int param;
  char* data;
  size_t bytes;
  unsigned element;
  bool writable;
  std::string name;
};

struct Launch {
  const Kernel* kernel;
  const Table* table;
  std::vector<void*> arguments;  // one pointer to each parameter's value
  std::vector<Array> arrays;
  dim3 grid, block;
  size_t shared;
  uint64_t seed;
  // Arrays move between guard pages; instrumented kernels have every access checked for bounds and races.
  bool check;
};

// Runs the launch. Returns the error, which names kernel, block and thread, or "". One launch runs at a time.
std::string run(Launch& launch);

// Sets how many operating-system threads share the blocks of a launch (0 keeps it); returns how many do.
unsigned workers(unsigned count);

}  // namespace cuda_on_cpu
