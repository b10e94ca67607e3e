#include "planner/runs/estimated_costs.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/messages.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

std::vector<std::vector<Format>> LaddersByComponent(const SearchProblem& problem) {
  std::vector<std::vector<Format>> ladders;
  for (ComponentId c = 0; c < static_cast<ComponentId>(problem.components.size()); ++c) {
    std::vector<Format>& ladder = ladders.emplace_back();
    for (const Choice& choice : problem.ladders[problem.UnitOf(c)]) {
      ladder.push_back(choice.format);
    }
  }
  return ladders;
}

std::string LadderKey(const std::vector<std::vector<Format>>& ladders) {
  std::string key;
  for (size_t c = 0; c < ladders.size(); ++c) {
    absl::StrAppend(&key, "/", c);
    for (const Format& format : ladders[c]) absl::StrAppend(&key, "/", format.Name());
  }
  return key;
}

absl::StatusOr<EstimatedCosts> EstimateCosts(const Scorer& scorer,
                                             const SearchProblem& problem,
                                             const WeightedSequences& sequences,
                                             Workspace* workspace,
                                             Run* run,
                                             Progress* progress) {
  const std::vector<std::vector<Format>> ladders = LaddersByComponent(problem);
  const WeightedSequences taken = sequences.First(static_cast<size_t>(scorer.sequences));
  const std::string key = absl::StrCat(
      "costs/", scorer.name, "/", taken.Sha256(), scorer.pairs ? "/pairs" : "", LadderKey(ladders));
  const auto measure = [&]() -> absl::StatusOr<std::string> {
    const std::vector<float> weights = taken.AllWeights();
    ScoreContext context;
    context.model = &workspace->model();
    context.threads = workspace->options().threads;
    context.progress = progress;
    context.transformer = &workspace->transformer();
    context.bank = workspace->bank();
    context.sequences = taken.tokens;
    context.row_weights = weights;
    context.seed = workspace->options().probes.seed;
    context.ladders = &ladders;
    context.pairs = scorer.pairs;
    BB_ASSIGN_OR_RETURN(const LayerScores scores, scorer.score(context));
    std::vector<double> all;
    for (const auto* table : {&scores.costs, &scores.pairs}) {
      for (const std::vector<double>& row : *table) all.insert(all.end(), row.begin(), row.end());
    }
    return SerializeOutputErrors(all);
  };
  BB_ASSIGN_OR_RETURN(const std::string stored, run->Remember(key, measure));
  int64_t count = 0;
  for (const std::vector<Format>& ladder : ladders) {
    const int64_t formats = static_cast<int64_t>(ladder.size());
    count += formats + (scorer.pairs ? formats * formats : 0);
  }
  BB_ASSIGN_OR_RETURN(const std::vector<double> all,
                      ParseOutputErrors(stored, count, "the run store"));
  EstimatedCosts estimated;
  auto next = all.begin();
  const auto take = [&](size_t size) {
    next += static_cast<int64_t>(size);
    return std::vector<double>(next - static_cast<int64_t>(size), next);
  };
  for (const std::vector<Format>& ladder : ladders) estimated.costs.push_back(take(ladder.size()));
  if (!scorer.pairs) return estimated;
  for (const std::vector<Format>& ladder : ladders) {
    estimated.pairs.push_back(take(ladder.size() * ladder.size()));
  }
  return estimated;
}

}  // namespace bitbudget
