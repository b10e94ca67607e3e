#include "search/additive.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "search/search_session.h"
#include "tests/search/toy_runs.h"

namespace bitbudget {
namespace {

using testing::BruteForceLoss;
using testing::LossOf;
using testing::MakeToy;
using testing::RunMethod;
using testing::SyntheticEvaluator;
using testing::Toy;

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

TEST(AdditiveSearchTest, EstimatesOfDivergencesAreTakenWithoutARun) {
  const Toy toy = MakeToy(3, 4, 4, 0, 0.4);
  SyntheticEvaluator evaluator(toy);
  CostTable estimates;
  for (int c = 0; c < 4; ++c) {
    for (int i = 0; i < 4; ++i) {
      if (i == 0) estimates.emplace_back();
      estimates[c].push_back(toy.loss.Alone(c, i) * 1.01);
    }
  }
  SearchContext context;
  context.problem = &toy.problem;
  context.evaluator = &evaluator;
  context.reference = evaluator.Reference();
  context.errors = &estimates;
  context.estimates = &estimates;
  const auto summary = MakeAdditiveSearch()->Run(context);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->outcome, SearchOutcome::kBudgetMet);
  EXPECT_EQ(summary->candidates, 1);
  EXPECT_TRUE(summary->alone.empty());
  SyntheticEvaluator measured(toy);
  EXPECT_EQ(summary->assignment, RunMethod(*MakeAdditiveSearch(), toy, measured).assignment);
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

TEST(AdditiveSearchTest, PredictionsThatHoldGiveTheOptimumForOneRunAndAThirdPerComponent) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    for (const double fill : {0.1, 0.3, 0.6}) {
      const Toy toy = MakeToy(seed, 7, 4, 0, fill);
      // Four probes: a screening run is a whole one.
      SyntheticEvaluator evaluator(toy);
      const CostTable errors = ProportionalErrors(toy);
      const std::unique_ptr<SearchMethod> method = MakeAdditiveSearch();
      const SearchSummary summary = RunMethod(*method, toy, evaluator, &errors);
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
    const Toy toy = MakeToy(seed, 8, 4, 0, 0.3);
    CostTable errors = ProportionalErrors(toy);
    Random random(seed, {77});
    for (auto& row : errors) {
      for (double& error : row) error *= std::exp(random.Uniform() - 0.5);
    }
    // 16 probes: screening runs cost a quarter, so 41 are allowed.
    SyntheticEvaluator evaluator(toy, {.probes = 16});
    const std::unique_ptr<SearchMethod> method = MakeAdditiveSearch();
    const SearchSummary summary = RunMethod(*method, toy, evaluator, &errors);
    const double best = BruteForceLoss(toy);
    measured_excess += LossOf(toy, summary.assignment) / best - 1;
    const Selection blind = MinimizeSum(toy.problem, errors);
    predicted_excess += toy.loss(blind) / best - 1;
    EXPECT_LE(summary.computed, 16 * (1 + 1.3 * 8 + 1));
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

// Two units, of which one may be large. As predicted from one measurement each, raising unit 1 is
// better by less than predictions are off; in truth raising unit 0 is.
TEST(AdditiveSearchTest, MeasuresWhatTheModelsUncertaintyLeavesOpen) {
  Toy toy = MakeToy(1, 2, 2, 0, 0.5);
  for (auto& ladder : toy.problem.ladders) {
    ladder[0].bytes = 100;
    ladder[1].bytes = 200;
  }
  toy.problem.fixed_bytes = 0;
  toy.problem.limit = ByteBudget{300};
  const double loss[2][2] = {{1.0, 0.3}, {0.5, 0.2}};
  for (UnitId u = 0; u < 2; ++u) {
    for (int i = 0; i < 2; ++i) {
      toy.loss.error[u][i].assign(2, 0.0);
      toy.loss.error[u][i][u] = std::sqrt(loss[u][i]);
    }
  }
  const CostTable errors = {{1.0, 0.6}, {0.7, 0.2}};
  SyntheticEvaluator evaluator(toy, {.probes = 24});  // room for 15 screening runs
  const SearchSummary summary = RunMethod(*MakeAdditiveSearch(), toy, evaluator, &errors);
  EXPECT_EQ(summary.assignment, toy.problem.ToAssignment({1, 0}));
  EXPECT_EQ(summary.alone.size(), 4u);
}

}  // namespace
}  // namespace bitbudget
