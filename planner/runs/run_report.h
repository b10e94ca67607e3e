#ifndef BITBUDGET_PLANNER_RUNS_RUN_REPORT_H_
#define BITBUDGET_PLANNER_RUNS_RUN_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/runs/run_directory.h"
#include "runtime/eval/assignment.h"
#include "runtime/model/decoder/components.h"
#include "search/search_method.h"

namespace bitbudget {

// A candidate that was evaluated on all search probes.
struct MeasuredCandidate {
  Assignment assignment;
  int64_t size_bytes = 0;
  double fdt_mean = 0;
  double kl_mean = 0;
  double text_kl = 0;
  double loss = 0;  // Statistic::kLoss
};

// One component in another format than its stored one, everything else as stored.
struct MeasuredAlone {
  ComponentFormat change;
  int64_t size_bytes = 0;  // of the component
  double loss = 0;         // as above
};

// What one store of a run directory holds.
struct RunReport {
  struct Job {
    std::string options;
    std::string state;  // "begun" (running, or killed), "complete", "interrupted", "failed"
    std::vector<TraceStep> trace;
  };

  std::string directory;  // the store's folder
  std::vector<IdentityField> identity;
  std::vector<Component> components;
  Assignment stored_formats;
  std::vector<Job> jobs;
  int64_t probes = 0;      // of the search set
  int64_t candidates = 0;  // evaluated, on all or some probes of any set
  int64_t results = 0;     // one per candidate and probe
  // Candidates that no smaller or equally large one beats in loss, by increasing size.
  std::vector<MeasuredCandidate> best;
  std::vector<MeasuredAlone> alone;  // by component and size
};

// Reads the stores of a run directory, or a single one by its own folder, without changing them;
// other processes may be writing. Errors: kNotFound when there is none; kDataLoss for a file that
// is damaged or no run store; kFailedPrecondition for one of another version.
absl::StatusOr<std::vector<RunReport>> ReadRuns(const std::string& directory);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_RUN_REPORT_H_
