// What every method owes, whatever its idea.

#include "search/search_method.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "search/additive.h"
#include "search/ordered.h"
#include "search/uniform.h"
#include "tests/search/toy_runs.h"

namespace bitbudget {
namespace {

using testing::EqualLayers;
using testing::RunMethod;
using testing::SyntheticEvaluator;
using testing::Toy;

constexpr Format kInt4{FormatKind::kInteger, 4, 128, false};

TEST(SearchMethodTest, EveryMethodIsInfeasibleBelowTheSmallestSizeAndEvaluatesNothing) {
  Toy toy = EqualLayers(3, 6);
  toy.problem.limit = ByteBudget{toy.problem.SmallestBytes() - 1};
  OrderedOptions options;
  options.name = "layerwise";
  options.layer_order = {0, 1, 2};
  const Objective objective(Statistic::kKlMean);
  std::vector<std::unique_ptr<SearchMethod>> methods;
  methods.push_back(MakeUniformSearch(objective));
  methods.push_back(MakeOrderedSearch(options, objective));
  methods.push_back(MakeAdditiveSearch());
  for (const auto& method : methods) {
    SyntheticEvaluator evaluator(toy);
    const SearchSummary summary = RunMethod(*method, toy, evaluator);
    EXPECT_EQ(summary.outcome, SearchOutcome::kInfeasible) << std::string(method->name());
    EXPECT_TRUE(summary.assignment.empty());
    EXPECT_EQ(evaluator.evaluations(), 0);
  }
}

TEST(SearchMethodTest, AnInterruptionReturnsTheBestSoFar) {
  const Toy toy = EqualLayers(3, 9);
  const Objective objective(Statistic::kKlMean);
  for (int64_t after = 0; after < 3; ++after) {
    SyntheticEvaluator evaluator(toy, {.cancel_after = after});
    const SearchSummary summary = RunMethod(*MakeUniformSearch(objective), toy, evaluator);
    EXPECT_EQ(summary.outcome, SearchOutcome::kInterrupted);
    EXPECT_EQ(summary.candidates, after);
    EXPECT_EQ(summary.assignment.empty(), after == 0);
    if (after == 1) {
      EXPECT_EQ(summary.assignment, Assignment(8, kInt4));
    }
  }
  SyntheticEvaluator evaluator(toy, {.cancel_after = 5});
  const SearchSummary summary = RunMethod(*MakeAdditiveSearch(), toy, evaluator);
  EXPECT_EQ(summary.outcome, SearchOutcome::kInterrupted);
  EXPECT_TRUE(summary.assignment.empty());
}

TEST(SearchMethodTest, ReportsSayWhatHappened) {
  const Toy toy = EqualLayers(3, 9);
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary =
      RunMethod(*MakeUniformSearch(Objective(Statistic::kKlMean)), toy, evaluator);
  EXPECT_NE(summary.BriefReport().find("budget met: 3 candidates"), std::string::npos)
      << summary.BriefReport();
  EXPECT_NE(SearchSummary().BriefReport().find("infeasible"), std::string::npos);
}

}  // namespace
}  // namespace bitbudget
