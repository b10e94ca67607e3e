// Sparsification with training after its rounds, on functions that the training changes.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "search/retrainer.h"
#include "search/sparsify.h"
#include "tests/search/sparse_toys.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using testing::SparseToy;
using testing::Steps;
using testing::SyntheticEvaluator;
using testing::Toy;
using testing::TryRun;

// Training halves the errors of all choices. It fails where it is asked with `stop_at` rounds left.
class HalvingRetrainer : public Retrainer {
 public:
  explicit HalvingRetrainer(Toy* toy, int64_t stop_at = -1) : toy_(*toy), stop_at_(stop_at) {}

  absl::Status Retrain(const Assignment& assignment, const RoundsDone& rounds) override {
    assignments.push_back(assignment);
    done.push_back(rounds.done);
    left.push_back(rounds.left);
    if (rounds.left == stop_at_) return absl::CancelledError("interrupted");
    for (auto& unit : toy_.loss.error) {
      for (auto& choice : unit) {
        for (double& e : choice) e /= 2;
      }
    }
    return absl::OkStatus();
  }

  std::vector<Assignment> assignments;
  std::vector<int64_t> done, left;

 private:
  Toy& toy_;
  const int64_t stop_at_;
};

SearchSummary Sparsified(const Toy& toy, SyntheticEvaluator* evaluator, Retrainer* retrainer) {
  const auto summary = TryRun(*MakeSparsifySearch(SparsifyOptions()), toy, *evaluator, retrainer);
  EXPECT_TRUE(summary.ok()) << summary.status();
  return summary.ok() ? *summary : SearchSummary();
}

TEST(SparsifyRetrainTest, EveryRoundIsTrainedUnderItsMasksAndMeasuredAgain) {
  Toy toy = SparseToy(2, 6, Steps(25));
  toy.problem.limit = SparsityTarget{600};
  SyntheticEvaluator evaluator(toy);
  HalvingRetrainer retrainer(&toy);
  const SearchSummary summary = Sparsified(toy, &evaluator, &retrainer);
  EXPECT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
  // 20, 15, 10, 10 and 5 points; steps of whole units can spare the last round.
  const auto rounds = static_cast<size_t>(summary.rounds);
  EXPECT_GE(rounds, 4u);
  ASSERT_EQ(summary.trace.size(), 1 + 2 * rounds);
  ASSERT_EQ(retrainer.assignments.size(), rounds);
  Assignment assignment;
  for (const ComponentFormat& change : summary.trace[0].changes) {
    assignment.push_back(change.format);
  }
  for (size_t r = 0; r < rounds; ++r) {
    const TraceStep& pruned = summary.trace[1 + 2 * r];
    const TraceStep& trained = summary.trace[2 + 2 * r];
    EXPECT_TRUE(absl::StrContains(pruned.what, "zeros")) << pruned.what;
    assignment = WithDelta(assignment, pruned.changes);
    EXPECT_EQ(retrainer.assignments[r], assignment);
    EXPECT_EQ(retrainer.done[r], static_cast<int64_t>(r) + 1);
    EXPECT_EQ(trained.what, "retrained");
    EXPECT_TRUE(trained.changes.empty());
    // Half the error is a quarter of the loss.
    EXPECT_NEAR(trained.kl_mean, pruned.kl_mean / 4, 1e-12);
  }
  EXPECT_EQ(retrainer.left.front(), 4);
  EXPECT_EQ(retrainer.left.back(), 0);
  EXPECT_EQ(summary.assignment, assignment);
  EXPECT_EQ(summary.evaluation, evaluator.Exactly(assignment));
  EXPECT_FALSE(absl::StrContains(summary.note, "without")) << summary.note;
}

TEST(SparsifyRetrainTest, LaterRoundsChooseByTheTrainedModel) {
  // Training makes unit 1 harmless, whose loss is the largest before.
  Toy toy = SparseToy(1, 3, {0, 1000});
  for (UnitId u = 0; u < 3; ++u) {
    toy.problem.components[u].rows = 32;
    toy.loss.error[u][0].assign(3, 0);
    toy.loss.error[u][0][u] = 0.1 + 0.1 * u;
  }
  toy.problem.limit = SparsityTarget{600};
  class Helpful : public Retrainer {
   public:
    explicit Helpful(Toy* toy) : toy_(*toy) {}
    absl::Status Retrain(const Assignment&, const RoundsDone&) override {
      toy_.loss.error[2][0][2] = 0;
      return absl::OkStatus();
    }

   private:
    Toy& toy_;
  } helpful(&toy);
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary = Sparsified(toy, &evaluator, &helpful);
  EXPECT_EQ(summary.assignment[2], testing::Sparse(1000));
  EXPECT_EQ(summary.assignment[0], testing::Sparse(1000));
  EXPECT_EQ(summary.assignment[1], testing::Sparse(0));
}

TEST(SparsifyRetrainTest, AnInterruptionOfTheLastTrainingKeepsTheMasksOfAnEarlierOneNothing) {
  for (const int64_t stop_at : {0, 1}) {
    Toy toy = SparseToy(2, 6, Steps(25));
    toy.problem.limit = SparsityTarget{600};
    SyntheticEvaluator evaluator(toy);
    HalvingRetrainer retrainer(&toy, stop_at);
    const SearchSummary summary = Sparsified(toy, &evaluator, &retrainer);
    EXPECT_EQ(summary.outcome, SearchOutcome::kInterrupted);
    ASSERT_EQ(retrainer.left.back(), stop_at);
    if (stop_at > 0) {
      EXPECT_TRUE(summary.assignment.empty());
    } else {
      EXPECT_EQ(summary.assignment, retrainer.assignments.back());
    }
  }
}

TEST(SparsifyRetrainTest, TheRoundsToAByteBudgetAreCountedDownToo) {
  Toy toy = SparseToy(4, 6, Steps(25));
  int64_t weights = 0;
  for (UnitId u = 0; u < toy.problem.size(); ++u) weights += toy.problem.Weights(u);
  toy.problem.limit = ByteBudget{toy.problem.fixed_bytes + weights};  // of two bytes each: a half
  SyntheticEvaluator evaluator(toy);
  HalvingRetrainer retrainer(&toy);
  const SearchSummary summary = Sparsified(toy, &evaluator, &retrainer);
  EXPECT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
  ASSERT_GE(retrainer.left.size(), 3u);
  for (size_t r = 1; r < retrainer.left.size(); ++r) {
    EXPECT_LT(retrainer.left[r], retrainer.left[r - 1]);
  }
  EXPECT_EQ(retrainer.left.back(), 0);
}

}  // namespace
}  // namespace bitbudget
