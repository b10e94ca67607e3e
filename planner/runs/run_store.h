#ifndef BITBUDGET_PLANNER_RUNS_RUN_STORE_H_
#define BITBUDGET_PLANNER_RUNS_RUN_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "planner/runs/run_directory.h"
#include "runtime/base/sqlite.h"
#include "runtime/eval/assignment.h"
#include "runtime/eval/metrics.h"
#include "runtime/model/decoder/components.h"
#include "search/search_method.h"

namespace bitbudget {

// To be raised when the same candidate, probes or costs come to give other results, so that stored
// ones are not mixed with them.
inline constexpr int kEvaluationVersion = 6;
// What a run has measured, in one SQLite file (docs/run-store.md). Everything in a run follows from
// its evaluations: a run that is started again is the same search, answered from here as far as it
// had come.
//
// Every Put and Save is one transaction in a write-ahead log: a process that is killed, or that
// cannot write any more, loses at most the call that it was in. (The log is synced when it is
// folded into the file, not by every call: a machine that loses power may lose the last
// evaluations as well, never the file.) What is read back is what was written: damage is found
// where it is read (store_format.h). Errors as Database's; not thread-safe.
class RunStore {
 public:
  // Opens and locks the run directory's store of this identity (run_directory.h), or creates it.
  // kFailedPrecondition when another process has locked it; kDataLoss when the file is damaged or
  // no run store.
  static absl::StatusOr<std::unique_ptr<RunStore>> Open(const std::string& run_directory,
                                                        std::span<const IdentityField> identity);

  // Values under names of their own, such as scores that take long to compute.
  absl::StatusOr<std::optional<std::string>> GetBlob(absl::string_view key);
  absl::Status PutBlob(absl::string_view key, absl::string_view value);

  // The ids of the probes of a set ("search", "held-out"). A probe is named by a hash of its
  // tokens, not by its number in the set, so that sets of different sizes share probes.
  absl::StatusOr<std::vector<int64_t>> ProbeIds(absl::string_view set,
                                                std::span<const std::string> names);

  // The stored results of a candidate on the given probes; nullopt where there is none. `candidate`
  // is any text that names what was evaluated.
  absl::StatusOr<std::vector<std::optional<ProbeResult>>> Find(absl::string_view candidate,
                                                               std::span<const int64_t> probes);
  absl::Status Save(absl::string_view candidate,
                    std::span<const int64_t> probes,
                    std::span<const ProbeResult> results);

  // For readers of the store: the model's components in their stored formats and the bytes of
  // everything else, and one row for every command, found again by its options.
  absl::Status DescribeModel(std::span<const Component> components,
                             const Assignment& stored_formats,
                             int64_t fixed_bytes);
  absl::StatusOr<int64_t> BeginJob(const std::string& options);
  absl::Status PutTrace(int64_t job, std::span<const TraceStep> trace);
  absl::Status EndJob(int64_t job, absl::string_view state);  // "complete", "interrupted", "failed"

  // Removes the store where Open() created it and it is still empty, so that a command that failed
  // early leaves nothing behind. The store must not be used afterwards.
  enum class Empty : uint8_t { kNoResults, kNoResultsAndNoValues };
  void RemoveIf(Empty empty);

 private:
  explicit RunStore(std::unique_ptr<StoreFolder> folder) : folder_(std::move(folder)) {}

  absl::Status Create(std::span<const IdentityField> identity);
  absl::Status CheckIdentity(std::span<const IdentityField> identity);

  std::unique_ptr<StoreFolder> folder_;  // unlocked after the database is closed
  std::unique_ptr<Database> database_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_RUN_STORE_H_
