#ifndef BITBUDGET_PLANNER_JOBS_PLAN_PREVIEW_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_PREVIEW_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/jobs/plan_job.h"
#include "planner/jobs/plan_work.h"
#include "planner/workspace/memory_plan.h"
#include "planner/workspace/workspace.h"

namespace bitbudget {

// What plan jobs would do, before any of it is done.
struct PlanPreview {
  PlanWork work;
  double pass_seconds = 0;  // of a pass; an estimate
  MemoryPlan memory;

  int64_t units = 0;
  int64_t free_units = 0;             // that are not pinned
  std::vector<Format> formats;        // of any ladder, by increasing bits
  int64_t smallest_bytes = 0;         // of the whole model
  std::vector<int64_t> budget_bytes;  // for the weights, by job; none for a sparsity goal
  std::vector<std::string> notes;     // formats that a component cannot have
};

// Seconds that products of so many weights and activations take in a candidate's run on all
// threads. Measured on the first layer of the model as it is stored for about `budget_s`, once at
// least.
double MeasurePassSeconds(const PassSize& pass, Workspace* workspace, double budget_s);

// Of jobs that RunPlanJobs can run. Errors as it has them before its work. Writes nothing.
absl::StatusOr<PlanPreview> PreviewPlans(const Model& model,
                                         std::span<const PlanOptions> jobs,
                                         const HeldOutExtras& extras,
                                         int64_t ranks);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_PREVIEW_H_
