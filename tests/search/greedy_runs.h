#ifndef BITBUDGET_TESTS_SEARCH_GREEDY_RUNS_H_
#define BITBUDGET_TESTS_SEARCH_GREEDY_RUNS_H_

#include <utility>

#include "search/greedy.h"
#include "tests/search/toy_runs.h"

namespace bitbudget {
namespace testing {

inline constexpr Statistic kAllStatistics[] = {Statistic::kFdtMean,
                                               Statistic::kFdt75,
                                               Statistic::kSdtMean,
                                               Statistic::kDppl,
                                               Statistic::kKlMean};

inline SearchSummary RunGreedy(const Toy& toy,
                               Statistic statistic = Statistic::kKlMean,
                               SyntheticEvaluator::Options evaluator_options = {},
                               GreedyOptions options = {}) {
  SyntheticEvaluator evaluator(toy, evaluator_options);
  return RunMethod(*MakeGreedySearch(options, Objective(statistic)), toy, evaluator);
}

// The assignment that the trace's changes lead to.
inline Assignment Replay(const SearchSummary& summary) {
  Assignment assignment(summary.assignment.size(), kFormatF32);
  for (const TraceStep& step : summary.trace) {
    assignment = WithDelta(std::move(assignment), step.changes);
  }
  return assignment;
}

}  // namespace testing
}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SEARCH_GREEDY_RUNS_H_
