#ifndef BITBUDGET_PLANNER_RUNS_RUN_REPORT_H_
#define BITBUDGET_PLANNER_RUNS_RUN_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/runs/run_store.h"

namespace bitbudget {

// A candidate that was run on all search probes.
struct MeasuredCandidate {
  std::string assignment;  // formats by component, separated by commas
  int64_t size_bytes = 0;
  double fdt_mean = 0;
  double kl_mean = 0;
};

// One component in another format than the checkpoint's, everything else as it is there.
struct MeasuredAlone {
  std::string component;
  std::string format;
  int64_t size_bytes = 0;  // of the component
  double kl_mean = 0;
};

// What a run directory holds, for people.
struct RunReport {
  struct Job {
    std::string options;
    std::string state;  // "begun" (running, or killed), "complete", "interrupted", "failed"
    std::vector<StoredMove> moves;
  };

  std::vector<IdentityField> identity;
  std::vector<Job> jobs;
  int64_t components = 0;
  int64_t probes = 0;      // of the search set
  int64_t candidates = 0;  // that were run, in whole or in part, on any set
  int64_t results = 0;     // candidate and probe
  // Candidates that no smaller or equally large one beats in KL, by increasing size.
  std::vector<MeasuredCandidate> best;
  std::vector<MeasuredAlone> alone;  // by component and format
};

// Reads a run directory without changing it; another process may be writing it. Errors: kNotFound
// when there is no run in it; kDataLoss when its file is damaged or another program's.
absl::StatusOr<RunReport> ReadRun(const std::string& directory);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_RUN_REPORT_H_
