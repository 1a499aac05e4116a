// Fibers and blocks: the scheduling of fibers, and the blocks of a launch in sequence.
#include "worker.hpp"

#include <signal.h>

#include <algorithm>
#if defined(__GLIBC__)
#include <link.h>
#endif
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#if defined(__GLIBC__)
struct Index {
  size_t module, offset;
};
extern "C" void* __tls_get_addr(Index*);
#endif

namespace cuda_on_cpu {

void Worker::enter() {
  const uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  Fiber* me = reinterpret_cast<Fiber*>((here | (kStack - 1)) + 1 - kThread);
  me->worker->live_on(me);
}

Fiber* Worker::fresh() {
  if (idle.empty()) {
    // One stack more than needed, because mmap does not align to stacks.
    char* raw = static_cast<char*>(
        mmap(nullptr, kChunk + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (raw == MAP_FAILED) throw std::bad_alloc();
    char* chunk = reinterpret_cast<char*>(up(reinterpret_cast<uintptr_t>(raw), kStack));
    if (chunk > raw) munmap(raw, static_cast<size_t>(chunk - raw));
    if (raw + kStack > chunk) munmap(chunk + kChunk, static_cast<size_t>(raw + kStack - chunk));
    stacks.push_back(chunk);
    for (size_t i = 32; i-- > 0;) {
      char* stack = chunk + i * kStack;
      mprotect(stack, kPage, PROT_NONE);
      contexts.push_back(std::make_unique<Context>());
      Fiber* f = new (stack + kStack - kThread) Fiber{};
      f->worker = this;
      f->context = contexts.back().get();
      fibers.push_back(f);
      idle.push_back(f);
    }
  }
  Fiber* f = idle.back();
  idle.pop_back();
  char* head = reinterpret_cast<char*>(f);
  char* stack = head + kThread - kStack;
  // Offset the hot ends of stacks, which otherwise compete for the same few cache sets.
  const size_t colour = (reinterpret_cast<uintptr_t>(stack) / kStack * 5 % 48) * 64;
  f->context->start(stack + kPage, head - colour, &Worker::enter);
  f->thread = {{}, block, launch().block, launch().grid, shared, runtime()};
  return f;
}

// Shuffle the order of warps, and of the lanes in each.
void Worker::draw_order() {
  warp_order.clear();
  for (unsigned w = 0; w * 32 < threads; ++w) warp_order.push_back(w);
  shuffle(warp_order, 0);
  order.clear();
  for (unsigned w : warp_order) {
    const size_t begin = order.size();
    for (unsigned rank = w * 32; rank < threads && rank < w * 32 + 32; ++rank) order.push_back(rank);
    shuffle(order, begin);
  }
}

void Worker::fail(Fiber* me, const std::string& what) {
  error = where(me) + what;
  go(me, nullptr);
  __builtin_unreachable();
}

std::string Worker::where(const Fiber* me) const {
  return std::string("kernel ") + launch().kernel->name + ", block " + text(block) +
         (me ? ", thread " + text(me->thread.thread) + " " : std::string(": "));
}

// Main loop of a fiber: run one thread after the other, and switch when another fiber can continue.
void Worker::live_on(Fiber* me) {
  for (;;) {
    launch().kernel->call(job->arguments.data());
    --live;
    left[me->rank] = true;
    if (ready.empty() && started < threads) {
      assign(me, order[started++]);
    } else {
      idle.push_back(me);
      go(me, next());
    }
  }
}

dim3 Worker::block_of(uint64_t index) const {
  const dim3 grid = launch().grid;
  return {static_cast<unsigned>(index % grid.x), static_cast<unsigned>(index / grid.x % grid.y),
          static_cast<unsigned>(index / grid.x / grid.y)};
}

void Worker::run_block(uint64_t index) {
  linear = index;
  block = block_of(index);
  random = mix(mix(launch().seed) ^ index) | 1;
  started = 0;
  live = threads;
  ++stretch;
  left.assign(threads, false);
  for (size_t w = 0; w < warps.size(); ++w) {
    const unsigned lanes = std::min(32u, threads - static_cast<unsigned>(w) * 32);
    warps[w].waiting = 0;
    warps[w].lanes = lanes == 32 ? ~0u : (1u << lanes) - 1;
  }
  for (std::vector<Copy>& c : copies) c.clear();
  memset(shared, kPoison, launch().shared);
  memset(statics, kPoison, statics_bytes);
  draw_order();
  go(nullptr, next());
  if (error.empty() && live > 0) error = deadlock();
}

// Locate __shared__ variables of this operating-system thread: the thread_local storage of the kernel's file.
void Worker::find_statics() {
  statics = nullptr;
  statics_bytes = 0;
#if defined(__GLIBC__)
  if (!launch().table->alone) return;
  const auto look = [](dl_phdr_info* info, size_t, void* data) {
    Worker* me = static_cast<Worker*>(data);
    const uintptr_t kernel = reinterpret_cast<uintptr_t>(me->launch().kernel->call);
    bool here = false;
    size_t bytes = 0;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      const auto& part = info->dlpi_phdr[i];
      const uintptr_t begin = info->dlpi_addr + part.p_vaddr;
      if (part.p_type == PT_LOAD && kernel >= begin && kernel < begin + part.p_memsz) here = true;
      if (part.p_type == PT_TLS) bytes = part.p_memsz;
    }
    if (!here) return 0;
    if (bytes) {
      Index index{info->dlpi_tls_modid, 0};
      me->statics = static_cast<char*>(__tls_get_addr(&index));
      me->statics_bytes = bytes;
    }
    return 1;
  };
  dl_iterate_phdr(look, this);
#endif
}

void Worker::work() {
  const Launch& l = launch();
  threads = l.block.x * l.block.y * l.block.z;
  warps.assign((threads + 31) / 32, Warp{});
  copies.resize(std::max<size_t>(copies.size(), threads));
  shared = memory.data + up(kDynamic, 16) - up(l.shared, 16);
  find_statics();
  shared_shadow.clear();
  static_shadow.clear();
  error.clear();
  current = nullptr;

  std::vector<char> signals(64 << 10);
  stack_t mine{}, before{};
  mine.ss_sp = signals.data();
  mine.ss_size = signals.size();
  sigaltstack(&mine, &before);
  active = this;
#if defined(__SSE2__)
  const unsigned control = _mm_getcsr();
  _mm_setcsr(control | 0x8040);  // flush denormals to zero, as -ftz=true does
#endif
  for (uint64_t i; !job->failed && (i = job->next++) < job->blocks;) {
    run_block((job->first + (job->backward ? job->blocks - 1 - i : i)) % job->blocks);
    if (error.empty()) continue;
    job->failed = true;
    std::lock_guard<std::mutex> lock(job->mutex);
    if (job->error.empty()) job->error = error;
  }
#if defined(__SSE2__)
  _mm_setcsr(control);
#endif
  active = nullptr;
  sigaltstack(&before, nullptr);
  // After an error fibers have stopped midway: start them again when they are needed.
  idle = fibers;
  ready.clear();
  arrived.clear();
}

}  // namespace cuda_on_cpu
