#include "search/search_session.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "search/objective.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using testing::MakeToy;
using testing::SyntheticEvaluator;
using testing::ToyFormats;

// Keeps the ranges that it was asked for.
class RecordingEvaluator : public SyntheticEvaluator {
 public:
  using SyntheticEvaluator::Evaluate;
  using SyntheticEvaluator::SyntheticEvaluator;
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta,
                                      ProbeRange range) override {
    ranges.push_back({range.first, range.count});
    return SyntheticEvaluator::Evaluate(delta, range);
  }
  std::vector<std::pair<int64_t, int64_t>> ranges;
};

using Ranges = std::vector<std::pair<int64_t, int64_t>>;

// A search in the middle of its work: everything in the second format is the incumbent; the delta
// makes one component worse or better.
class SearchSessionTest : public ::testing::Test {
 protected:
  explicit SearchSessionTest(int probes = 30)
      : toy_(MakeToy(3, 6, 3, 4, 0.5)),
        evaluator_(toy_, {.probes = probes, .noise = 0.3}),
        session_({&toy_.problem, &evaluator_, nullptr, evaluator_.Reference()}) {
    Assignment incumbent;
    for (const auto& ladder : toy_.problem.ladders) incumbent.push_back(ladder[1].format);
    EXPECT_TRUE(session_.SetIncumbent(incumbent).ok());
    for (int c = 0; c < toy_.problem.size(); ++c) {
      delta_.push_back({c, toy_.problem.ladders[c][0].format});
    }
  }

  Evaluation Candidate() const {
    return evaluator_.Exactly(WithDelta(evaluator_.incumbent(), delta_));
  }

  static Evaluation Part(const Evaluation& all, int64_t first, int64_t count) {
    return Evaluation(all.begin() + first, all.begin() + first + count);
  }

  testing::Toy toy_;
  RecordingEvaluator evaluator_;
  SearchSession session_;
  std::vector<ComponentFormat> delta_;
};

TEST_F(SearchSessionTest, ScreenRunsTheFirstSixthOfTheProbes) {
  const auto screened = session_.Screen(delta_);
  ASSERT_TRUE(screened.ok()) << screened.status();
  EXPECT_EQ(evaluator_.ranges, (Ranges{{0, 5}}));
  EXPECT_EQ(*screened, Part(Candidate(), 0, 5));
  EXPECT_EQ(session_.ScreenPart(Candidate()), *screened);
  // The incumbent on 30 probes and these 5, of two candidates.
  EXPECT_EQ(session_.summary().computed, 30 + 5);
  EXPECT_EQ(session_.summary().naive, 2 * 30);
  EXPECT_EQ(session_.summary().candidates, 2);
}

TEST_F(SearchSessionTest, ARaceThatIsNotLostGivesTheResultOfEvaluate) {
  const auto whole = session_.Evaluate(delta_);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(*whole, Candidate());
  evaluator_.ranges.clear();
  const auto raced =
      session_.Race(delta_, [](const Evaluation&, const Evaluation&) { return false; });
  ASSERT_TRUE(raced.ok()) << raced.status();
  ASSERT_TRUE(raced->has_value());
  EXPECT_EQ(**raced, *whole);
  // Every probe once, those of Screen() last.
  EXPECT_EQ(evaluator_.ranges, (Ranges{{5, 5}, {10, 20}, {0, 5}}));
  EXPECT_EQ(session_.summary().computed, 3 * 30);
  EXPECT_EQ(session_.summary().naive, 3 * 30);
}

TEST_F(SearchSessionTest, ARaceComparesTheSameProbesAndIsDroppedWhenItIsHopeless) {
  for (const size_t drop_at : {5u, 25u}) {
    evaluator_.ranges.clear();
    const Evaluation candidate = Candidate();
    const Evaluation& incumbent = evaluator_.incumbent_evaluation();
    int asked = 0;
    const auto raced = session_.Race(delta_, [&](const Evaluation& a, const Evaluation& b) {
      EXPECT_EQ(a.size(), b.size());
      EXPECT_EQ(a, Part(candidate, 5, static_cast<int64_t>(a.size())));
      EXPECT_EQ(b, Part(incumbent, 5, static_cast<int64_t>(b.size())));
      ++asked;
      return a.size() >= drop_at;
    });
    ASSERT_TRUE(raced.ok()) << raced.status();
    EXPECT_FALSE(raced->has_value());
    EXPECT_EQ(evaluator_.ranges, drop_at == 5 ? Ranges({{5, 5}}) : Ranges({{5, 5}, {10, 20}}));
    EXPECT_EQ(asked, drop_at == 5 ? 1 : 2);
  }
  // When all is known the verdict is not the race's any more.
  const auto raced =
      session_.Race(delta_, [](const Evaluation& a, const Evaluation&) { return a.size() == 30; });
  ASSERT_TRUE(raced.ok()) << raced.status();
  EXPECT_TRUE(raced->has_value());
}

TEST_F(SearchSessionTest, TheObjectiveDropsWhatIsWorseAndNotWhatIsBetter) {
  const Objective objective(Statistic::kKlMean);
  const auto hopeless = [&](const Evaluation& a, const Evaluation& b) {
    return objective.Hopeless(a, b);
  };
  ASSERT_TRUE(objective.Better(evaluator_.incumbent_evaluation(), Candidate()));
  const auto worse = session_.Race(delta_, hopeless);
  ASSERT_TRUE(worse.ok()) << worse.status();
  EXPECT_FALSE(worse->has_value());
  for (ComponentFormat& change : delta_) {
    change.format = toy_.problem.ladders[change.component][2].format;
  }
  const auto better = session_.Race(delta_, hopeless);
  ASSERT_TRUE(better.ok()) << better.status();
  ASSERT_TRUE(better->has_value());
  EXPECT_EQ(**better, Candidate());
}

class FewProbesTest : public SearchSessionTest {
 protected:
  FewProbesTest() : SearchSessionTest(3) {}
};

TEST_F(FewProbesTest, AreAllScreenedAndRacedAtOnce) {
  EXPECT_EQ(*session_.Screen(delta_), Candidate());
  EXPECT_EQ(session_.ScreenPart(Candidate()), Candidate());
  const auto raced =
      session_.Race(delta_, [](const Evaluation&, const Evaluation&) { return true; });
  ASSERT_TRUE(raced.ok()) << raced.status();
  ASSERT_TRUE(raced->has_value());
  EXPECT_EQ(**raced, Candidate());
  EXPECT_EQ(evaluator_.ranges, (Ranges{{0, 3}, {0, 3}}));
}

TEST_F(SearchSessionTest, AnErrorEndsARace) {
  SyntheticEvaluator stopped(toy_, {.probes = 30, .cancel_after = 2});
  SearchSession session({&toy_.problem, &stopped, nullptr, stopped.Reference()});
  ASSERT_TRUE(session.SetIncumbent(evaluator_.incumbent()).ok());
  EXPECT_EQ(session.Race(delta_, [](const Evaluation&, const Evaluation&) { return false; })
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace bitbudget
