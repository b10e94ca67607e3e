#include "runtime/model/decoder/forward.h"

#include <glog/logging.h>

#include <atomic>
#include <mutex>

#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

absl::Status StageRunner::Run(WeightSource* weights,
                              const StageSpan& stages,
                              Progress* progress,
                              Steps steps,
                              const Body& body) {
  CHECK_LT(stages.first, stages.end);
  const int workers = stages.items >= threads_ ? threads_ : 1;
  for (ForwardScratch& scratch : scratch_) {
    scratch.workspace.threads = workers == 1 ? threads_ : 1;
  }
  std::atomic<bool> interrupted = false;
  std::mutex mutex;
  int64_t done = 0;
  const double all = static_cast<double>((stages.end - stages.first) * stages.items);
  for (int first = stages.first; first < stages.end;) {
    BB_ASSIGN_OR_RETURN(const WeightLease lease, weights->Pin(first, stages.end, threads_));
    CHECK(lease.end() > first && lease.end() <= stages.end);
    ParallelFor(workers, stages.items, [&](int64_t item, int worker) {
      for (int stage = first; stage < lease.end(); ++stage) {
        if (interrupted || progress->Interrupted()) {
          interrupted = true;
          return;
        }
        body(stage, lease.set(), item, &scratch_[worker]);
        if (steps == Steps::kSilent) continue;
        const std::lock_guard<std::mutex> lock(mutex);
        ++done;
        if (steps == Steps::kReported) {
          progress->Update(done);
        } else {
          progress->Within(static_cast<double>(done) / all);
        }
      }
    });
    if (interrupted || progress->Interrupted()) return absl::CancelledError("interrupted");
    first = lease.end();
  }
  return absl::OkStatus();
}

std::vector<Batch> MakeBatches(std::span<const int64_t> rows, int64_t rows_per_batch) {
  std::vector<Batch> batches;
  int64_t first_row = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (batches.empty() || batches.back().rows >= rows_per_batch) {
      batches.push_back({static_cast<int64_t>(i), 0, first_row, 0});
    }
    ++batches.back().count;
    batches.back().rows += rows[i];
    first_row += rows[i];
  }
  return batches;
}

}  // namespace bitbudget
