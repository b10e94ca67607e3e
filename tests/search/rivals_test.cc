// The methods that greedy search is compared with: uniform, ordered and additive.

#include <gtest/gtest.h>

#include <set>

#include "search/additive.h"
#include "search/ordered.h"
#include "search/search_session.h"
#include "search/uniform.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using testing::BruteForceLoss;
using testing::MakeToy;
using testing::SyntheticEvaluator;
using testing::Toy;

constexpr Format kInt4{FormatKind::kInteger, 4, 128, false};
constexpr Format kInt4Fine{FormatKind::kInteger, 4, 32, true};
constexpr Format kInt8{FormatKind::kInteger, 8, 0, false};

SearchSummary RunMethod(SearchMethod& method, const Toy& toy, SyntheticEvaluator& evaluator) {
  SearchContext context;
  context.problem = &toy.problem;
  context.evaluator = &evaluator;
  context.reference = evaluator.Reference();
  absl::StatusOr<SearchSummary> summary = method.Run(context);
  EXPECT_TRUE(summary.ok()) << summary.status();
  return *std::move(summary);
}

double LossOf(const Toy& toy, const Assignment& assignment) {
  Selection selection;
  for (size_t c = 0; c < assignment.size(); ++c) {
    selection.push_back(toy.problem.IndexOf(static_cast<int>(c), assignment[c]));
  }
  return toy.loss(selection);
}

// `layers` layers of two equal components, an embedding in front and a head behind, all of
// `weights` weights, four formats, `bits_per_weight` on average.
Toy EqualLayers(int layers, double bits_per_weight) {
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

TEST(AdditiveSearchTest, MeasuresEveryChoiceAlone) {
  Toy toy = MakeToy(3, 4, 3, 5, 0.4);
  toy.problem.ladders[2].resize(1);
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary = RunMethod(*MakeAdditiveSearch(), toy, evaluator);
  ASSERT_EQ(summary.alone.size(), 9u);  // the pinned component is not measured
  size_t i = 0;
  for (const int c : {0, 1, 3}) {
    for (int choice = 0; choice < 3; ++choice, ++i) {
      EXPECT_EQ(summary.alone[i].change,
                (ComponentFormat{c, toy.problem.ladders[c][choice].format}));
      // Rounding of the sums over dimensions and probes.
      EXPECT_NEAR(
          summary.alone[i].kl_mean, toy.loss.Alone(c, choice), 1e-14 * toy.loss.Alone(c, choice));
    }
  }
  EXPECT_EQ(summary.candidates, 1 + 9 + 1);
  EXPECT_EQ(evaluator.evaluations(), summary.candidates);
}

TEST(AdditiveSearchTest, AFormatTheReferenceHasNeedsNoRun) {
  const Toy toy = MakeToy(3, 4, 4, 0, 0.4);
  SyntheticEvaluator evaluator(toy);
  SearchContext context;
  context.problem = &toy.problem;
  context.evaluator = &evaluator;
  context.reference = Assignment(4, kFormatBF16);
  SearchSession session(context);
  const auto alone = MeasureAlone(context, 1.3, session);
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ(alone->measured.size(), 16u);
  EXPECT_EQ(evaluator.evaluations(), 1 + 4 * 3);
}

// The toy's losses as relative errors: what stage 0 would give if a component's loss were exactly
// proportional to them, by a factor that differs from component to component.
CostTable ProportionalErrors(const Toy& toy) {
  CostTable errors;
  for (int c = 0; c < toy.problem.size(); ++c) {
    errors.emplace_back();
    for (size_t i = 0; i < toy.problem.ladders[c].size(); ++i) {
      errors.back().push_back(toy.loss.Alone(c, static_cast<int>(i)) / (0.1 + 3.0 * c));
    }
  }
  return errors;
}

SearchSummary RunPredicting(SearchMethod& method,
                            const Toy& toy,
                            const CostTable& errors,
                            SyntheticEvaluator& evaluator) {
  SearchContext context;
  context.problem = &toy.problem;
  context.evaluator = &evaluator;
  context.reference = evaluator.Reference();
  context.errors = &errors;
  auto summary = method.Run(context);
  EXPECT_TRUE(summary.ok()) << summary.status();
  return *std::move(summary);
}

TEST(AdditiveSearchTest, PredictionsThatHoldGiveTheOptimumForOneRunAndAThirdPerComponent) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    for (const double fill : {0.1, 0.3, 0.6}) {
      const Toy toy = MakeToy(seed, 7, 4, 0, fill);
      // Four probes: a screening run is a whole one.
      SyntheticEvaluator evaluator(toy);
      const std::unique_ptr<SearchMethod> method = MakeAdditiveSearch();
      const SearchSummary summary = RunPredicting(*method, toy, ProportionalErrors(toy), evaluator);
      const double best = BruteForceLoss(toy);
      EXPECT_NEAR(LossOf(toy, summary.assignment), best, 1e-9 * best);  // the fit's tolerance
      EXPECT_LE(summary.candidates, 1 + 9 + 1);  // 9 = floor(1.3 * 7); the reference, the result
      EXPECT_LT(summary.computed, summary.naive);
      // All choices and the result; the reference needs no search.
      EXPECT_EQ(summary.naive, 4 * (1 + 7 * 4 + 1));
    }
  }
}

TEST(AdditiveSearchTest, WrongPredictionsAreMeasuredWhereTheyMatter) {
  double predicted_excess = 0, measured_excess = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Toy toy = MakeToy(seed, 10, 4, 0, 0.3);
    CostTable errors = ProportionalErrors(toy);
    Random random(seed, {77});
    for (auto& row : errors) {
      for (double& error : row) error *= std::exp(random.Uniform() - 0.5);
    }
    // 16 probes: screening runs cost a quarter, so 52 are allowed.
    SyntheticEvaluator evaluator(toy, {.probes = 16});
    const std::unique_ptr<SearchMethod> method = MakeAdditiveSearch();
    const SearchSummary summary = RunPredicting(*method, toy, errors, evaluator);
    const double best = BruteForceLoss(toy);
    measured_excess += LossOf(toy, summary.assignment) / best - 1;
    const Selection blind = MinimizeSum(toy.problem, errors);
    predicted_excess += toy.loss(blind) / best - 1;
    EXPECT_LE(summary.computed, 16 * (1 + 1.3 * 10 + 1));
  }
  EXPECT_LT(measured_excess / 40, 0.01);
  EXPECT_GT(predicted_excess / 40, 0.1);
}

TEST(AdditiveSearchTest, IsOptimalWhenDivergencesAddUp) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    for (const double fill : {0.05, 0.2, 0.4, 0.7}) {
      const Toy toy = MakeToy(seed, 7, 3, 0, fill);
      SyntheticEvaluator evaluator(toy);
      const SearchSummary summary = RunMethod(*MakeAdditiveSearch(), toy, evaluator);
      EXPECT_TRUE(toy.problem.Fits(summary.assignment));
      const double best = BruteForceLoss(toy);
      // The measured costs are rounded sums, so an equally good selection may be taken.
      EXPECT_NEAR(LossOf(toy, summary.assignment), best, 1e-13 * best);
    }
  }
}

TEST(RivalsTest, EveryMethodIsInfeasibleBelowTheSmallestSizeAndEvaluatesNothing) {
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

TEST(RivalsTest, AnInterruptionReturnsTheBestSoFar) {
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

TEST(RivalsTest, ReportsSayWhatHappened) {
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
