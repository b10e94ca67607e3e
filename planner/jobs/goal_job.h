#ifndef BITBUDGET_PLANNER_JOBS_GOAL_JOB_H_
#define BITBUDGET_PLANNER_JOBS_GOAL_JOB_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/jobs/plan_job.h"
#include "planner/runs/communicator.h"
#include "planner/workspace/memory_plan.h"
#include "planner/workspace/quality_goal.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

struct GoalOptions {
  // All of it but the limit.
  PlanOptions plan;
  QualityGoal goal;

  absl::Status Validate() const;
};

// Searches for the smallest plan that meets a goal: the worse end of the 95 % interval of what it
// measures, over the held-out probes, is within the bound (docs/search.md, "Goals").
//   1. The sizes of plans of the least sum of K-FAC costs around the goal, on the search probes.
//   2. From what they give, sizes in falling order: one that should meet the goal with a margin,
//      then one of 7.5 % more distance from the original each. At every size the plan's search,
//      then the held-out probes. The first that misses the goal ends it; so how often the held-out
//      probes are asked does not make a miss more likely to pass (testing in a fixed sequence).
//   3. Where already the first misses, larger ones until one meets the goal.
// The plan is that of RunPlanJob at its size but for the formats that are tried by default, which
// are those for small budgets, and for its record of the goal. Errors: as RunPlanJob;
// IsInfeasible() when no plan is found that meets the goal, with the best that was reached.
absl::StatusOr<plans::Plan> RunGoalJob(const Model& model,
                                       const GoalOptions& options,
                                       Progress* progress,
                                       Communicator* ranks = nullptr,
                                       MemoryPlan* memory = nullptr);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_GOAL_JOB_H_
