// Ordered quantization with a beam, against brute force.

#include "search/beam.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using testing::ForEveryFitting;
using testing::MakeToy;
using testing::SyntheticEvaluator;
using testing::Toy;

// `units` units of equal size in two formats, of which `low` must be low.
Toy TwoFormats(uint64_t seed, int units, int dimensions, int low) {
  Toy toy = MakeToy(seed, units, 4, dimensions, 0.5);
  SearchProblem& problem = toy.problem;
  for (UnitId u = 0; u < units; ++u) {
    problem.components[u].rows = 32;
    problem.ladders[u] = {{problem.ladders[u][0].format, 2000}, {kFormatBF16, 8000}};
    std::vector<double>& high = toy.loss.error[u][3];
    std::fill(high.begin(), high.end(), 0.0);
    toy.loss.error[u] = {toy.loss.error[u][0], high};
  }
  problem.fixed_bytes = 0;
  problem.limit = ByteBudget{int64_t{8000} * units - int64_t{6000} * low};
  return toy;
}

BeamOptions Options(int width, MeritKind order, bool exhaustive) {
  BeamOptions options;
  options.width = width;
  options.order = order;
  options.exhaustive = exhaustive;
  return options;
}

absl::StatusOr<SearchSummary> TryRun(const BeamOptions& options,
                                     const Toy& toy,
                                     SyntheticEvaluator& evaluator,
                                     CandidateEvaluator* text = nullptr) {
  SearchContext context;
  context.problem = &toy.problem;
  context.evaluator = &evaluator;
  context.reference = evaluator.Reference();
  context.text = text;
  return MakeBeamSearch(options)->Run(context);
}

SearchSummary RunBeam(const BeamOptions& options,
                      const Toy& toy,
                      SyntheticEvaluator& evaluator,
                      CandidateEvaluator* text = nullptr) {
  absl::StatusOr<SearchSummary> summary = TryRun(options, toy, evaluator, text);
  EXPECT_TRUE(summary.ok()) << summary.status();
  return *std::move(summary);
}

double LossOf(const Toy& toy, const Assignment& assignment) {
  Selection selection;
  for (UnitId u = 0; u < toy.problem.size(); ++u) {
    selection.push_back(toy.problem.IndexOf(u, assignment[u]));
  }
  return toy.loss(selection);
}

// The units of the trace, in order.
std::vector<UnitId> OrderOf(const SearchSummary& summary) {
  std::vector<UnitId> order;
  for (size_t i = 1; i < summary.trace.size(); ++i) {
    EXPECT_EQ(summary.trace[i].changes.size(), 1u);
    order.push_back(summary.trace[i].changes[0].component);
  }
  return order;
}

TEST(BeamTest, ABeamAsWideAsItGetsFindsTheBestSubset) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const Toy toy = TwoFormats(seed, 7, 3, 3);
    SyntheticEvaluator evaluator(toy);
    const SearchSummary summary = RunBeam(Options(1000, MeritKind::kDppl, true), toy, evaluator);
    ASSERT_EQ(summary.outcome, SearchOutcome::kBudgetMet);
    // Of all subsets of three; ForEveryFitting also visits larger ones, which the paper's order
    // would only reach at a later depth.
    double best = 1e300;
    ForEveryFitting(toy.problem, [&](const Selection& selection) {
      if (std::count(selection.begin(), selection.end(), 0) == 3) {
        best = std::min(best, toy.loss(selection));
      }
    });
    // nll is the loss and a constant, summed and divided: it may tie where losses differ by that.
    EXPECT_NEAR(LossOf(toy, summary.assignment), best, 1e-12);
    // Depths 1 to 3: 7, 21 and 35 different subsets.
    std::set<std::vector<UnitId>> states;
    EXPECT_GE(summary.candidates, 7 + 21 + 35);
    EXPECT_LE(summary.candidates, 7 + 21 + 35 + 1 + 7 + 21 + 4);  // entering states; the trace
  }
}

// The paper's algorithm as it stands, on the loss itself.
std::vector<UnitId> PlainBeam(const Toy& toy, int width, int depth) {
  struct Plain {
    std::vector<UnitId> order;
    double loss = 0;
  };
  std::vector<Plain> beam(1);
  for (int d = 0; d < depth; ++d) {
    std::vector<Plain> next;
    std::set<std::set<UnitId>> seen;
    for (const Plain& state : beam) {
      for (UnitId u = 0; u < toy.problem.size(); ++u) {
        if (std::count(state.order.begin(), state.order.end(), u) > 0) continue;
        Plain expansion = state;
        expansion.order.push_back(u);
        if (!seen.insert({expansion.order.begin(), expansion.order.end()}).second) continue;
        Selection selection(toy.problem.size(), 1);
        for (const UnitId low : expansion.order) selection[low] = 0;
        expansion.loss = toy.loss(selection);
        next.push_back(expansion);
      }
    }
    std::stable_sort(
        next.begin(), next.end(), [](const Plain& a, const Plain& b) { return a.loss < b.loss; });
    if (static_cast<int>(next.size()) > width) next.resize(width);
    beam = next;
  }
  return beam[0].order;
}

TEST(BeamTest, IsTheBeamOfThePaper) {
  for (uint64_t seed = 0; seed < 25; ++seed) {
    for (const int width : {1, 2, 3, 5}) {
      const Toy toy = TwoFormats(seed, 9, 3, 5);
      SyntheticEvaluator evaluator(toy);
      const SearchSummary summary = RunBeam(Options(width, MeritKind::kDppl, true), toy, evaluator);
      const std::vector<UnitId> order = PlainBeam(toy, width, 5);
      EXPECT_EQ(OrderOf(summary), order) << "seed " << seed << ", width " << width;
      Selection selection(9, 1);
      for (const UnitId u : order) selection[u] = 0;
      EXPECT_EQ(summary.assignment, toy.problem.ToAssignment(selection));
    }
  }
}

TEST(BeamTest, ScreensInTheContextOfItsState) {
  // Eight units are all tried, and with four probes screening is exact.
  for (uint64_t seed = 0; seed < 25; ++seed) {
    const Toy toy = TwoFormats(seed, 8, 2, 5);
    SyntheticEvaluator evaluator(toy);
    const SearchSummary summary = RunBeam(Options(1, MeritKind::kDppl, false), toy, evaluator);
    EXPECT_EQ(OrderOf(summary), PlainBeam(toy, 1, 5)) << "seed " << seed;
  }
}

TEST(BeamTest, AWiderBeamIsNotWorseOnTheWholeAndSometimesBetter) {
  double narrow = 0, wide = 0;
  int better = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Toy toy = TwoFormats(seed, 10, 2, 5);
    SyntheticEvaluator evaluator(toy);
    const double one =
        LossOf(toy, RunBeam(Options(1, MeritKind::kDppl, true), toy, evaluator).assignment);
    const double ten =
        LossOf(toy, RunBeam(Options(10, MeritKind::kDppl, true), toy, evaluator).assignment);
    narrow += one;
    wide += ten;
    better += ten < one;
  }
  EXPECT_LT(wide, narrow);
  EXPECT_GT(better, 5);
}

TEST(BeamTest, ScreeningFindsWhatAllRunsFindWhenLossesAddUp) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (const int width : {1, 4}) {
      const Toy toy = TwoFormats(seed, 14, 0, 6);
      SyntheticEvaluator evaluator(toy, {.probes = 24});
      const SearchSummary all = RunBeam(Options(width, MeritKind::kDppl, true), toy, evaluator);
      const SearchSummary screened =
          RunBeam(Options(width, MeritKind::kDppl, false), toy, evaluator);
      EXPECT_EQ(screened.assignment, all.assignment) << "seed " << seed << ", width " << width;
      EXPECT_LT(screened.computed, all.computed);
    }
  }
}

TEST(BeamTest, TheTraceIsTheOrderFromEverythingHigh) {
  const Toy toy = TwoFormats(3, 8, 3, 4);
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary = RunBeam(Options(3, MeritKind::kFdt, false), toy, evaluator);
  ASSERT_EQ(summary.trace.size(), 5u);
  EXPECT_EQ(summary.trace[0].what, "start");
  Assignment assignment(8, kFormatBF16);
  for (size_t i = 0; i < summary.trace.size(); ++i) {
    for (const ComponentFormat& change : summary.trace[i].changes) {
      assignment[change.component] = change.format;
    }
    EXPECT_EQ(summary.trace[i].size_bytes, toy.problem.TotalBytes(assignment));
    EXPECT_EQ(summary.trace[i].kl_mean, Compute(Statistic::kKlMean, evaluator.Exactly(assignment)));
  }
  EXPECT_EQ(summary.assignment, assignment);
  EXPECT_EQ(summary.evaluation, evaluator.Exactly(assignment));
  EXPECT_EQ(summary.rounds, 4);
}

TEST(BeamTest, FdtDecidesByItsTieBreakersWhereItSaturates) {
  // Losses so small that no probe diverges: FDT and SDT say nothing, KL everything.
  Toy toy = TwoFormats(4, 6, 0, 3);
  for (auto& choices : toy.loss.error) {
    for (double& e : choices[0]) e *= 1e-4;
  }
  SyntheticEvaluator evaluator(toy, {.tokens = 100});
  const SearchSummary summary = RunBeam(Options(1, MeritKind::kFdt, true), toy, evaluator);
  std::vector<std::pair<double, UnitId>> alone;
  for (UnitId u = 0; u < 6; ++u) alone.emplace_back(toy.loss.Alone(u, 0), u);
  std::sort(alone.begin(), alone.end());
  EXPECT_EQ(OrderOf(summary),
            (std::vector<UnitId>{alone[0].second, alone[1].second, alone[2].second}));
}

TEST(BeamTest, PplRanksOnTextAndReportsOnTheProbes) {
  const Toy toy = TwoFormats(4, 6, 0, 2);
  Toy other = toy;  // what the text says: the reverse
  for (UnitId u = 0; u < 6; ++u) {
    other.loss.error[u][0][u] = 1 / toy.loss.error[u][0][u];
  }
  SyntheticEvaluator evaluator(toy), text(other, {.probes = 6});
  const SearchSummary summary = RunBeam(Options(1, MeritKind::kPpl, true), toy, evaluator, &text);
  std::vector<std::pair<double, UnitId>> alone;
  for (UnitId u = 0; u < 6; ++u) alone.emplace_back(-toy.loss.Alone(u, 0), u);
  std::sort(alone.begin(), alone.end());
  EXPECT_EQ(OrderOf(summary), (std::vector<UnitId>{alone[0].second, alone[1].second}));
  EXPECT_EQ(summary.evaluation, evaluator.Exactly(summary.assignment));
  EXPECT_EQ(summary.candidates, evaluator.evaluations() + text.evaluations());
  const absl::Status refused = TryRun(Options(1, MeritKind::kPpl, true), toy, evaluator).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
}

TEST(BeamTest, AHighFormatThatFitsStays) {
  const Toy toy = TwoFormats(4, 6, 0, 0);
  SyntheticEvaluator evaluator(toy);
  const SearchSummary summary = RunBeam(BeamOptions(), toy, evaluator);
  EXPECT_EQ(summary.assignment, Assignment(6, kFormatBF16));
  EXPECT_EQ(summary.candidates, 1);
}

TEST(BeamTest, BelowTheLowFormatItIsInfeasible) {
  const Toy toy = TwoFormats(4, 6, 0, 7);
  SyntheticEvaluator evaluator(toy);
  EXPECT_EQ(RunBeam(BeamOptions(), toy, evaluator).outcome, SearchOutcome::kInfeasible);
  EXPECT_EQ(evaluator.evaluations(), 0);
}

TEST(BeamTest, AnInterruptionEndsIt) {
  const Toy toy = TwoFormats(4, 6, 0, 3);
  SyntheticEvaluator evaluator(toy, {.cancel_after = 9});
  const SearchSummary summary = RunBeam(Options(2, MeritKind::kFdt, false), toy, evaluator);
  EXPECT_EQ(summary.outcome, SearchOutcome::kInterrupted);
  EXPECT_TRUE(summary.assignment.empty());
  EXPECT_EQ(summary.candidates, 9);
}

TEST(BeamTest, OptionsNameWhatIsWrong) {
  EXPECT_EQ(Options(0, MeritKind::kFdt, false).Validate().message(),
            "the beam width is 0; it must be 1 or more");
}

}  // namespace
}  // namespace bitbudget
