#ifndef BITBUDGET_PLANNER_JOBS_PLAN_SEARCH_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_SEARCH_H_

#include "absl/status/statusor.h"
#include "planner/jobs/plan_job.h"
#include "planner/runs/run.h"
#include "planner/runs/shared_probes.h"
#include "planner/workspace/setup.h"
#include "runtime/base/progress.h"
#include "search/exact_fill.h"
#include "search/problem.h"
#include "search/retrainer.h"
#include "search/search_method.h"

namespace bitbudget {

struct SearchInputs {
  const PlanOptions& options;
  const SearchProblem& problem;
  const ProbedWorkspace& ready;
  SharedProbes* probes;
  Run* run;
  Retrainer* retrainer;  // or null
  Progress* progress;
};

struct SearchResult {
  SearchSummary summary;
  CostTable errors;
};

// Gives the method what it needs and runs it. An interruption before any candidate that fits leaves
// the fallback as the result.
absl::StatusOr<SearchResult> RunSearch(const SearchInputs& in);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_SEARCH_H_
