// FDT-guided sparsification, against brute force and on functions with a known answer.

#include "search/sparsify.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "search/merit.h"
#include "search/typical_error.h"
#include "search/uniform.h"
#include "tests/search/sparse_toys.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using testing::ForEveryFitting;
using testing::Sparse;
using testing::SparseToy;
using testing::Steps;
using testing::SyntheticEvaluator;
using testing::Toy;
using testing::TryRun;

SearchSummary Sparsified(const Toy& toy,
                         SyntheticEvaluator& evaluator,
                         const SparsifyOptions& options = SparsifyOptions()) {
  absl::StatusOr<SearchSummary> summary = TryRun(*MakeSparsifySearch(options), toy, evaluator);
  EXPECT_TRUE(summary.ok()) << summary.status();
  return *std::move(summary);
}

Selection SelectionOf(const Toy& toy, const Assignment& assignment) {
  Selection selection;
  for (UnitId u = 0; u < toy.problem.size(); ++u) {
    selection.push_back(toy.problem.IndexOf(u, assignment[u]));
  }
  return selection;
}

// The least merit of any unit when it alone has its choice.
Merit WorstAlone(const Toy& toy, const SyntheticEvaluator& evaluator, const Selection& selection) {
  Merit worst;
  worst.fill(1e300);
  for (UnitId u = 0; u < toy.problem.size(); ++u) {
    Assignment alone(selection.size(), kFormatBF16);
    alone[u] = toy.problem.ladders[u][selection[u]].format;
    worst = std::min(worst, MeritOf(MeritKind::kFdt, evaluator.Exactly(alone)));
  }
  return worst;
}

TEST(SparsifyTest, ARoundWhoseStepsAreAllMeasuredIsTheMaxMinOptimum) {
  int removed = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    // One round of 30 points probes what is next to 15, 45 and 100 points: the whole ladder.
    Toy toy = SparseToy(seed, 6, {0, 150, 400, 1000}, seed % 2 == 0 ? 0 : 3);
    toy.problem.limit = SparsityTarget{300};
    SyntheticEvaluator evaluator(toy, {.noise = 0.3});
    SparsifyOptions options;
    options.round_permille = {300};
    const SearchSummary summary = Sparsified(toy, evaluator, options);
    ASSERT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
    const Selection found = SelectionOf(toy, summary.assignment);
    EXPECT_GE(toy.problem.SparsityPermilleOf(found), 300);
    Merit best;
    best.fill(-1e300);
    ForEveryFitting(toy.problem, [&](const Selection& selection) {
      best = std::max(best, WorstAlone(toy, evaluator, selection));
    });
    EXPECT_EQ(WorstAlone(toy, evaluator, found), best) << "seed " << seed;
    EXPECT_EQ(summary.rounds, 1);
    EXPECT_EQ(summary.candidates, 1 + 6 * 3);
    for (const Format& format : summary.assignment) removed += format == Sparse(1000);
  }
  EXPECT_GT(removed, 0);
}

TEST(SparsifyTest, EveryRoundAddsItsPointsUpToOneStepAndTheLastIsCutToTheTarget) {
  for (const int target : {50, 200, 330, 600, 750, 870, 1000}) {
    Toy toy = SparseToy(5, 8, Steps(25));
    toy.problem.limit = SparsityTarget{target};
    SyntheticEvaluator evaluator(toy);
    const SearchSummary summary = Sparsified(toy, evaluator);
    ASSERT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
    EXPECT_EQ(summary.trace.size(), summary.rounds + 1u);
    int64_t weights = 0, largest = 0;
    for (UnitId u = 0; u < toy.problem.size(); ++u) {
      weights += toy.problem.Weights(u);
      largest = std::max(largest, toy.problem.Weights(u));
    }
    const double step = 25.0 * static_cast<double>(largest) / static_cast<double>(weights);
    const std::vector<int> rounds = SparsifyOptions().round_permille;
    Assignment assignment(8, kFormatBF16);
    double before = 0;
    for (size_t i = 1; i < summary.trace.size(); ++i) {
      for (const ComponentFormat& change : summary.trace[i].changes) {
        EXPECT_GT(SparsityPermille(change.format), SparsityPermille(assignment[change.component]));
        assignment[change.component] = change.format;
      }
      const double zeros = toy.problem.SparsityPermilleOf(SelectionOf(toy, assignment));
      const double wanted =
          std::min<double>(before + rounds[std::min(i - 1, rounds.size() - 1)], target);
      EXPECT_GE(zeros, wanted);
      EXPECT_LT(zeros, wanted + step);
      before = zeros;
    }
    EXPECT_EQ(assignment, summary.assignment);
    EXPECT_EQ(summary.evaluation, evaluator.Exactly(assignment));
    EXPECT_FALSE(summary.note.empty());
  }
}

TEST(SparsifyTest, ABudgetInBytesIsMetAndHardlyUndercut) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Toy toy = SparseToy(seed, 8, Steps(25));
    const int64_t dense = toy.problem.TotalBytes(Selection(8, 40));
    toy.problem.limit = ByteBudget{dense * 45 / 100};
    SyntheticEvaluator evaluator(toy);
    const SearchSummary summary = Sparsified(toy, evaluator);
    ASSERT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
    EXPECT_LE(summary.size_bytes, toy.problem.MaxBytes());
    int64_t step = 0;
    for (UnitId u = 0; u < 8; ++u) step = std::max(step, toy.problem.ladders[u][1].bytes);
    EXPECT_GT(summary.size_bytes + step, toy.problem.MaxBytes());
  }
}

TEST(SparsifyTest, LosesLessThanTheSameShareEverywhere) {
  double ratio = 0;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Toy toy = SparseToy(seed, 10, Steps(25));
    toy.problem.limit = SparsityTarget{600};
    SyntheticEvaluator evaluator(toy);
    const SearchSummary summary = Sparsified(toy, evaluator);
    const Selection uniform = toy.problem.Uniform(Sparse(600));
    const double lost = toy.loss(SelectionOf(toy, summary.assignment)) / toy.loss(uniform);
    EXPECT_LT(lost, 1.02) << "seed " << seed;  // one step more than 60 % in one unit
    ratio += lost / 30;
  }
  EXPECT_LT(ratio, 0.8);
}

TEST(SparsifyTest, LaterRoundsMeasureInTheContextOfEarlierOnes) {
  // Units 0 and 1 err the same way: alone they are the least harmful ones, but when one has gone
  // the other does more harm than unit 2.
  Toy toy = SparseToy(1, 4, {0, 1000});
  const double alone[] = {0.10, 0.11, 0.13, 0.5};
  for (UnitId u = 0; u < 4; ++u) {
    toy.problem.components[u].rows = 32;
    toy.loss.error[u][0].assign(4, 0);
    toy.loss.error[u][0][u < 2 ? 0 : u] = alone[u];
  }
  toy.problem.limit = SparsityTarget{500};
  SyntheticEvaluator evaluator(toy);
  SparsifyOptions options;
  options.round_permille = {250};
  const SearchSummary summary = Sparsified(toy, evaluator, options);
  ASSERT_EQ(summary.trace.size(), 3u);
  EXPECT_EQ(summary.trace[1].changes, (std::vector<ComponentFormat>{{0, Sparse(1000)}}));
  EXPECT_EQ(summary.trace[2].changes, (std::vector<ComponentFormat>{{2, Sparse(1000)}}));
  // The reference stays the dense model.
  EXPECT_EQ(summary.trace[2].kl_mean,
            Compute(Statistic::kKlMean, evaluator.Exactly(summary.assignment)));
}

TEST(SparsifyTest, PinnedUnitsStayAndDoNotCount) {
  Toy toy = SparseToy(2, 6, Steps(25));
  toy.problem.ladders[3] = {toy.problem.ladders[3].back()};
  toy.loss.error[3] = {toy.loss.error[3].back()};
  toy.problem.limit = SparsityTarget{500};
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary = Sparsified(toy, evaluator);
  EXPECT_EQ(summary.assignment[3], kFormatBF16);
  int64_t zeros = 0, weights = 0;
  for (const UnitId u : {0, 1, 2, 4, 5}) {
    zeros += toy.problem.Weights(u) * SparsityPermille(summary.assignment[u]);
    weights += toy.problem.Weights(u);
  }
  EXPECT_GE(zeros, 500 * weights);
}

TEST(SparsifyTest, RefusesLaddersThatDifferInMoreThanSparsity) {
  Toy toy = SparseToy(2, 3, {0, 500, 1000});
  toy.problem.ladders[1][0].format = {FormatKind::kInteger, 4, 64, false};
  SyntheticEvaluator evaluator(toy);
  const absl::Status status =
      TryRun(*MakeSparsifySearch(SparsifyOptions()), toy, evaluator).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "toy.1 may become")) << status;
  EXPECT_EQ(evaluator.evaluations(), 0);
}

TEST(SparsifyTest, AnUnreachableTargetIsInfeasibleAndRunsNothing) {
  Toy toy = SparseToy(2, 3, {0, 250, 500});
  toy.problem.limit = SparsityTarget{501};
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary = Sparsified(toy, evaluator);
  EXPECT_EQ(summary.outcome, SearchOutcome::kInfeasible);
  EXPECT_EQ(evaluator.evaluations(), 0);
}

TEST(SparsifyTest, AnInterruptionHasNoResultBeforeTheTarget) {
  Toy toy = SparseToy(2, 3, Steps(25));
  toy.problem.limit = SparsityTarget{600};
  SyntheticEvaluator evaluator(toy, {.cancel_after = 20});
  const SearchSummary summary = Sparsified(toy, evaluator);
  EXPECT_EQ(summary.outcome, SearchOutcome::kInterrupted);
  EXPECT_TRUE(summary.assignment.empty());
}

TEST(SparsifyTest, OptionsNameWhatIsWrong) {
  SparsifyOptions options;
  EXPECT_TRUE(options.Validate().ok());
  options.round_permille = {200, 0};
  EXPECT_TRUE(absl::StrContains(options.Validate().message(), "round_permille has 0"));
  options.round_permille = {};
  EXPECT_FALSE(options.Validate().ok());
}

TEST(UniformSearchTest, WithATargetOfZerosTakesNothingDenser) {
  Toy toy = SparseToy(3, 5, Steps(100));
  toy.problem.limit = SparsityTarget{550};
  SyntheticEvaluator evaluator(toy);
  const absl::StatusOr<SearchSummary> summary =
      TryRun(*MakeUniformSearch(Objective(Statistic::kKlMean)), toy, evaluator);
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->assignment, Assignment(5, Sparse(600)));
  EXPECT_EQ(summary->candidates, 5);  // 600, 700, ... 1000
}

}  // namespace
}  // namespace bitbudget
