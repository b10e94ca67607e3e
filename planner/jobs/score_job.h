#ifndef BITBUDGET_PLANNER_JOBS_SCORE_JOB_H_
#define BITBUDGET_PLANNER_JOBS_SCORE_JOB_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/workspace/options.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/tensor/format.h"
#include "scoring/scores.h"

namespace bitbudget {

struct ScoreOptions {
  std::string scorer;  // a name of scoring/registry.h
  // For scorers that need tokens: how many calibration sequences; none: the scorer's own number.
  std::optional<int64_t> probe_count;
  // For scorers that need formats: every component's.
  Format format{FormatKind::kInteger, 4, 64, false};
  // For scorers that cost formats: of every component.
  std::vector<Format> formats = {{FormatKind::kInteger, 2, 64, false},
                                 {FormatKind::kInteger, 3, 64, false},
                                 {FormatKind::kInteger, 4, 64, false}};

  WorkspaceOptions workspace;

  absl::Status Validate() const;
};

// Scores all layers, and the components where the scorer can. Errors: those of the options, the
// parts and the scorer; kCancelled on interruption.
absl::StatusOr<LayerScores> RunScoreJob(const Model& model,
                                        const ScoreOptions& options,
                                        Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_SCORE_JOB_H_
