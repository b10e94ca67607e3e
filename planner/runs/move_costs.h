#ifndef BITBUDGET_PLANNER_RUNS_MOVE_COSTS_H_
#define BITBUDGET_PLANNER_RUNS_MOVE_COSTS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/runs/run.h"
#include "planner/runs/shared_probes.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/progress.h"
#include "runtime/training/encoded_model.h"
#include "search/move_model.h"
#include "search/problem.h"

namespace bitbudget {

// Moves as gradients at the incumbent and the curvature of K-FAC predict them: for a component that
// goes from the incumbent's error e to e',
//   <dL/dW, e' - e> + 1/2 tr((e' - e) A (e' - e)^T B),
// the first term from one backward pass along the search probes (MoveGradients), the
// second from LayerScores::pairs. A unit's change is the sum over its components. What was
// predicted for an incumbent is kept in the run's store.
class MoveCosts final : public MoveModel {
 public:
  // `pairs` by component, of the formats of its unit's ladder; `sequences`: whose divergence is the
  // loss. Everything passed in outlives the result.
  MoveCosts(const SearchProblem& problem,
            std::vector<std::vector<double>> pairs,
            WeightedSequences sequences,
            Workspace* workspace,
            Run* run,
            Progress* progress);

  absl::StatusOr<MovePrediction> Predict(const Assignment& incumbent) override;

 private:
  absl::StatusOr<std::vector<double>> Gradients(const Assignment& incumbent);

  const SearchProblem& problem_;
  const std::vector<std::vector<double>> pairs_;
  const WeightedSequences sequences_;
  const std::vector<float> weights_;
  Workspace& workspace_;
  Run& run_;
  Progress* const progress_;
  std::vector<std::vector<Format>> ladders_;   // by component
  std::unique_ptr<OriginalOutputs> original_;  // since the first pass
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_MOVE_COSTS_H_
