#include "search/evolution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "tests/search/greedy_runs.h"

namespace bitbudget {
namespace {

using testing::BruteForceLoss;
using testing::EqualLayers;
using testing::LossOf;
using testing::MakeToy;
using testing::Replay;
using testing::RunMethod;
using testing::SyntheticEvaluator;
using testing::Toy;

SearchSummary Evolve(const Toy& toy,
                     const EvolutionOptions& options = {},
                     const SyntheticEvaluator::Options& evaluator_options = {}) {
  SyntheticEvaluator evaluator(toy, evaluator_options);
  return RunMethod(*MakeEvolutionSearch(options, Objective(Statistic::kFdtMean)), toy, evaluator);
}

// What the search starts from: it ends where the work of no generation is left.
SearchSummary StartOf(const Toy& toy) { return Evolve(toy, {.max_evaluations = 1}); }

TEST(EvolutionTest, FindsTheOptimumOfMostToysAndNeverWorseThanItsStart) {
  int optimal = 0;
  int start_optimal = 0;
  int instances = 0;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (const int dimensions : {0, 8}) {
      for (const double fill : {0.2, 0.5, 0.8}) {
        const Toy toy = MakeToy(seed, 7, 4, dimensions, fill);
        const SearchSummary summary = Evolve(toy);
        const double found = LossOf(toy, summary.assignment);
        const double start = LossOf(toy, StartOf(toy).assignment);
        const double best = BruteForceLoss(toy) * (1 + 1e-12);
        EXPECT_LE(found, start);
        optimal += found <= best;
        start_optimal += start <= best;
        ++instances;
      }
    }
  }
  EXPECT_GT(optimal, instances / 2);
  EXPECT_LT(start_optimal, instances / 4);
}

TEST(EvolutionTest, KeepsTheBudgetAndWhatIsPinnedAndTheLimitOfWork) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Toy toy = MakeToy(seed, 9, 4, 4, 0.1 * static_cast<double>(seed));
    toy.problem.ladders[4] = {toy.problem.ladders[4][0]};
    toy.loss.error[4] = {toy.loss.error[4][0]};
    for (const double limit : {0.0, 1.0, 9.0, 40.0}) {
      SyntheticEvaluator evaluator(toy, {.probes = 30, .noise = 0.3});
      const SearchSummary summary =
          RunMethod(*MakeEvolutionSearch({.max_evaluations = limit}, Objective(Statistic::kKlMean)),
                    toy,
                    evaluator);
      EXPECT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
      for (const TraceStep& step : summary.trace) {
        EXPECT_LE(step.size_bytes, toy.problem.MaxBytes());
      }
      EXPECT_EQ(summary.assignment[4], toy.problem.ladders[4][0].format);
      EXPECT_EQ(summary.candidates, evaluator.evaluations());
      EXPECT_LE(summary.computed, std::max(limit, 1.0) * 30);
      EXPECT_EQ(Replay(summary), summary.assignment);
    }
  }
}

// Where a level takes the same of every unit, the format that fills the budget is the start, and an
// accepted step lowers one to three units and raises as many.
TEST(EvolutionTest, UnitsOfOneSizeStartUniformAndSwitchLevels) {
  Toy toy = EqualLayers(3, 8);
  for (std::vector<Choice>& ladder : toy.problem.ladders) {
    for (size_t i = 0; i < ladder.size(); ++i) ladder[i].bytes = 1000 * static_cast<int64_t>(i + 1);
  }
  toy.problem.limit = ByteBudget{3000 * 8};
  const Format third = toy.problem.ladders[0][2].format;
  EXPECT_EQ(StartOf(toy).assignment, Assignment(8, third));
  const SearchSummary summary = Evolve(toy);
  ASSERT_GT(summary.trace.size(), 1u);
  for (size_t i = 1; i < summary.trace.size(); ++i) {
    EXPECT_EQ(summary.trace[i].size_bytes, toy.problem.MaxBytes());
    EXPECT_TRUE(std::set<size_t>({2, 4, 6}).contains(summary.trace[i].changes.size()));
  }
}

TEST(EvolutionTest, EveryParentRanOnAllProbesAndHasALowerLossThanTheOneBefore) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Toy toy = MakeToy(seed, 9, 4, 8, 0.4);
    const SyntheticEvaluator::Options noisy = {.probes = 24, .noise = 0.5};
    const SearchSummary summary = Evolve(toy, {}, noisy);
    const SyntheticEvaluator evaluator(toy, noisy);
    Assignment assignment(toy.problem.components.size(), kFormatF32);
    double last = 1e9;
    for (const TraceStep& step : summary.trace) {
      assignment = WithDelta(assignment, step.changes);
      const Evaluation evaluation = evaluator.Exactly(assignment);
      EXPECT_LT(Compute(Statistic::kLoss, evaluation), last);
      EXPECT_EQ(step.kl_mean, Compute(Statistic::kKlMean, evaluation));
      last = Compute(Statistic::kLoss, evaluation);
    }
    EXPECT_EQ(summary.evaluation, evaluator.Exactly(summary.assignment));
  }
}

// A format that is larger than another one and typically makes a larger error is no level: on the
// way up the pruned one would stand between int4 and int8.
TEST(EvolutionTest, NoLevelIsLargerAndTypicallyWorseThanAnother) {
  Toy toy = EqualLayers(3, 8.5);
  Format pruned = kFormatBF16;
  pruned.sparsity = {SparsityKind::kShare, 700};
  for (UnitId u = 0; u < toy.problem.size(); ++u) {
    Choice& choice = toy.problem.ladders[u][1];
    choice.format = pruned;
    toy.loss.error[u][1] = std::vector<double>(toy.loss.dimensions, 0.0);  // which nobody knows
  }
  const SearchSummary summary = Evolve(toy);
  for (const TraceStep& step : summary.trace) {
    for (const ComponentFormat& change : step.changes) EXPECT_NE(change.format, pruned);
  }
}

TEST(EvolutionTest, IsTheSameTwiceAndAnotherCourseWithAnotherSeed) {
  const Toy toy = MakeToy(3, 9, 4, 8, 0.4);
  const SyntheticEvaluator::Options noisy = {.probes = 24, .noise = 0.5};
  const SearchSummary first = Evolve(toy, {}, noisy);
  const SearchSummary second = Evolve(toy, {}, noisy);
  EXPECT_EQ(first.assignment, second.assignment);
  EXPECT_EQ(first.computed, second.computed);
  const SearchSummary other = Evolve(toy, {.seed = 1}, noisy);
  EXPECT_NE(other.trace[0].changes, first.trace[0].changes);
}

TEST(EvolutionTest, WhatDoesNotFitIsInfeasibleAndEvaluatesNothing) {
  Toy toy = MakeToy(1, 7, 4, 0, 0.5);
  toy.problem.limit = ByteBudget{toy.problem.SmallestBytes() - 1};
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary =
      RunMethod(*MakeEvolutionSearch({}, Objective(Statistic::kKlMean)), toy, evaluator);
  EXPECT_EQ(summary.outcome, SearchOutcome::kInfeasible);
  EXPECT_EQ(evaluator.evaluations(), 0);
}

TEST(EvolutionTest, WithOneAssignmentItIsRunOnce) {
  Toy toy = MakeToy(1, 7, 4, 0, 0.5);
  toy.problem.limit = ByteBudget{toy.problem.SmallestBytes()};
  const SearchSummary summary = Evolve(toy);
  EXPECT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
  EXPECT_EQ(summary.candidates, 1);
}

TEST(EvolutionTest, AnInterruptionLeavesTheBestSoFar) {
  const Toy toy = MakeToy(5, 7, 4, 8, 0.5);
  EXPECT_TRUE(Evolve(toy, {}, {.cancel_after = 0}).assignment.empty());
  for (const int64_t after : {1, 3, 17, 40, 200}) {
    const SearchSummary stopped = Evolve(toy, {}, {.cancel_after = after});
    EXPECT_EQ(stopped.outcome, SearchOutcome::kInterrupted);
    EXPECT_LE(stopped.size_bytes, toy.problem.MaxBytes());
    EXPECT_LE(LossOf(toy, stopped.assignment), LossOf(toy, StartOf(toy).assignment));
  }
}

}  // namespace
}  // namespace bitbudget
