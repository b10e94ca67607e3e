#ifndef BITBUDGET_PLANNER_RUNS_CALIBRATION_H_
#define BITBUDGET_PLANNER_RUNS_CALIBRATION_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "planner/runs/run.h"
#include "planner/workspace/workspace.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/eval/probes.h"

namespace bitbudget {

// Gives the workspace's encoder what it needs to know of its inputs on calibration text, the
// moments from the run's store where it has them. Nothing to do for encoders that need nothing.
// `plan`, where not null, gets what `apply` needs to do the same again.
absl::Status CalibrateEncoder(
    const ProbeMaker& maker, Workspace* workspace, Run* run, Progress* progress, plans::Plan* plan);

// The same for a plan's encoder, which is the workspace's: moments are the plan's own; what takes
// the calibration text again is measured on `text`, the file that the plan names by its
// fingerprint (empty where the plan was calibrated on the model's own samples). From then on the
// workspace's encodings must be those of the plan. Errors: kInvalidArgument when moments do not fit
// the model, or the text is missing or another one.
absl::Status CalibrateFromPlan(const plans::Plan& plan,
                               const std::string& text,
                               Workspace* workspace,
                               Progress* progress);

// Positions that CalibrateFromPlan runs, 0 for none.
int64_t CalibrationContext(const plans::Plan& plan);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_CALIBRATION_H_
