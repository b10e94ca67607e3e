#ifndef BITBUDGET_PLANNER_JOBS_PLAN_PROBLEM_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_PROBLEM_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

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
  std::vector<std::string> notes;     // to be shown: formats that a component cannot have
};

// Errors: IsInfeasible() when nothing meets the limit; those of the constraints.
absl::StatusOr<PlanProblem> MakePlanProblem(const Model& model, const PlanOptions& options);

// Adds what a job's probes and gradients need of a workspace that several share.
void AddWorkspaceNeeds(const PlanOptions& options,
                       const SearchProblem& problem,
                       int64_t ranks,
                       WorkspaceNeeds* needs);

// What jobs work on.
struct PlanSetup {
  std::vector<PlanProblem> made;  // by job
  ProbedWorkspace ready;
};

// Checks the options, builds the problems and divides the memory, without any of the jobs' work.
// Errors: IsInfeasible() when nothing meets a limit, and those of the parts. REQUIRES: as
// RunPlanJobs, and a job.
absl::StatusOr<PlanSetup> SetUpPlans(const Model& model,
                                     std::span<const PlanOptions> jobs,
                                     int64_t ranks);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_PROBLEM_H_
