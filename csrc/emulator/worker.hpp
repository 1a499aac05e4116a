// Run the blocks of a launch in sequence on one operating-system thread, with a fiber for each CUDA thread.
//
// A fiber runs until it must wait; then another one, chosen by a seeded generator, runs. The order of threads between
// two barriers is therefore as arbitrary as on a GPU, and results that depend on it become visible. A fiber that never
// waits passes its stack to the next thread, so that kernels without barriers cost no switches.
//
// worker.cpp has fibers and blocks, waiting.cpp barriers and exchanges, checks.cpp memory.
#pragma once

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>

#include "context.hpp"
#include "memory.hpp"

namespace cuda_on_cpu {

constexpr size_t kDynamic = 227 << 10;  // the limit of a block on compute capability 9
constexpr unsigned kThreads = 1024;

inline std::string text(dim3 at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
}
inline std::string text(unsigned mask) {
  char hex[16];
  snprintf(hex, sizeof hex, "0x%08x", mask);
  return hex;
}
inline std::string text(const Place& place) {
  const char* slash = strrchr(place.file, '/');
  return std::string(place.what) + " (" + (slash ? slash + 1 : place.file) + ":" + std::to_string(place.line) + ")";
}
inline bool same(const Place& a, const Place& b) {
  return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0);
}

struct Copy {
  char* to;
  const char* from;
  int bytes, valid;
  unsigned group;
};

struct Worker;

// The owner of a stack, at its top, where self() finds the Thread.
struct Fiber {
  Thread thread;
  Worker* worker;
  Context* context;
  unsigned rank;
  Place place;  // where it waits, and for which lanes
  unsigned mask;
  Exchange exchange;
  void* brought;
  unsigned group;  // the open group of asynchronous copies
};
static_assert(sizeof(Fiber) <= kThread, "a fiber's head must fit above its stack");

struct Warp {
  Fiber* at[32];
  unsigned waiting, lanes, meetings;
};

struct Job {
  explicit Job(const Launch& l) : launch(l), arguments(l.arguments) {}
  const Launch& launch;
  std::vector<void*> arguments;
  std::vector<Region> regions;
  uint64_t blocks = 0, first = 0;
  bool backward = false;
  std::atomic<uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::string error;
};

inline uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

inline thread_local Worker* active = nullptr;  // for the fault handler

// Run blocks, one at a time, on one operating-system thread.
struct Worker {
  Job* job = nullptr;
  Context main;
  Fiber* current = nullptr;
  std::vector<Fiber*> fibers, idle, ready, arrived, by_rank;
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<char*> stacks;
  std::vector<Warp> warps;
  std::vector<unsigned> order, warp_order;
  std::vector<std::vector<Copy>> copies;  // by rank
  std::vector<bool> left;
  unsigned threads = 0, started = 0, live = 0, stretch = 0;
  uint64_t linear = 0, random = 1;
  dim3 block{};
  std::string error;

  Guarded memory{kDynamic};
  char* shared = nullptr;  // the dynamic part, at the end of `memory`
  char* statics = nullptr;
  size_t statics_bytes = 0;
  std::vector<Shadow> shared_shadow, static_shadow;

  ~Worker() {
    for (char* stack : stacks) munmap(stack, kChunk);
  }

  const Launch& launch() const { return job->launch; }

  bool watched() const { return launch().check && launch().table->instrumented; }

  unsigned below(size_t limit) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    return static_cast<unsigned>(((random >> 32) * limit) >> 32);
  }
  template <typename T>
  void shuffle(std::vector<T>& items, size_t begin) {
    for (size_t left_over = items.size() - begin; left_over > 1; --left_over) {
      std::swap(items[begin + left_over - 1], items[begin + below(left_over)]);
    }
  }

  // ---- Scheduling ----

  static constexpr size_t kChunk = 32 * kStack;

  static void enter();
  Fiber* fresh();

  dim3 place_of(unsigned rank) const {
    const dim3 size = launch().block;
    if (rank < size.x) return {rank, 0, 0};
    return {rank % size.x, rank / size.x % size.y, rank / size.x / size.y};
  }

  void assign(Fiber* f, unsigned rank) {
    f->rank = rank;
    f->group = 0;
    f->thread.thread = place_of(rank);
  }
  static const Runtime* runtime();

  // Shuffle the order of warps, and of the lanes in each.
  void draw_order();

  void go(Fiber* from, Fiber* to) {
    if (from == to) return;
    current = to;
    Context::swap(from ? *from->context : main, to ? *to->context : main);
  }

  // Return the fiber to run next, or null (the main context) if all threads have ended or wait for each other.
  Fiber* next() {
    if (!ready.empty()) {
      Fiber* f = ready.back();
      ready.pop_back();
      return f;
    }
    if (started == threads) return nullptr;
    Fiber* f = fresh();
    assign(f, order[started++]);
    return f;
  }

  [[noreturn]] void fail(Fiber* me, const std::string& what);
  std::string where(const Fiber* me) const;

  // Main loop of a fiber: run one thread after the other, and switch when another fiber can continue.
  [[noreturn]] void live_on(Fiber* me);

  // ---- Synchronisation ----

  void barrier(Fiber* me, Place place);
  void warp(Fiber* me, unsigned mask, Exchange exchange, void* brought, Place place);
  std::string deadlock() const;

  // ---- Memory ----

  void copy(Fiber* me, char* to, const char* from, int bytes, int valid);
  void arrive(Fiber* me, unsigned pending);

  // Return whether the access of `stamp` may happen at the same time as one that the thread `me` makes now.
  bool concurrent(const Stamp& stamp, int64_t me, unsigned rank, bool global) const;
  void touch(Fiber* me, Shadow& s, int kind, bool global, size_t offset, const char* name);

  void touch_all(Fiber* me, std::vector<Shadow>& shadow, size_t offset, size_t bytes, unsigned granule, int kind,
                 bool global, const char* name);

  static bool within(const char* at, size_t bytes, const char* begin, size_t size) {
    return at >= begin && at + bytes <= begin + size;
  }

  void access(Fiber* me, const char* at, size_t bytes, int kind);

  // Describe an address that belongs to no array.
  std::string neighbour(const char* at) const;

  // ---- Blocks ----

  dim3 block_of(uint64_t index) const;
  void run_block(uint64_t index);

  // Locate __shared__ variables of this operating-system thread: the thread_local storage of the kernel's file.
  void find_statics();
  void work();
};

}  // namespace cuda_on_cpu
