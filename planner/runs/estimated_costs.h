#ifndef BITBUDGET_PLANNER_RUNS_ESTIMATED_COSTS_H_
#define BITBUDGET_PLANNER_RUNS_ESTIMATED_COSTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/runs/run.h"
#include "planner/runs/shared_probes.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/progress.h"
#include "scoring/scorer.h"
#include "search/exact_fill.h"
#include "search/problem.h"

namespace bitbudget {

// The formats of every component: those of its unit's ladder.
std::vector<std::vector<Format>> LaddersByComponent(const SearchProblem& problem);
// Names them in a run's store.
std::string LadderKey(const std::vector<std::vector<Format>>& ladders);

struct EstimatedCosts {
  // By component and choice of its unit's ladder, in nats per token.
  CostTable costs;
  std::vector<std::vector<double>> pairs;  // LayerScores::pairs, if the scorer has it
};

// What every component in every choice of its unit's ladder costs by a scorer of several formats
// (ScorerNeeds::kLadders) on as many of the sequences as it takes, in place of MeasureOutputErrors.
// From the run's store where it has them; no candidate is run. Errors: the scorer's and the
// store's.
absl::StatusOr<EstimatedCosts> EstimateCosts(const Scorer& scorer,
                                             const SearchProblem& problem,
                                             const WeightedSequences& sequences,
                                             Workspace* workspace,
                                             Run* run,
                                             Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_ESTIMATED_COSTS_H_
