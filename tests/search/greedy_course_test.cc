// How a greedy search runs and ends: interruptions, progress, errors, options.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "search/greedy.h"
#include "tests/search/greedy_runs.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using testing::MakeToy;
using testing::Replay;
using testing::RunGreedy;
using testing::RunMethod;
using testing::SyntheticEvaluator;
using testing::Toy;

TEST(GreedySearchTest, AnInterruptionAnywhereReturnsTheBestSoFar) {
  uint64_t seed = 0;  // the first toy with several accepted steps
  while (RunGreedy(MakeToy(seed, 8, 4, 4, 0.3)).trace.size() < 4) ASSERT_LT(++seed, 100u);
  const Toy toy = MakeToy(seed, 8, 4, 4, 0.3);
  const SearchSummary whole = RunGreedy(toy);
  for (int64_t after = 0; after < whole.candidates; ++after) {
    const SearchSummary summary = RunGreedy(toy, Statistic::kKlMean, {.cancel_after = after});
    EXPECT_EQ(summary.outcome, SearchOutcome::kInterrupted);
    EXPECT_EQ(summary.candidates, after);
    EXPECT_EQ(summary.assignment.empty(), after < 1 + 8 * 4 + 1);
    ASSERT_LE(summary.trace.size(), whole.trace.size());
    if (summary.assignment.empty()) continue;
    // The same path, cut off.
    EXPECT_EQ(Replay(summary), summary.assignment);
    for (size_t i = 0; i < summary.trace.size(); ++i) {
      EXPECT_EQ(summary.trace[i].changes, whole.trace[i].changes);
    }
  }
}

class RecordingProgress : public Progress {
 public:
  void Begin(absl::string_view phase, int64_t total) override {
    EXPECT_FALSE(open_);
    open_ = true;
    phases.push_back(std::string(phase));
    EXPECT_GT(total, 0);
    last_ = 0;
  }
  void Update(int64_t done, absl::string_view note) override {
    EXPECT_EQ(done, ++last_);
    EXPECT_EQ(std::string(note).substr(0, 3), "KL ");
    ++updates;
  }
  void End() override {
    EXPECT_TRUE(open_);
    open_ = false;
  }
  bool open() const { return open_; }

  std::vector<std::string> phases;
  int64_t updates = 0;

 private:
  bool open_ = false;
  int64_t last_ = 0;
};

TEST(GreedySearchTest, ReportsEveryEvaluationAndClosesItsPhases) {
  const Toy toy = MakeToy(11, 8, 4, 4, 0.3);
  for (const int64_t cancel_after : {int64_t{-1}, int64_t{20}, int64_t{60}}) {
    SyntheticEvaluator evaluator(toy, {.cancel_after = cancel_after});
    RecordingProgress progress;
    SearchContext context;
    context.problem = &toy.problem;
    context.evaluator = &evaluator;
    context.progress = &progress;
    context.reference = evaluator.Reference();
    const auto summary = MakeGreedySearch({}, Objective(Statistic::kKlMean))->Run(context);
    ASSERT_TRUE(summary.ok());
    EXPECT_EQ(progress.updates, summary->candidates);
    EXPECT_FALSE(progress.open());
    EXPECT_EQ(progress.phases[0], "components alone");
    if (cancel_after < 0) {
      EXPECT_EQ(progress.phases.back(), "swaps");
    }
  }
}

// Better() is not transitive: A beats S and B beats A by divergence, their FDT differences lost in
// noise, while S beats B by FDT.
class IntransitiveEvaluator : public SyntheticEvaluator {
 public:
  using SyntheticEvaluator::SyntheticEvaluator;
  absl::Status SetIncumbent(const Assignment& assignment) override {
    assignment_ = assignment;
    evaluation_ = Of(assignment);
    return absl::OkStatus();
  }
  const Assignment& incumbent() const override { return assignment_; }
  const Evaluation& incumbent_evaluation() const override { return evaluation_; }
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta,
                                      ProbeRange range) override {
    const Evaluation all = Of(WithDelta(assignment_, delta));
    return Evaluation(all.begin() + range.first, all.begin() + range.first + range.count);
  }
  int64_t probe_count() const override { return 2; }
  absl::Status Commit(std::span<const ComponentFormat> delta) override {
    return SetIncumbent(WithDelta(assignment_, delta));
  }

 private:
  static Evaluation Of(const Assignment& assignment) {
    const std::vector<Format> ladder = testing::ToyFormats(3);
    auto probes = [](int fdt_0, int fdt_1, double kl) {
      return Evaluation{{.tokens = 100, .fdt = fdt_0, .sdt = 0, .nll_sum = 5, .kl_sum = kl},
                        {.tokens = 100, .fdt = fdt_1, .sdt = 0, .nll_sum = 5, .kl_sum = kl}};
    };
    const bool alone = assignment[1] == kFormatF32;  // the pinned component not in place
    if (assignment[0] == ladder[2]) return probes(50, 50, alone ? 1 : 9);    // S
    if (assignment[0] == ladder[1]) return probes(47, 51, alone ? 1.5 : 8);  // A
    return probes(48, 48, alone ? 3 : 7);                                    // B
  }

  Assignment assignment_;
  Evaluation evaluation_;
};

TEST(GreedySearchTest, DoesNotWalkInCirclesBelowItsStart) {
  Toy toy = MakeToy(1, 2, 3, 0, 1.0);
  toy.problem.ladders[0] = {{testing::ToyFormats(3)[0], 10},
                            {testing::ToyFormats(3)[1], 20},
                            {testing::ToyFormats(3)[2], 30}};
  toy.problem.ladders[1].resize(1);
  IntransitiveEvaluator evaluator(toy);
  const SearchSummary summary =
      RunMethod(*MakeGreedySearch({}, Objective(Statistic::kFdtMean)), toy, evaluator);
  ASSERT_EQ(summary.trace.size(), 2u);  // S, A
  EXPECT_EQ(summary.assignment[0], testing::ToyFormats(3)[1]);
}

class FailingEvaluator : public SyntheticEvaluator {
 public:
  using SyntheticEvaluator::SyntheticEvaluator;
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat>, ProbeRange) override {
    return absl::InvalidArgumentError("toy.0 cannot be encoded");
  }
};

TEST(GreedySearchTest, OtherErrorsOfTheEvaluatorAreErrors) {
  const Toy toy = MakeToy(1, 4, 3, 4, 0.3);
  FailingEvaluator evaluator(toy);
  SearchContext context;
  context.problem = &toy.problem;
  context.evaluator = &evaluator;
  context.reference = evaluator.Reference();
  EXPECT_EQ(MakeGreedySearch({}, Objective(Statistic::kKlMean))->Run(context).status(),
            absl::InvalidArgumentError("toy.0 cannot be encoded"));
}

TEST(GreedyOptionsTest, ValidateNamesTheField) {
  EXPECT_TRUE(GreedyOptions().Validate().ok());
  EXPECT_NE(GreedyOptions{.max_rounds = -1}.Validate().message().find("max_rounds is -1"),
            absl::string_view::npos);
  EXPECT_NE(GreedyOptions{.max_swap_trials = -2}.Validate().message().find("max_swap_trials is -2"),
            absl::string_view::npos);
}

}  // namespace
}  // namespace bitbudget
