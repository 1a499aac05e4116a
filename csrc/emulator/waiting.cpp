// Synchronisation of threads: barriers, exchanges within a warp, and the report of a deadlock.
#include "worker.hpp"

namespace cuda_on_cpu {

void Worker::barrier(Fiber* me, Place place) {
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

void Worker::warp(Fiber* me, unsigned mask, Exchange exchange, void* brought, Place place) {
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
  if (!brought) ++w.meetings;  // __syncwarp; other exchanges do not order memory
  const size_t begin = ready.size();
  for (unsigned i = 0; i < 32; ++i) {
    if (mask >> i & 1) ready.push_back(w.at[i]);
  }
  shuffle(ready, begin);
  go(me, next());
}

std::string Worker::deadlock() const {
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

}  // namespace cuda_on_cpu
