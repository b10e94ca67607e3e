#include "search/ordered.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "tests/search/toy_runs.h"

namespace bitbudget {
namespace {

using testing::EqualLayers;
using testing::LossOf;
using testing::RunMethod;
using testing::SyntheticEvaluator;
using testing::Toy;

constexpr Format kInt4{FormatKind::kInteger, 4, 128, false};
constexpr Format kInt4Fine{FormatKind::kInteger, 4, 32, true};
constexpr Format kInt8{FormatKind::kInteger, 8, 0, false};

TEST(OrderedSearchTest, RaisesLayersInOrderOfImportance) {
  const Toy toy = EqualLayers(4, 6);
  SyntheticEvaluator evaluator(toy);
  OrderedOptions options;
  options.name = "layerwise";
  options.layer_order = {2, 0, 3, 1};
  options.widths = {kInt4, kInt8};
  const SearchSummary summary =
      RunMethod(*MakeOrderedSearch(options, Objective(Statistic::kKlMean)), toy, evaluator);
  EXPECT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
  EXPECT_EQ(summary.candidates, 2);  // embedding and head before or after the layers
  EXPECT_TRUE(toy.problem.Fits(summary.assignment));
  // 10 components of 512 * 4.125 bytes, 30720 bytes in all: four or five reach int8.
  auto raised = [&](std::initializer_list<int> components) {
    Assignment assignment(10, kInt4);
    for (const int c : components) assignment[c] = kInt8;
    return assignment;
  };
  const Assignment first = raised({0, 9, 5, 6}), last = raised({5, 6, 1, 2});
  EXPECT_TRUE(summary.assignment == first || summary.assignment == last);
  EXPECT_EQ(summary.assignment, LossOf(toy, first) < LossOf(toy, last) ? first : last);
}

TEST(OrderedSearchTest, FillsTheLayerThatDoesNotFitByComponents) {
  Toy toy = EqualLayers(4, 6);
  const int64_t step = toy.problem.ladders[0][2].bytes - toy.problem.ladders[0][0].bytes;
  toy.problem.limit = ByteBudget{toy.problem.SmallestBytes() + 3 * step};
  SyntheticEvaluator evaluator(toy);
  OrderedOptions options;
  options.name = "random";
  options.layer_order = {3, 2, 1, 0};
  options.widths = {kInt4, kInt8};
  const SearchSummary summary =
      RunMethod(*MakeOrderedSearch(options, Objective(Statistic::kKlMean)), toy, evaluator);
  EXPECT_EQ(std::count(summary.assignment.begin(), summary.assignment.end(), kInt8), 3);
  EXPECT_EQ(summary.size_bytes, toy.problem.MaxBytes());
}

TEST(OrderedSearchTest, ThirdWidthStartsFromTheTopAgain) {
  const Toy toy = EqualLayers(2, 12);
  SyntheticEvaluator evaluator(toy);
  OrderedOptions options;
  options.name = "layerwise";
  options.layer_order = {1, 0};
  options.widths = {kInt4, kInt8, kFormatBF16};
  const SearchSummary summary =
      RunMethod(*MakeOrderedSearch(options, Objective(Statistic::kKlMean)), toy, evaluator);
  for (const Format& format : summary.assignment) EXPECT_NE(format, kInt4);
  // (12 - 8.125) * 6 / (16 - 8.125) = 2.95: two components reach bf16
  EXPECT_EQ(std::count(summary.assignment.begin(), summary.assignment.end(), kFormatBF16), 2);
}

TEST(OrderedSearchTest, ChoosesWidthsAndNotScales) {
  OrderedOptions options;
  options.name = "layerwise";
  options.layer_order = {0, 1, 2, 3};
  for (const double bits : {4.25, 4.7, 6.0}) {
    Toy toy = EqualLayers(4, bits);
    for (auto& choices : toy.loss.error) {  // every larger format is better
      const double share[] = {1, 0.9, 0.1, 0.01};
      for (size_t i = 0; i < choices.size(); ++i) {
        for (size_t d = 0; d < choices[i].size(); ++d) choices[i][d] = choices[0][d] * share[i];
      }
    }
    SyntheticEvaluator evaluator(toy);
    const SearchSummary summary =
        RunMethod(*MakeOrderedSearch(options, Objective(Statistic::kKlMean)), toy, evaluator);
    EXPECT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
    EXPECT_TRUE(toy.problem.Fits(summary.assignment));
    EXPECT_LE(summary.candidates, 12);
    const std::set<Format> used(summary.assignment.begin(), summary.assignment.end());
    // Never two int4 formats side by side; at 6 bits something was raised.
    EXPECT_FALSE(used.contains(kInt4) && used.contains(kInt4Fine));
    EXPECT_LE(used.size(), 2u);
    if (bits == 6.0) {
      EXPECT_EQ(used.size(), 2u);
      EXPECT_TRUE(used.contains(kInt8) || used.contains(kFormatBF16));
    }
  }
}

TEST(OrderedSearchTest, RefusesAnIncompleteOrderAndASingleWidth) {
  const Toy toy = EqualLayers(3, 6);
  SyntheticEvaluator evaluator(toy);
  SearchContext context;
  context.problem = &toy.problem;
  context.evaluator = &evaluator;
  context.reference = evaluator.Reference();
  OrderedOptions options;
  options.name = "layerwise";
  for (const std::vector<int>& order :
       {std::vector<int>{0, 1}, std::vector<int>{0, 1, 1}, std::vector<int>{0, 1, 2, 3}}) {
    options.layer_order = order;
    EXPECT_EQ(
        MakeOrderedSearch(options, Objective(Statistic::kKlMean))->Run(context).status().code(),
        absl::StatusCode::kInvalidArgument);
  }
  options.layer_order = {0, 1, 2};
  options.widths = {kInt4};
  EXPECT_EQ(MakeOrderedSearch(options, Objective(Statistic::kKlMean))->Run(context).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(evaluator.evaluations(), 0);
}

}  // namespace
}  // namespace bitbudget
