// Memory that detects accesses out of bounds and races.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "runtime.hpp"

namespace cuda_on_cpu {

constexpr char kPoison = '\xff';  // as a float: NaN

inline const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));
inline size_t up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// Memory between two pages that fault on access; the data ends as close to the second as its alignment allows.
class Guarded {
 public:
  explicit Guarded(size_t bytes, size_t alignment = 0) : bytes_(bytes) {
    const size_t room = up(bytes + 16, kPage);
    size_ = room + 2 * kPage;
    base_ = static_cast<char*>(mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    mprotect(base_ + kPage, room, PROT_READ | PROT_WRITE);
    memset(base_ + kPage, kPoison, room);
    data = base_ + kPage + room - up(bytes, 16) - (alignment ? 16 - alignment : 0);
  }
  Guarded(Guarded&& other) noexcept : data(other.data), base_(other.base_), size_(other.size_), bytes_(other.bytes_) {
    other.base_ = nullptr;
  }
  ~Guarded() {
    if (base_) munmap(base_, size_);
  }
  // Return the distance of the nearest changed canary: negative before the data, positive after it, 0 if there is none.
  long damage() const {
    for (const char* at = data - 1; at >= base_ + kPage; --at) {
      if (*at != kPoison) return at - data;
    }
    for (const char* at = data + bytes_; at < base_ + size_ - kPage; ++at) {
      if (*at != kPoison) return at - (data + bytes_) + 1;
    }
    return 0;
  }
  bool near(const char* at) const { return at >= base_ && at < base_ + size_; }
  char* data;

 private:
  char* base_;
  size_t size_, bytes_;
};

// The last access to a granule of memory: its thread, its interval between barriers, and that between warp barriers.
struct Stamp {
  int64_t thread = -1;
  uint32_t stretch = 0, meeting = 0;
};
struct Shadow {
  Stamp write, read, other_read;
};

// Overlapping arrays as one region of memory.
struct Region {
  char* original;
  size_t bytes;
  unsigned element;
  bool writable;
  std::string name;
  Guarded copy;
  std::vector<Shadow> shadow;
};

// Copy the arrays between guard pages; overlapping arrays share one region.
inline std::vector<Region> guard(const Launch& launch, std::vector<char*>& moved) {
  std::vector<const Array*> sorted;
  for (const Array& a : launch.arrays) sorted.push_back(&a);
  std::sort(sorted.begin(), sorted.end(), [](const Array* a, const Array* b) { return a->data < b->data; });
  struct Span {
    char *begin, *end;
    unsigned element;
    bool writable;
    std::string name;
  };
  std::vector<Span> spans;
  for (const Array* a : sorted) {
    if (!spans.empty() && (a->data < spans.back().end || a->data == spans.back().begin)) {
      Span& s = spans.back();
      s.end = std::max(s.end, a->data + a->bytes);
      s.element = std::min(s.element, a->element);
      s.writable |= a->writable;
      s.name += " with " + a->name;
    } else {
      spans.push_back({a->data, a->data + a->bytes, a->element, a->writable, a->name});
    }
  }
  std::vector<Region> regions;
  for (const Span& s : spans) {
    const size_t bytes = static_cast<size_t>(s.end - s.begin);
    regions.push_back(
        {s.begin, bytes, s.element, s.writable, s.name, Guarded(bytes, reinterpret_cast<uintptr_t>(s.begin) % 16), {}});
    memcpy(regions.back().copy.data, s.begin, bytes);
  }
  for (const Array& a : launch.arrays) {
    for (const Region& r : regions) {
      if (a.data >= r.original && a.data + a.bytes <= r.original + r.bytes)
        moved[static_cast<size_t>(a.param)] = r.copy.data + (a.data - r.original);
    }
  }
  return regions;
}

}  // namespace cuda_on_cpu
