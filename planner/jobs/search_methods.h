#ifndef BITBUDGET_PLANNER_JOBS_SEARCH_METHODS_H_
#define BITBUDGET_PLANNER_JOBS_SEARCH_METHODS_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/jobs/plan_job.h"
#include "planner/runs/run.h"
#include "planner/workspace/workspace.h"
#include "search/methods.h"

namespace bitbudget {

// Checks the search options of a plan: the method, the scorer, and what they need of the other
// options. kInvalidArgument says what does not go together.
absl::Status CheckMethod(const PlanOptions& options);

// What the plan's method needs. REQUIRES: CheckMethod(options) is OK.
MethodNeeds NeedsOf(const PlanOptions& options);

// Whether the method's layer order is scored on calibration prompts. REQUIRES: as NeedsOf.
bool NeedsCalibrationPrompts(const PlanOptions& options);

// The sequences that gradients are taken on, for the layer order or for costs; 0: none. REQUIRES:
// as NeedsOf.
int64_t GradientProbes(const PlanOptions& options);

// How many search probes the slopes of moves are taken on: a third of them gave plans of novel-8m
// that are as good as half of them (docs/search.md).
inline int64_t MoveProbes(int64_t search_probes) { return (search_probes + 2) / 3; }

// Makes the plan's method. An order of layers is scored now, or recalled from the run. Errors as
// CheckMethod and the scorers'.
absl::StatusOr<std::unique_ptr<SearchMethod>> MakeMethod(const PlanOptions& options,
                                                         const SearchProblem& problem,
                                                         const ProbeMaker& maker,
                                                         Workspace* workspace,
                                                         Run* run,
                                                         Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_SEARCH_METHODS_H_
