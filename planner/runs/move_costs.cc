#include "planner/runs/move_costs.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "planner/runs/estimated_costs.h"
#include "planner/runs/messages.h"
#include "planner/runs/stored_evaluator.h"
#include "runtime/base/status_macros.h"
#include "scoring/move_gradient.h"

namespace bitbudget {

MoveCosts::MoveCosts(const SearchProblem& problem,
                     std::vector<std::vector<double>> pairs,
                     WeightedSequences sequences,
                     Workspace* workspace,
                     Run* run,
                     Progress* progress)
    : problem_(problem),
      pairs_(std::move(pairs)),
      sequences_(std::move(sequences)),
      weights_(sequences_.AllWeights()),
      workspace_(*workspace),
      run_(*run),
      progress_(progress),
      ladders_(LaddersByComponent(problem)) {}

absl::StatusOr<std::vector<double>> MoveCosts::Gradients(const Assignment& incumbent) {
  ScoreContext context;
  context.model = &workspace_.model();
  context.threads = workspace_.options().threads;
  context.progress = progress_;
  context.bank = workspace_.bank();
  context.sequences = sequences_.tokens;
  context.row_weights = weights_;
  context.ladders = &ladders_;
  if (original_ == nullptr) {
    BB_ASSIGN_OR_RETURN(
        original_,
        OriginalOutputs::Create(workspace_.model(), sequences_.tokens, context.threads, progress_));
  }
  BB_ASSIGN_OR_RETURN(const FormatCosts gradients, MoveGradients(context, incumbent, *original_));
  std::vector<double> all;
  for (const std::vector<double>& row : gradients) all.insert(all.end(), row.begin(), row.end());
  return all;
}

absl::StatusOr<MovePrediction> MoveCosts::Predict(const Assignment& incumbent) {
  const std::string key = absl::StrCat(
      "moves/", sequences_.Sha256(), "/", CandidateName(incumbent), LadderKey(ladders_));
  BB_ASSIGN_OR_RETURN(const std::string stored,
                      run_.Remember(key, [&]() -> absl::StatusOr<std::string> {
                        BB_ASSIGN_OR_RETURN(const std::vector<double> all, Gradients(incumbent));
                        return SerializeOutputErrors(all);
                      }));
  int64_t count = 0;
  for (const std::vector<Format>& ladder : ladders_) count += static_cast<int64_t>(ladder.size());
  BB_ASSIGN_OR_RETURN(const std::vector<double> all,
                      ParseOutputErrors(stored, count, "the run store"));
  MovePrediction predicted;
  for (UnitId u = 0; u < problem_.size(); ++u) {
    predicted.slope.emplace_back(problem_.ladders[u].size());
    predicted.curvature.emplace_back(problem_.ladders[u].size());
  }
  auto next = all.begin();
  for (size_t c = 0; c < ladders_.size(); ++c) {
    const std::vector<Format>& ladder = ladders_[c];
    const UnitId unit = problem_.UnitOf(static_cast<ComponentId>(c));
    const size_t n = ladder.size();
    const auto own = std::find(ladder.begin(), ladder.end(), incumbent[c]);
    CHECK(own != ladder.end());
    const size_t at = static_cast<size_t>(own - ladder.begin());
    const auto pair = [&](size_t i, size_t j) { return pairs_[c][i * n + j]; };
    for (size_t i = 0; i < n; ++i, ++next) {
      predicted.slope[unit][i] += *next;
      // Of two errors that are nearly the same rounding could leave less than nothing.
      predicted.curvature[unit][i] +=
          std::max(0.0, pair(i, i) + pair(at, at) - pair(i, at) - pair(at, i));
    }
  }
  return predicted;
}

}  // namespace bitbudget
