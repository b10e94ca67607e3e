#ifndef BITBUDGET_PLANNER_JOBS_SEARCH_METHODS_H_
#define BITBUDGET_PLANNER_JOBS_SEARCH_METHODS_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/jobs/plan_job.h"
#include "planner/runs/run.h"
#include "planner/workspace/workspace.h"
#include "search/objective.h"
#include "search/search_method.h"

namespace bitbudget {

// What of a plan's options is about its search method. kInvalidArgument names the option.
absl::Status CheckMethod(const PlanOptions& options);

// What a method needs beyond the probes of its candidates.
bool UsesErrors(const PlanOptions& options);       // SearchContext::errors
bool UsesText(const PlanOptions& options);         // SearchContext::text
bool UsesCalibration(const PlanOptions& options);  // calibration prompts, for an order of layers

// Makes the method that the options name; an order of layers is scored now, or taken from the run's
// store. Errors as CheckMethod and the scorers'.
absl::StatusOr<std::unique_ptr<SearchMethod>> MakeMethod(const PlanOptions& options,
                                                         const SearchProblem& problem,
                                                         const Objective& objective,
                                                         const ProbeMaker& maker,
                                                         Workspace* workspace,
                                                         Run* run,
                                                         Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_SEARCH_METHODS_H_
