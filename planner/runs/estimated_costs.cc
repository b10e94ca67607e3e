#include "planner/runs/estimated_costs.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/messages.h"
#include "planner/runs/output_errors.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

absl::StatusOr<CostTable> EstimateCosts(const Scorer& scorer,
                                        const SearchProblem& problem,
                                        const ProbeMaker& maker,
                                        Workspace* workspace,
                                        Run* run,
                                        Progress* progress) {
  std::vector<std::vector<Format>> ladders;
  std::string key = absl::StrCat("costs/", scorer.name, "/", scorer.sequences);
  int64_t count = 0;
  for (ComponentId c = 0; c < static_cast<ComponentId>(problem.components.size()); ++c) {
    std::vector<Format>& ladder = ladders.emplace_back();
    absl::StrAppend(&key, "/", c);
    for (const Choice& choice : problem.ladders[problem.UnitOf(c)]) {
      ladder.push_back(choice.format);
      absl::StrAppend(&key, "/", choice.format.Name());
    }
    count += static_cast<int64_t>(ladder.size());
  }
  BB_ASSIGN_OR_RETURN(
      const std::string stored, run->Remember(key, [&]() -> absl::StatusOr<std::string> {
        BB_ASSIGN_OR_RETURN(const auto sequences,
                            GradientSequences(maker, scorer.sequences, workspace, progress));
        ScoreContext context;
        context.model = &workspace->model();
        context.threads = workspace->options().threads;
        context.progress = progress;
        context.transformer = &workspace->transformer();
        context.bank = workspace->bank();
        context.sequences = sequences;
        context.seed = workspace->options().probes.seed;
        context.ladders = &ladders;
        BB_ASSIGN_OR_RETURN(const LayerScores scores, scorer.score(context));
        std::vector<double> all;
        for (const std::vector<double>& costs : scores.costs) {
          all.insert(all.end(), costs.begin(), costs.end());
        }
        return SerializeOutputErrors(all);
      }));
  BB_ASSIGN_OR_RETURN(const std::vector<double> all,
                      ParseOutputErrors(stored, count, "the run store"));
  CostTable table;
  auto next = all.begin();
  for (const std::vector<Format>& ladder : ladders) {
    table.emplace_back(next, next + static_cast<int64_t>(ladder.size()));
    next += static_cast<int64_t>(ladder.size());
  }
  return table;
}

}  // namespace bitbudget
