#include "runtime/base/parallel.h"

#include <omp.h>

#include <algorithm>

namespace bitbudget {

int DefaultThreads() { return omp_get_max_threads(); }

void ParallelFor(int threads, int64_t items, const std::function<void(int64_t, int)>& body) {
  threads = static_cast<int>(std::min<int64_t>(threads, items));
  if (threads <= 1 || omp_in_parallel()) {
    for (int64_t i = 0; i < items; ++i) body(i, 0);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t i = 0; i < items; ++i) body(i, omp_get_thread_num());
}

int ThreadsFor(int threads, int64_t work) {
  constexpr int64_t kMinPerThread = 1 << 16;
  return static_cast<int>(std::clamp<int64_t>(work / kMinPerThread, 1, std::max(threads, 1)));
}

}  // namespace bitbudget
