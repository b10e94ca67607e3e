#ifndef BITBUDGET_TESTS_SEARCH_TOY_RUNS_H_
#define BITBUDGET_TESTS_SEARCH_TOY_RUNS_H_

// Search methods on toys (tests/support/synthetic_evaluator.h).

#include <gtest/gtest.h>

#include <utility>

#include "search/search_method.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget::testing {

inline SearchSummary RunMethod(SearchMethod& method,
                               const Toy& toy,
                               SyntheticEvaluator& evaluator,
                               const CostTable* errors = nullptr) {
  SearchContext context;
  context.problem = &toy.problem;
  context.evaluator = &evaluator;
  context.reference = evaluator.Reference();
  context.errors = errors;
  absl::StatusOr<SearchSummary> summary = method.Run(context);
  EXPECT_TRUE(summary.ok()) << summary.status();
  return *std::move(summary);
}

inline double LossOf(const Toy& toy, const Assignment& assignment) {
  Selection selection;
  for (size_t c = 0; c < assignment.size(); ++c) {
    selection.push_back(toy.problem.IndexOf(static_cast<int>(c), assignment[c]));
  }
  return toy.loss(selection);
}

// `layers` layers of two equal components, an embedding in front and a head behind, all of
// `weights` weights, four formats, `bits_per_weight` on average.
inline Toy EqualLayers(int layers, double bits_per_weight) {
  Toy toy = MakeToy(1, 2 * layers + 2, 4, 0, 0.5);
  SearchProblem& problem = toy.problem;
  const int n = problem.size();
  problem.fixed_bytes = 0;
  for (int c = 0; c < n; ++c) {
    Component& component = problem.components[c];
    component.rows = 32;
    component.cols = 128;
    component.layer = c == 0 || c == n - 1 ? -1 : (c - 1) / 2;
    for (Choice& choice : problem.ladders[c]) choice.bytes = SizeBytes(choice.format, 32, 128);
  }
  problem.limit = ByteBudget{static_cast<int64_t>(bits_per_weight * 32 * 128 * n / 8)};
  return toy;
}

}  // namespace bitbudget::testing

#endif  // BITBUDGET_TESTS_SEARCH_TOY_RUNS_H_
