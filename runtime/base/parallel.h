#ifndef BITBUDGET_RUNTIME_BASE_PARALLEL_H_
#define BITBUDGET_RUNTIME_BASE_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace bitbudget {

// Cores this process may use (OMP_NUM_THREADS is respected).
int DefaultThreads();

// Calls body(item, worker) for every item in [0, items) on up to `threads` threads; worker is in
// [0, threads) and no two concurrent calls share one, so it can index workspaces. Items are handed
// out dynamically in increasing order: results must not depend on which worker runs an item. A call
// from inside a parallel region runs serially with worker 0. `body` must not throw.
void ParallelFor(int threads, int64_t items, const std::function<void(int64_t, int)>& body);

// How many of `threads` to use for `work` simple operations: waking one takes some ten
// microseconds.
int ThreadsFor(int threads, int64_t work);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_PARALLEL_H_
