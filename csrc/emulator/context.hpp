// The saved state of a fiber and the switch to it: assembly on x86-64, ucontext elsewhere (six times slower).
#pragma once

#include <cstddef>

#if !defined(__x86_64__) && !defined(CUDA_ON_CPU_UCONTEXT)
#define CUDA_ON_CPU_UCONTEXT
#endif

#if !defined(CUDA_ON_CPU_UCONTEXT)

// Push the callee-saved registers, store the stack pointer in *from, and continue with the stack `to`.
extern "C" void cuda_on_cpu_switch(void** from, void* to);

namespace cuda_on_cpu {

struct Context {
  void* stack = nullptr;
  void start(char*, char* top, void (*entry)()) {
    void** slot = reinterpret_cast<void**>(top);
    *--slot = nullptr;  // the return address of `entry`, which never returns
    *--slot = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--slot = nullptr;
    stack = slot;
  }
  static void swap(Context& from, Context& to) { cuda_on_cpu_switch(&from.stack, to.stack); }
};

}  // namespace cuda_on_cpu

#else

#include <ucontext.h>

namespace cuda_on_cpu {

struct Context {
  ucontext_t state;
  void start(char* bottom, char* top, void (*entry)()) {
    getcontext(&state);
    state.uc_stack.ss_sp = bottom;
    state.uc_stack.ss_size = static_cast<size_t>(top - bottom);
    state.uc_link = nullptr;
    makecontext(&state, entry, 0);
  }
  static void swap(Context& from, Context& to) { swapcontext(&from.state, &to.state); }
};

}  // namespace cuda_on_cpu

#endif
