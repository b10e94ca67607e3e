#ifndef BITBUDGET_PLANNER_RUNS_RUN_H_
#define BITBUDGET_PLANNER_RUNS_RUN_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "planner/runs/communicator.h"
#include "planner/runs/run_store.h"
#include "runtime/base/progress.h"
#include "runtime/eval/metrics.h"

namespace bitbudget {

// What a job shares with its ranks and with earlier starts of itself: a communicator and, on rank
// 0, a store. All ranks call the functions in the same order and get the same answers. Without a
// store nothing is found and nothing is kept but what Remember() made.
class Run {
 public:
  // A run of one process that keeps nothing.
  Run() : own_ranks_(MakeSingleProcess()), ranks_(own_ranks_.get()) {}
  // `ranks` outlives the run.
  explicit Run(Communicator* ranks) : ranks_(ranks) {}

  // Checks that all ranks have the same identity and, unless `run_directory` is empty, opens its
  // store of that identity on rank 0. Errors: kInvalidArgument naming the rank and the field that
  // differs; RunStore::Open's.
  absl::Status Begin(const std::string& run_directory,
                     std::span<const IdentityField> identity,
                     Progress* progress);

  Communicator& ranks() { return *ranks_; }
  // On rank 0 of a run that keeps a store, else null.
  RunStore* store() { return store_.get(); }

  // What is stored under `key`, if anything.
  absl::StatusOr<std::optional<std::string>> Recall(absl::string_view key);
  // Stores a value that is the same on all ranks.
  absl::Status Keep(absl::string_view key, absl::string_view value);
  // What is stored under `key`; else what make() returns, which is stored then; without a store
  // while the run lasts. All ranks call make(), which must return the same on all of them.
  absl::StatusOr<std::string> Remember(absl::string_view key,
                                       const std::function<absl::StatusOr<std::string>()>& make);

  // RunStore's functions of the same names.
  absl::StatusOr<std::vector<int64_t>> ProbeIds(absl::string_view set,
                                                std::span<const std::string> names);
  absl::StatusOr<std::vector<std::optional<ProbeResult>>> Find(absl::string_view candidate,
                                                               std::span<const int64_t> probes);
  absl::Status Save(absl::string_view candidate,
                    std::span<const int64_t> probes,
                    std::span<const ProbeResult> results);

 private:
  std::unique_ptr<Communicator> own_ranks_;
  Communicator* ranks_;
  bool stored_ = false;  // whether rank 0 has a store
  std::unique_ptr<RunStore> store_;
  std::map<std::string, std::string, std::less<>> remembered_;  // without a store
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_RUN_H_
