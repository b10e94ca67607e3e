#ifndef BITBUDGET_PLANNER_JOBS_PLAN_PROBLEM_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_PROBLEM_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "planner/jobs/footprint.h"
#include "planner/jobs/plan_job.h"
#include "planner/workspace/setup.h"
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

// Adds what a job's probes and gradients need of a workspace that several share.
void AddWorkspaceNeeds(const PlanOptions& options,
                       const SearchProblem& problem,
                       int64_t ranks,
                       WorkspaceNeeds* needs);

// What a job works on.
struct PlanSetup {
  SearchProblem problem;
  std::optional<BudgetSplit> budget;  // none for a sparsity goal
  ProbedWorkspace ready;
};

// Checks the options, builds the problem and divides the memory, without any of the job's work.
// Errors: IsInfeasible() when nothing meets the limit, and those of the parts.
absl::StatusOr<PlanSetup> SetUpPlan(const Model& model, const PlanOptions& options, int64_t ranks);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_PROBLEM_H_
