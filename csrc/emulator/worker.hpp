// Runs the blocks of a launch, one after the other, on one operating-system thread: a fiber for each CUDA thread.
//
// A fiber runs until it must wait; then another one, chosen by a seeded generator, runs. So the order of threads
// between two barriers is as arbitrary as on a GPU, and a result that depends on it shows. A fiber that never waits
// hands its stack on to the next thread: kernels without barriers cost no switches.
#pragma once

#include <dlfcn.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#if defined(__GLIBC__)
#include <link.h>
#endif
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "context.hpp"
#include "memory.hpp"

#if defined(__GLIBC__)
struct Index {
  size_t module, offset;
};
extern "C" void* __tls_get_addr(Index*);
#endif

namespace cuda_on_cpu {

constexpr size_t kDynamic = 227 << 10;  // what a block can have on compute capability 9
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

// A stack's owner. Lies at the top of its stack, where self() finds the Thread.
struct Fiber {
  Thread thread;
  Worker* worker;
  Context* context;
  unsigned rank;
  Place place;  // where it waits, and for whom
  unsigned mask;
  Exchange exchange;
  void* brought;
  unsigned group;  // the one that asynchronous copies are now added to
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

inline thread_local Worker* active = nullptr;  // for the handler of faults

// Runs blocks, one at a time, on one operating-system thread.
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

  // ---- Who runs ----

  static constexpr size_t kChunk = 32 * kStack;

  static void enter() {
    const uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    Fiber* me = reinterpret_cast<Fiber*>((here | (kStack - 1)) + 1 - kThread);
    me->worker->live_on(me);
  }

  Fiber* fresh() {
    if (idle.empty()) {
      // One stack more than needed, for mmap knows no alignment.
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
    // Hot ends of stacks at different offsets in their pages: else they all want the same few cache sets.
    const size_t colour = (reinterpret_cast<uintptr_t>(stack) / kStack * 5 % 48) * 64;
    f->context->start(stack + kPage, head - colour, &Worker::enter);
    f->thread = {{}, block, launch().block, launch().grid, shared, runtime()};
    return f;
  }

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

  // Warps in random order, and the lanes of each.
  void draw_order() {
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

  void go(Fiber* from, Fiber* to) {
    if (from == to) return;
    current = to;
    Context::swap(from ? *from->context : main, to ? *to->context : main);
  }

  // Whose turn it is; nobody (the main context) when all threads have left, or wait for each other.
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

  [[noreturn]] void fail(Fiber* me, const std::string& what) {
    error = where(me) + what;
    go(me, nullptr);
    __builtin_unreachable();
  }

  std::string where(const Fiber* me) const {
    return std::string("kernel ") + launch().kernel->name + ", block " + text(block) +
           (me ? ", thread " + text(me->thread.thread) + " " : std::string(": "));
  }

  // A fiber's life: one thread after the other, unless somebody else can go on.
  [[noreturn]] void live_on(Fiber* me) {
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

  // ---- Waiting for each other ----

  void barrier(Fiber* me, Place place) {
    me->place = place;
    arrived.push_back(me);
    if (arrived.size() < threads) return go(me, next());
    for (const Fiber* f : arrived) {
      if (!same(f->place, place)) {
        fail(me, "waits at " + text(place) + ", thread " + text(f->thread.thread) + " at " + text(f->place) +
                     ": threads of a block have diverged");
      }
    }
    ++stretch;
    by_rank.resize(threads);
    for (Fiber* f : arrived) by_rank[f->rank] = f;
    arrived.clear();
    draw_order();
    for (unsigned rank : order) ready.push_back(by_rank[rank]);
    go(me, next());
  }

  void warp(Fiber* me, unsigned mask, Exchange exchange, void* brought, Place place) {
    Warp& w = warps[me->rank / 32];
    const unsigned lane = me->rank % 32;
    mask &= w.lanes;
    if (!(mask >> lane & 1)) fail(me, "is not in the mask that it calls " + text(place) + " with");
    me->place = place, me->mask = mask, me->exchange = exchange, me->brought = brought;
    w.at[lane] = me;
    w.waiting |= 1u << lane;
    if ((w.waiting & mask) != mask) return go(me, next());
    void* all[32] = {};
    for (unsigned i = 0; i < 32; ++i) {
      if (!(mask >> i & 1)) continue;
      const Fiber* f = w.at[i];
      if (f->exchange != exchange || f->mask != mask || !same(f->place, place)) {
        fail(me, "waits at " + text(place) + " for lanes " + text(mask) + ", thread " + text(f->thread.thread) +
                     " at " + text(f->place) + " for lanes " + text(f->mask) + ": lanes of a warp have diverged");
      }
      all[i] = f->brought;
    }
    exchange(all, mask);
    w.waiting &= ~mask;
    if (!brought) ++w.meetings;  // __syncwarp: the others do not order memory
    const size_t begin = ready.size();
    for (unsigned i = 0; i < 32; ++i) {
      if (mask >> i & 1) ready.push_back(w.at[i]);
    }
    shuffle(ready, begin);
    go(me, next());
  }

  std::string deadlock() const {
    struct Group {
      std::string at;
      dim3 first;
      unsigned more;
    };
    std::vector<Group> groups;
    const auto add = [&](const std::string& at, dim3 thread) {
      for (Group& g : groups) {
        if (g.at == at) return static_cast<void>(++g.more);
      }
      groups.push_back({at, thread, 0});
    };
    for (const Fiber* f : arrived) add("at " + text(f->place), f->thread.thread);
    for (const Warp& w : warps) {
      for (unsigned i = 0; i < 32; ++i) {
        if (!(w.waiting >> i & 1)) continue;
        add("at " + text(w.at[i]->place) + " for lanes " + text(w.at[i]->mask), w.at[i]->thread.thread);
      }
    }
    unsigned gone = 0, first = 0;
    for (unsigned i = threads; i-- > 0;) {
      if (left[i]) ++gone, first = i;
    }
    std::string report = where(nullptr) + "deadlock: ";
    const auto say = [&](dim3 thread, unsigned more, const char* one, const char* many, const std::string& what) {
      report += "thread " + text(thread);
      report += more ? " and " + std::to_string(more) + " more " + many : std::string(" ") + one;
      report += " " + what;
    };
    for (size_t i = 0; i < groups.size() && i < 4; ++i) {
      if (i) report += ", ";
      say(groups[i].first, groups[i].more, "waits", "wait", groups[i].at);
    }
    if (gone) {
      report += ", ";
      say(place_of(first), gone - 1, "has", "have", "left the kernel");
    }
    return report;
  }

  // ---- Memory ----

  void copy(Fiber* me, char* to, const char* from, int bytes, int valid) {
    const uintptr_t both = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from);
    if (both & static_cast<unsigned>(bytes - 1)) {
      fail(me, "starts cp.async of " + std::to_string(bytes) + " bytes between addresses of another alignment");
    }
    if (valid < 0 || valid > bytes) {
      fail(me, "starts cp.async of " + std::to_string(valid) + " out of " + std::to_string(bytes) + " bytes");
    }
    if (watched()) {
      if (valid) access(me, from, static_cast<size_t>(valid), kRead);
      access(me, to, static_cast<size_t>(bytes), kWrite);
    }
    memset(to, kPoison, static_cast<size_t>(bytes));
    copies[me->rank].push_back({to, from, bytes, valid, me->group});
  }

  void arrive(Fiber* me, unsigned pending) {
    std::vector<Copy>& mine = copies[me->rank];
    auto c = mine.begin();
    for (; c != mine.end() && c->group + pending < me->group; ++c) {
      if (watched()) access(me, c->to, static_cast<size_t>(c->bytes), kWrite);
      memcpy(c->to, c->from, static_cast<size_t>(c->valid));
      memset(c->to + c->valid, 0, static_cast<size_t>(c->bytes - c->valid));
    }
    mine.erase(mine.begin(), c);
  }

  // Whether what `stamp` says may happen at the same time as what the thread `me` does now.
  bool concurrent(const Stamp& stamp, int64_t me, unsigned rank, bool global) const {
    if (stamp.thread < 0 || stamp.thread == me) return false;
    if (stamp.thread / kThreads != me / kThreads) return global;
    if (stamp.stretch != stretch) return false;
    const bool same_warp = stamp.thread % kThreads / 32 == rank / 32;
    return !same_warp || stamp.meeting == warps[rank / 32].meetings;
  }

  void touch(Fiber* me, Shadow& s, int kind, bool global, size_t offset, const char* name) {
    const int64_t id = static_cast<int64_t>(linear * kThreads + me->rank);
    const Stamp now{id, stretch, warps[me->rank / 32].meetings};
    const auto race = [&](const Stamp& with, const char* did) {
      const unsigned rank = static_cast<unsigned>(with.thread % kThreads);
      const uint64_t in = static_cast<uint64_t>(with.thread) / kThreads;
      fail(me, std::string(kind == kRead ? "reads" : "writes") + " byte " + std::to_string(offset) + " of " + name +
                   ", which thread " + text(place_of(rank)) +
                   (in == linear ? std::string() : " of block " + text(block_of(in))) + " " + did +
                   ": a race, nothing orders the two");
    };
    if (concurrent(s.write, id, me->rank, global)) race(s.write, "wrote");
    if (kind == kWrite) {
      if (concurrent(s.read, id, me->rank, global)) race(s.read, "read");
      if (concurrent(s.other_read, id, me->rank, global)) race(s.other_read, "read");
      s.write = now;
    } else if (concurrent(s.read, id, me->rank, global)) {
      s.other_read = now;
    } else {
      s.read = now;
    }
  }

  dim3 block_of(uint64_t index) const {
    const dim3 grid = launch().grid;
    return {static_cast<unsigned>(index % grid.x), static_cast<unsigned>(index / grid.x % grid.y),
            static_cast<unsigned>(index / grid.x / grid.y)};
  }

  void touch_all(Fiber* me, std::vector<Shadow>& shadow, size_t offset, size_t bytes, unsigned granule, int kind,
                 bool global, const char* name) {
    for (size_t i = offset / granule; i <= (offset + bytes - 1) / granule; ++i) {
      if (i >= shadow.size()) shadow.resize(i + 1);
      touch(me, shadow[i], kind, global, offset, name);
    }
  }

  static bool within(const char* at, size_t bytes, const char* begin, size_t size) {
    return at >= begin && at + bytes <= begin + size;
  }

  void access(Fiber* me, const char* at, size_t bytes, int kind) {
    if (!watched()) return;
    const char* stack = reinterpret_cast<char*>(me) + kThread - kStack;
    if (within(at, bytes, stack, kStack)) return;
    if (within(at, bytes, shared, launch().shared)) {
      if (bytes >= 4 && kind != kAtomic)
        touch_all(me, shared_shadow, at - shared, bytes, 4, kind, false, "dynamic shared memory");
      return;
    }
    if (within(at, bytes, statics, statics_bytes)) {
      if (bytes >= 4 && kind != kAtomic) {
        touch_all(me, static_shadow, at - statics, bytes, 4, kind, false, "static shared memory");
      }
      return;
    }
    for (Region& r : job->regions) {
      if (!within(at, bytes, r.copy.data, r.bytes)) continue;
      if (kind != kRead && !r.writable) fail(me, "writes to " + r.name + ", which is read-only");
      if (kind != kAtomic) touch_all(me, r.shadow, at - r.copy.data, bytes, r.element, kind, true, r.name.c_str());
      return;
    }
    Dl_info at_info, kernel_info;
    if (kind == kRead && dladdr(at, &at_info) && dladdr(reinterpret_cast<void*>(launch().kernel->call), &kernel_info) &&
        at_info.dli_fbase == kernel_info.dli_fbase) {
      return;  // a constant table
    }
    fail(me, (kind == kRead ? "reads " : "writes ") + std::to_string(bytes) + " bytes " + neighbour(at));
  }

  // Where an address that belongs to nothing lies, in words.
  std::string neighbour(const char* at) const {
    const auto off = [&](const char* begin, size_t bytes, const std::string& name) {
      return at < begin ? std::to_string(begin - at) + " bytes before the start of " + name
                        : std::to_string(at - begin - static_cast<long>(bytes)) + " bytes past the end of " + name;
    };
    for (const Region& r : job->regions) {
      if (r.copy.near(at)) return off(r.copy.data, r.bytes, r.name);
    }
    if (memory.near(at)) {
      return off(shared, launch().shared, "dynamic shared memory (" + std::to_string(launch().shared) + " bytes)");
    }
    const char* stack = reinterpret_cast<char*>(current) + kThread - kStack;
    if (current && within(at, 1, stack, kPage)) return "below its stack, which is full";
    char address[32];
    snprintf(address, sizeof address, "%p", static_cast<const void*>(at));
    return std::string("at ") + address + ", which belongs to no argument";
  }

  // ---- Blocks ----

  void run_block(uint64_t index) {
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

  // This thread's __shared__ variables: all of the thread_local storage of the file that the kernel is from.
  void find_statics() {
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

  void work() {
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
    _mm_setcsr(control | 0x8040);  // denormals are zero, as in kernels compiled with -ftz=true
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
    // After an error fibers have stopped in the middle: they are started anew when they are needed.
    idle = fibers;
    ready.clear();
    arrived.clear();
  }
};

}  // namespace cuda_on_cpu
