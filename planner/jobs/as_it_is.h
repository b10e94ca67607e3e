#ifndef BITBUDGET_PLANNER_JOBS_AS_IT_IS_H_
#define BITBUDGET_PLANNER_JOBS_AS_IT_IS_H_

#include <optional>

#include "planner/jobs/plan_job.h"
#include "planner/jobs/plan_problem.h"
#include "plans/plan.pb.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// The plan that leaves every matrix as it is stored, where that meets the budget and the
// constraints: nothing is closer to the original, so that there is nothing to search and nothing to
// measure. None for a sparsity goal, and where the stored size is too large or a stored format is
// not among those to choose from.
std::optional<plans::Plan> PlanAsItIs(const Model& model,
                                      const PlanOptions& options,
                                      const PlanProblem& made);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_AS_IT_IS_H_
