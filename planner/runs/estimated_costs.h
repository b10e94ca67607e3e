#ifndef BITBUDGET_PLANNER_RUNS_ESTIMATED_COSTS_H_
#define BITBUDGET_PLANNER_RUNS_ESTIMATED_COSTS_H_

#include "absl/status/statusor.h"
#include "planner/runs/run.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/progress.h"
#include "runtime/eval/probes.h"
#include "scoring/scorer.h"
#include "search/exact_fill.h"
#include "search/problem.h"

namespace bitbudget {

// What every component in every choice of its unit's ladder costs by a scorer of several formats
// (ScorerNeeds::kLadders), rows by component, in nats per token: in place of MeasureOutputErrors.
// From the run's store where it has them; no candidate is run. Errors: the scorer's and the
// store's.
absl::StatusOr<CostTable> EstimateCosts(const Scorer& scorer,
                                        const SearchProblem& problem,
                                        const ProbeMaker& maker,
                                        Workspace* workspace,
                                        Run* run,
                                        Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_ESTIMATED_COSTS_H_
