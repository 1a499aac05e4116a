// One launch: the functions that threads call, faults, and the distribution of blocks over operating-system threads.
#include "runtime.hpp"

#include <sched.h>
#include <signal.h>

#include <thread>

#include "worker.hpp"

namespace cuda_on_cpu {
namespace {

Fiber* fiber(Thread* t) { return reinterpret_cast<Fiber*>(t); }

const Runtime kRuntime{
    [](Thread* t, Place place) { fiber(t)->worker->barrier(fiber(t), place); },
    [](Thread* t, unsigned mask, Exchange exchange, void* brought, Place place) {
      fiber(t)->worker->warp(fiber(t), mask, exchange, brought, place);
    },
    [](Thread* t, void* to, const void* from, int bytes, int valid) {
      fiber(t)->worker->copy(fiber(t), static_cast<char*>(to), static_cast<const char*>(from), bytes, valid);
    },
    [](Thread* t) { ++fiber(t)->group; },
    [](Thread* t, int pending) { fiber(t)->worker->arrive(fiber(t), static_cast<unsigned>(pending)); },
    [](Thread* t, const void* at, size_t bytes, int kind) {
      fiber(t)->worker->access(fiber(t), static_cast<const char*>(at), bytes, kind);
    },
};

}  // namespace

const Runtime* Worker::runtime() { return &kRuntime; }

namespace {

// ---- Faults ----

const int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE};
struct sigaction previous[3];

void on_fault(int signal, siginfo_t* info, void*) {
  Worker* w = active;
  if (w && w->current) {
    const char* at = static_cast<const char*>(info->si_addr);
    w->fail(w->current, signal == SIGFPE ? "divides an integer by zero" : "touches memory " + w->neighbour(at));
  }
  for (int i = 0; i < 3; ++i) {  // not the emulator's: the default handlers see it again
    if (kSignals[i] == signal) sigaction(signal, &previous[i], nullptr);
  }
}

class Faults {
 public:
  Faults() {
    struct sigaction ours{};
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&ours.sa_mask);
    for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &ours, &previous[i]);
  }
  ~Faults() {
    for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &previous[i], nullptr);
  }
};

// ---- A launch ----

std::mutex one_at_a_time;
unsigned worker_count = 0;
std::vector<std::unique_ptr<Worker>> pool;

std::string checked(const Launch& l) {
  const std::string name = std::string("kernel ") + l.kernel->name + ": ";
  const uint64_t threads = uint64_t(l.block.x) * l.block.y * l.block.z;
  if (threads == 0 || threads > kThreads || l.block.z > 64) return name + "a block of " + text(l.block) + " threads";
  if (l.grid.x == 0 || l.grid.y == 0 || l.grid.z == 0 || l.grid.x > 0x7fffffff || l.grid.y > 65535 ||
      l.grid.z > 65535) {
    return name + "a grid of " + text(l.grid) + " blocks";
  }
  if (l.shared > kDynamic)
    return name + std::to_string(l.shared) + " bytes of shared memory, a block can have " + std::to_string(kDynamic);
  return "";
}

}  // namespace

unsigned workers(unsigned count) {
  std::lock_guard<std::mutex> lock(one_at_a_time);
  if (count) worker_count = count;
  if (!worker_count) {
    worker_count = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) worker_count = static_cast<unsigned>(CPU_COUNT(&allowed));
#endif
  }
  return worker_count;
}

std::string run(Launch& launch) {
  std::string error = checked(launch);
  if (!error.empty()) return error;
  unsigned count = workers(0);
  std::lock_guard<std::mutex> lock(one_at_a_time);

  Job job(launch);
  std::vector<char*> moved(launch.arguments.size(), nullptr);
  if (launch.check) {
    job.regions = guard(launch, moved);
    for (const Array& a : launch.arrays)
      job.arguments[static_cast<size_t>(a.param)] = &moved[static_cast<size_t>(a.param)];
  }
  job.blocks = uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z;
  job.first = mix(launch.seed) % job.blocks;
  job.backward = mix(launch.seed + 1) & 1;
  const uint64_t threads = uint64_t(launch.block.x) * launch.block.y * launch.block.z;
  if (launch.check || job.blocks * threads < 1024) count = 1;
  count = static_cast<unsigned>(std::min<uint64_t>(count, job.blocks));
  while (pool.size() < count) pool.push_back(std::make_unique<Worker>());
  {
    Faults faults;
    std::vector<std::thread> helpers;
    for (unsigned i = 0; i < count; ++i) pool[i]->job = &job;
    for (unsigned i = 1; i < count; ++i) helpers.emplace_back(&Worker::work, pool[i].get());
    pool[0]->work();
    for (std::thread& t : helpers) t.join();
  }
  for (const Region& r : job.regions) {
    const long damage = r.copy.damage();
    const bool changed = !r.writable && memcmp(r.original, r.copy.data, r.bytes) != 0;
    if (r.writable) memcpy(r.original, r.copy.data, r.bytes);
    if (!job.error.empty() || !(damage || changed)) continue;
    job.error = std::string("kernel ") + launch.kernel->name + ": ";
    if (changed) {
      job.error += "wrote to " + r.name + ", which is read-only";
    } else {
      job.error += "wrote " +
                   (damage < 0 ? std::to_string(-damage) + " bytes before the start of "
                               : std::to_string(damage - 1) + " bytes past the end of ") +
                   r.name;
    }
  }
  return job.error;
}

}  // namespace cuda_on_cpu
