#ifndef BITBUDGET_TOOLS_BENCH_READ_MEMORY_H_
#define BITBUDGET_TOOLS_BENCH_READ_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace bitbudget {

// The sum of all whole 8-byte words of the blocks, read in order and spread over threads in parts
// of a megabyte: the least that anything can do that uses every byte once.
uint64_t ReadMemory(std::span<const std::span<const std::byte>> blocks, int threads);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BENCH_READ_MEMORY_H_
