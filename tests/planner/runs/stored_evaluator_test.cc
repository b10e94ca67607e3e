#include "planner/runs/stored_evaluator.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/base/random.h"
#include "tests/support/synthetic_evaluator.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

using testing::MakeToy;
using testing::SyntheticEvaluator;
using testing::Toy;

constexpr int kProbes = 12;

// Counts what really runs.
class CountingEvaluator : public SyntheticEvaluator {
 public:
  using SyntheticEvaluator::SyntheticEvaluator;

  absl::Status SetIncumbent(const Assignment& assignment) override {
    ++passes;
    return SyntheticEvaluator::SetIncumbent(assignment);
  }
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta,
                                      ProbeRange range) override {
    ++passes;
    probes += range.count;
    return SyntheticEvaluator::Evaluate(delta, range);
  }
  absl::Status Commit(std::span<const ComponentFormat> delta) override {
    ++passes;
    return SyntheticEvaluator::Commit(delta);
  }

  int64_t passes = 0;
  int64_t probes = 0;  // asked of Evaluate
};

// A toy, an evaluator that counts, and a stored one over a store in `directory` ("": none).
struct Bench {
  explicit Bench(const std::string& directory, int64_t cancel_after = -1) {
    const std::vector<IdentityField> identity = {{"model", "toy"}};
    Progress silent;
    EXPECT_TRUE(run.Begin(directory, identity, &silent).ok());
    std::vector<std::string> names;
    for (int i = 0; i < kProbes; ++i) names.push_back(std::to_string(i));
    SyntheticEvaluator::Options options;
    options.probes = kProbes;
    options.noise = 0.5;
    options.cancel_after = cancel_after;
    inner = std::make_unique<CountingEvaluator>(toy, options);
    stored = std::make_unique<StoredEvaluator>(inner.get(), &run, *run.ProbeIds("search", names));
  }

  Evaluation Exactly(const Assignment& assignment) const { return inner->Exactly(assignment); }

  Toy toy = MakeToy(3, 6, 3, 0, 0.5);
  Run run;
  std::unique_ptr<CountingEvaluator> inner;
  std::unique_ptr<StoredEvaluator> stored;
};

Evaluation Part(const Evaluation& all, ProbeRange range) {
  return Evaluation(all.begin() + range.first, all.begin() + range.first + range.count);
}

// A random walk as a search would make it; every answer is compared with the exact one.
void Walk(Bench* bench, uint64_t seed, int steps) {
  Random random(seed);
  StoredEvaluator& evaluator = *bench->stored;
  ASSERT_TRUE(evaluator.SetIncumbent(bench->inner->Reference()).ok());
  for (int i = 0; i < steps; ++i) {
    std::vector<ComponentFormat> delta;
    for (uint64_t left = 1 + random.Below(2); left > 0; --left) {
      delta.push_back(
          {static_cast<ComponentId>(random.Below(6)), testing::ToyFormats(3)[random.Below(3)]});
    }
    const Evaluation exact = bench->Exactly(WithDelta(evaluator.incumbent(), delta));
    const int64_t first = static_cast<int64_t>(random.Below(kProbes));
    const ProbeRange range{first, static_cast<int64_t>(random.Below(kProbes - first)) + 1};
    const auto part = evaluator.Evaluate(delta, range);
    ASSERT_TRUE(part.ok()) << part.status();
    EXPECT_EQ(*part, Part(exact, range));
    if (random.Below(4) == 0) {
      ASSERT_TRUE(evaluator.Commit(delta).ok());
      EXPECT_EQ(evaluator.incumbent_evaluation(), exact);
    } else if (random.Below(8) == 0) {
      const Assignment next = WithDelta(evaluator.incumbent(), delta);
      ASSERT_TRUE(evaluator.SetIncumbent(next).ok());
      ASSERT_TRUE(evaluator.SetIncumbent(evaluator.incumbent()).ok());
      EXPECT_EQ(evaluator.incumbent(), next);
      EXPECT_EQ(evaluator.incumbent_evaluation(), exact);
    }
  }
}

// A search that trains the model: the same assignments are others from then on.
TEST(StoredEvaluator, ResultsOfOtherWeightsAreKeptApart) {
  const TempDir dir;
  Bench bench(dir.File("run"));
  const auto halve = [&] {
    for (auto& unit : bench.toy.loss.error) {
      for (auto& choice : unit) {
        for (double& e : choice) e /= 2;
      }
    }
  };
  StoredEvaluator& evaluator = *bench.stored;
  const Assignment assignment(6, testing::ToyFormats(3)[0]);
  const std::vector<ComponentFormat> delta = {{2, testing::ToyFormats(3)[1]}};
  std::vector<Evaluation> incumbents, candidates;
  const auto ask = [&] {
    EXPECT_TRUE(evaluator.SetIncumbent(assignment).ok());
    EXPECT_EQ(evaluator.incumbent_evaluation(), bench.Exactly(assignment));
    const auto candidate = evaluator.Evaluate(delta);
    EXPECT_TRUE(candidate.ok()) << candidate.status();
    EXPECT_EQ(*candidate, bench.Exactly(WithDelta(assignment, delta)));
    incumbents.push_back(evaluator.incumbent_evaluation());
    candidates.push_back(*candidate);
  };
  ask();
  const Toy model = bench.toy;
  halve();
  evaluator.WeightsChanged("trained");
  ask();
  EXPECT_NE(incumbents[0], incumbents[1]);
  // The incumbent is known from before, a candidate is not: the inner evaluator follows first.
  halve();
  evaluator.WeightsChanged("trained twice");
  EXPECT_TRUE(evaluator.SetIncumbent(assignment).ok());
  evaluator.WeightsChanged("trained");
  const int64_t passes = bench.inner->passes;
  EXPECT_TRUE(evaluator.SetIncumbent(assignment).ok());
  EXPECT_EQ(evaluator.incumbent_evaluation(), incumbents[1]);
  EXPECT_EQ(*evaluator.Evaluate(delta), candidates[1]);
  EXPECT_EQ(bench.inner->passes, passes);
  // The model's own weights are the empty name.
  bench.toy = model;
  evaluator.WeightsChanged("");
  EXPECT_TRUE(evaluator.SetIncumbent(assignment).ok());
  EXPECT_EQ(evaluator.incumbent_evaluation(), incumbents[0]);
  const std::vector<ComponentFormat> other = {{3, testing::ToyFormats(3)[2]}};
  const int64_t before = bench.inner->passes;
  EXPECT_EQ(*evaluator.Evaluate(other), bench.Exactly(WithDelta(assignment, other)));
  // The same incumbent, but what the inner evaluator keeps of it is of other weights.
  EXPECT_EQ(bench.inner->passes, before + 2);
}

TEST(StoredEvaluator, AnswersAsTheInnerEvaluatorDoes) {
  const TempDir dir;
  for (const std::string& directory : {std::string(), dir.File("run")}) {
    for (uint64_t seed = 0; seed < 5; ++seed) {
      Bench bench(directory);
      Walk(&bench, seed, 200);
      EXPECT_GT(bench.inner->passes, 0);
    }
  }
}

TEST(StoredEvaluator, ARunThatIsStoredNeverAsksTheInnerEvaluator) {
  const TempDir dir;
  for (int time = 0; time < 2; ++time) {
    Bench bench(dir.File("run"));
    Walk(&bench, 1, 200);
    EXPECT_EQ(bench.inner->passes == 0, time == 1);
  }
}

TEST(StoredEvaluator, AsksOnlyForWhatIsMissing) {
  const TempDir dir;
  const ComponentFormat change = {2, testing::ToyFormats(3)[1]};
  {
    Bench bench(dir.File("run"));
    ASSERT_TRUE(bench.stored->SetIncumbent(bench.inner->Reference()).ok());
    ASSERT_TRUE(bench.stored->Evaluate({&change, 1}, {3, 4}).ok());
    EXPECT_EQ(bench.inner->probes, 4);
    ASSERT_TRUE(bench.stored->Evaluate({&change, 1}, {5, 4}).ok());  // 7, 8 are new
    EXPECT_EQ(bench.inner->probes, 6);
    ASSERT_TRUE(bench.stored->Evaluate({&change, 1}, {4, 5}).ok());
    EXPECT_EQ(bench.inner->probes, 6);
  }
  Bench bench(dir.File("run"));
  ASSERT_TRUE(bench.stored->SetIncumbent(bench.inner->Reference()).ok());
  EXPECT_EQ(bench.inner->passes, 0);
  const auto all = bench.stored->Evaluate({&change, 1}, {3, 9});  // 9, 10, 11 are new
  EXPECT_EQ(bench.inner->probes, 3);
  EXPECT_EQ(bench.inner->passes, 2);  // the incumbent, which was stored, and the three probes
  const Evaluation exact = bench.Exactly(WithDelta(bench.inner->Reference(), {&change, 1}));
  EXPECT_EQ(*all, Part(exact, {3, 9}));
}

TEST(StoredEvaluator, AnInterruptionLosesNothing) {
  const TempDir dir;
  int64_t steps = 0;
  bool done = false;
  // Every start gets five evaluations further.
  while (!done && ++steps < 100) {
    Bench bench(dir.File("run"), /*cancel_after=*/5);
    Random random(9);
    absl::Status status = bench.stored->SetIncumbent(bench.inner->Reference());
    for (int i = 0; i < 60 && status.ok(); ++i) {
      const ComponentFormat change = {static_cast<ComponentId>(random.Below(6)),
                                      testing::ToyFormats(3)[random.Below(3)]};
      const auto evaluation = bench.stored->Evaluate({&change, 1});
      status = evaluation.status();
      if (!status.ok()) break;
      EXPECT_EQ(*evaluation, bench.Exactly(WithDelta(bench.stored->incumbent(), {&change, 1})));
      if (i % 5 == 4) status = bench.stored->Commit({&change, 1});
    }
    if (!status.ok()) {
      EXPECT_TRUE(absl::IsCancelled(status)) << status;
    }
    done = status.ok();
  }
  EXPECT_TRUE(done);
  EXPECT_GT(steps, 5);
}

// Commands share results, whichever of them keep the KL of every token.
TEST(StoredEvaluator, MeasuresAgainWhereTheKlsOfTokensAreMissingAndHidesThemElsewhere) {
  const TempDir dir;
  Evaluation sums(kProbes);
  for (ProbeResult& result : sums) result.text.tokens = 2;
  sums[3].text.tokens = 0;  // a prompt that is too short
  Evaluation kept = sums;
  for (ProbeResult& result : kept) result.text.kls.assign(result.text.tokens, 0.5f);
  int measured = 0;
  const auto ask = [&](TokenKls kls) {
    Bench bench(dir.File("run"));
    const auto evaluation = bench.stored->Measure("whole", {0, kProbes}, kls, [&] {
      ++measured;
      return absl::StatusOr<Evaluation>(kls == TokenKls::kKept ? kept : sums);
    });
    EXPECT_TRUE(evaluation.ok()) << evaluation.status();
    EXPECT_EQ(*evaluation, kls == TokenKls::kKept ? kept : sums);
    return measured;
  };
  EXPECT_EQ(ask(TokenKls::kSummed), 1);
  EXPECT_EQ(ask(TokenKls::kKept), 2);
  EXPECT_EQ(ask(TokenKls::kKept), 2);
  EXPECT_EQ(ask(TokenKls::kSummed), 2);
}

TEST(StoredEvaluator, MeasuresWhatIsNoAssignmentOnce) {
  const TempDir dir;
  int measured = 0;
  for (int time = 0; time < 2; ++time) {
    Bench bench(dir.File("run"));
    const Evaluation exact = bench.Exactly(bench.inner->Reference());
    for (const ProbeRange range : {ProbeRange{1, 2}, {0, bench.stored->probe_count()}}) {
      const Evaluation part(exact.begin() + range.first, exact.begin() + range.first + range.count);
      const auto evaluation = bench.stored->Measure("noise floor", range, TokenKls::kSummed, [&] {
        ++measured;
        return absl::StatusOr<Evaluation>(part);
      });
      ASSERT_TRUE(evaluation.ok());
      EXPECT_EQ(*evaluation, part);
    }
    EXPECT_EQ(measured, 2);
  }
}

}  // namespace
}  // namespace bitbudget
