#ifndef BITBUDGET_PLANNER_JOBS_PLAN_PROBLEM_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_PROBLEM_H_

#include <optional>

#include "absl/status/statusor.h"
#include "planner/jobs/footprint.h"
#include "planner/jobs/plan_job.h"
#include "runtime/model/decoder/model.h"
#include "search/problem.h"

namespace bitbudget {

// What a plan job decides.
struct PlanProblem {
  SearchProblem problem;
  std::optional<BudgetSplit> budget;  // none for a sparsity goal
};

// Errors: IsInfeasible() when nothing meets the limit; those of the constraints.
absl::StatusOr<PlanProblem> MakePlanProblem(const Model& model, const PlanOptions& options);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_PROBLEM_H_
