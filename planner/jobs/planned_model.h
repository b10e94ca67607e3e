#ifndef BITBUDGET_PLANNER_JOBS_PLANNED_MODEL_H_
#define BITBUDGET_PLANNER_JOBS_PLANNED_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/workspace/workspace.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/eval/assignment.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// Everything that jobs take from a plan that was read from a file.

// The formats that a plan gives the components of this model. kInvalidArgument when the plan was
// made for another model (naming both fingerprints) or lists other components.
absl::StatusOr<Assignment> AssignmentOfPlan(const plans::Plan& plan, const Model& model);

// `options` with the plan's encoder and pruning rule. kInvalidArgument for one that this version
// does not know.
absl::StatusOr<WorkspaceOptions> WithEncodingOf(const plans::Plan& plan, WorkspaceOptions options);

// Positions that CalibrateFromPlan runs, 0 for none.
int64_t CalibrationContext(const plans::Plan& plan);

// Teaches the workspace's encoder what the plan's had learned: moments are in the plan; Gram
// matrices are measured again, on the text file `calibration`, which the plan knows by its SHA-256
// (empty where the plan was calibrated on the model's own samples), and encodings must then have
// the hashes of the plan. A recovered plan needs none of it: the workspace takes its encodings from
// the plan's file in options().plan_folder. REQUIRES: the workspace was made WithEncodingOf(plan),
// and the plan is one of its model (AssignmentOfPlan). Errors: kInvalidArgument when the moments do
// not fit the model, or the text is missing or another one; those of ReadRecoveredFile.
absl::Status CalibrateFromPlan(const plans::Plan& plan,
                               const std::string& calibration,
                               Workspace* workspace,
                               Progress* progress);

// A model ready to run as a plan says, without probes.
struct PlannedModel {
  Assignment assignment;
  std::unique_ptr<Workspace> workspace;
};

// Opens `model` for `context` positions in the plan's formats, or as it is stored where `plan` is
// null. The model outlives the result. Errors: those of the functions above and
// Workspace::Create's.
absl::StatusOr<PlannedModel> OpenPlannedModel(const Model& model,
                                              const plans::Plan* plan,
                                              const WorkspaceOptions& options,
                                              int64_t context,
                                              const std::string& calibration,
                                              Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLANNED_MODEL_H_
