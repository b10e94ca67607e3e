#include "tools/bench/read_memory.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/base/parallel.h"

namespace bitbudget {
namespace {

constexpr size_t kPart = size_t{1} << 20;

// Two 64-bit words; with eight sums in flight memory, not the additions, sets the pace.
using Words = uint64_t __attribute__((vector_size(16)));
constexpr size_t kLanes = 8;

uint64_t Sum(const std::byte* data, size_t bytes) {
  Words sums[kLanes] = {};
  size_t at = 0;
  for (; at + sizeof(sums) <= bytes; at += sizeof(sums)) {
#pragma GCC unroll 8
    for (size_t i = 0; i < kLanes; ++i) {
      Words words;
      std::memcpy(&words, data + at + i * sizeof(Words), sizeof(Words));
      sums[i] += words;
    }
  }
  uint64_t total = 0;
  for (const Words& sum : sums) total += sum[0] + sum[1];
  for (; at + sizeof(uint64_t) <= bytes; at += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, data + at, sizeof(word));
    total += word;
  }
  return total;
}

}  // namespace

uint64_t ReadMemory(std::span<const std::span<const std::byte>> blocks, int threads) {
  std::vector<std::span<const std::byte>> parts;
  for (const std::span<const std::byte> block : blocks) {
    for (size_t at = 0; at < block.size(); at += kPart) {
      parts.push_back(block.subspan(at, std::min(kPart, block.size() - at)));
    }
  }
  std::atomic<uint64_t> total = 0;
  ParallelFor(threads, static_cast<int64_t>(parts.size()), [&](int64_t i, int) {
    total.fetch_add(Sum(parts[i].data(), parts[i].size()), std::memory_order_relaxed);
  });
  return total;
}

}  // namespace bitbudget
