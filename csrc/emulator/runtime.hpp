// Run one launch of a kernel on the CPU, with fibers, barriers and checks for errors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "abi.hpp"

namespace cuda_on_cpu {

// The memory that a pointer parameter points to, and its name in errors.
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
  // Arrays are copied between guard pages; instrumented kernels check bounds and races of every access.
  bool check;
};

// Run the launch and return "", or an error that names kernel, block and thread. One launch runs at a time.
std::string run(Launch& launch);

// Set the number of operating-system threads that share the blocks of a launch (0 keeps it), and return it.
unsigned workers(unsigned count);

}  // namespace cuda_on_cpu
