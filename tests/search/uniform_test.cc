#include "search/uniform.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/search/toy_runs.h"

namespace bitbudget {
namespace {

using testing::EqualLayers;
using testing::RunMethod;
using testing::SyntheticEvaluator;
using testing::Toy;

constexpr Format kInt8{FormatKind::kInteger, 8, 0, false};

TEST(UniformSearchTest, FindsTheBestFormatThatFits) {
  const Toy toy = EqualLayers(3, 9);
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary =
      RunMethod(*MakeUniformSearch(Objective(Statistic::kKlMean)), toy, evaluator);
  EXPECT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
  EXPECT_EQ(summary.assignment, Assignment(8, kInt8));
  EXPECT_EQ(summary.candidates, 3);  // int4, int4z, int8; bf16 does not fit
  EXPECT_EQ(summary.evaluation, evaluator.Exactly(summary.assignment));
  EXPECT_EQ(summary.size_bytes, toy.problem.TotalBytes(summary.assignment));
}

TEST(UniformSearchTest, RunsThoseOfLeastEstimatedLoss) {
  const Toy toy = EqualLayers(3, 17);  // everything fits
  CostTable estimates(8, std::vector<double>{1, 2, 3, 4});
  for (const int64_t left : {2, 0}) {
    SyntheticEvaluator evaluator(toy);
    SearchContext context;
    context.problem = &toy.problem;
    context.evaluator = &evaluator;
    context.reference = evaluator.Reference();
    context.estimates = &estimates;
    const auto summary = MakeUniformSearch(Objective(Statistic::kKlMean))->Run(context);
    ASSERT_TRUE(summary.ok()) << summary.status();
    EXPECT_EQ(summary->candidates, int64_t{kLikeliestUniform});
    // bf16 was left out while it was estimated to be the worst.
    EXPECT_EQ(summary->assignment == Assignment(8, kFormatBF16), left == 0);
    for (std::vector<double>& row : estimates) row[3] = 0;
  }
}

TEST(UniformSearchTest, PinnedComponentsStay) {
  Toy toy = EqualLayers(3, 9);
  toy.problem.ladders[7] = {toy.problem.ladders[7][3]};
  toy.loss.error[7] = {toy.loss.error[7][3]};
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary =
      RunMethod(*MakeUniformSearch(Objective(Statistic::kKlMean)), toy, evaluator);
  Assignment expected(8, kInt8);
  expected[7] = kFormatBF16;
  // bf16 head: 16 + 7 * 8.125 bits on average 9.1 > 9
  EXPECT_NE(summary.assignment, expected);
  EXPECT_EQ(summary.assignment[7], kFormatBF16);
  EXPECT_TRUE(toy.problem.Fits(summary.assignment));
}

TEST(UniformSearchTest, WithoutACommonFormatThatFitsItIsInfeasible) {
  Toy toy = EqualLayers(3, 4.5);
  toy.problem.ladders[0].erase(toy.problem.ladders[0].begin());  // no int4 for the embedding
  toy.loss.error[0].erase(toy.loss.error[0].begin());
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary =
      RunMethod(*MakeUniformSearch(Objective(Statistic::kKlMean)), toy, evaluator);
  EXPECT_EQ(summary.outcome, SearchOutcome::kInfeasible);
  EXPECT_EQ(summary.candidates, 0);
}

}  // namespace
}  // namespace bitbudget
