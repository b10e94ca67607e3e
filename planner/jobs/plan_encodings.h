#ifndef BITBUDGET_PLANNER_JOBS_PLAN_ENCODINGS_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_ENCODINGS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/jobs/plan_job.h"
#include "planner/jobs/plan_record.h"
#include "planner/jobs/plan_retraining.h"
#include "planner/workspace/workspace.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// What every changed component's encoding must be when it is made again, for encoders whose codes
// depend on calibration inputs that the plan does not hold.
absl::StatusOr<std::vector<std::string>> HashEncodings(const Assignment& assignment,
                                                       Workspace* workspace);

// Encodes what was trained and writes it beside the plan, which is told of it, before the plan
// itself is written.
absl::Status WriteTrained(const Model& model,
                          const PlanOptions& options,
                          PlanRetraining* retraining,
                          PlanFindings* findings);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_ENCODINGS_H_
