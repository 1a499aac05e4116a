// Memory: asynchronous copies, which complete when they are waited for; with `check`, races and bounds of every access.
#include <dlfcn.h>

#include "worker.hpp"

namespace cuda_on_cpu {

void Worker::copy(Fiber* me, char* to, const char* from, int bytes, int valid) {
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

void Worker::arrive(Fiber* me, unsigned pending) {
  std::vector<Copy>& mine = copies[me->rank];
  auto c = mine.begin();
  for (; c != mine.end() && c->group + pending < me->group; ++c) {
    if (watched()) access(me, c->to, static_cast<size_t>(c->bytes), kWrite);
    memcpy(c->to, c->from, static_cast<size_t>(c->valid));
    memset(c->to + c->valid, 0, static_cast<size_t>(c->bytes - c->valid));
  }
  mine.erase(mine.begin(), c);
}

// Return whether the access of `stamp` may happen at the same time as one that the thread `me` makes now.
bool Worker::concurrent(const Stamp& stamp, int64_t me, unsigned rank, bool global) const {
  if (stamp.thread < 0 || stamp.thread == me) return false;
  if (stamp.thread / kThreads != me / kThreads) return global;
  if (stamp.stretch != stretch) return false;
  const bool same_warp = stamp.thread % kThreads / 32 == rank / 32;
  return !same_warp || stamp.meeting == warps[rank / 32].meetings;
}

void Worker::touch(Fiber* me, Shadow& s, int kind, bool global, size_t offset, const char* name) {
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

void Worker::touch_all(Fiber* me, std::vector<Shadow>& shadow, size_t offset, size_t bytes, unsigned granule, int kind,
               bool global, const char* name) {
  for (size_t i = offset / granule; i <= (offset + bytes - 1) / granule; ++i) {
    if (i >= shadow.size()) shadow.resize(i + 1);
    touch(me, shadow[i], kind, global, offset, name);
  }
}

void Worker::access(Fiber* me, const char* at, size_t bytes, int kind) {
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

// Describe an address that belongs to no array.
std::string Worker::neighbour(const char* at) const {
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

}  // namespace cuda_on_cpu
