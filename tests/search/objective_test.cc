#include "search/objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/base/random.h"

namespace bitbudget {
namespace {

constexpr Statistic kAll[] = {Statistic::kFdtMean,
                              Statistic::kFdt75,
                              Statistic::kSdtMean,
                              Statistic::kDppl,
                              Statistic::kKlMean};

ProbeResult Probe(int fdt, double nll_sum, double kl_sum) {
  return {.tokens = 100, .fdt = fdt, .sdt = 100 - fdt, .nll_sum = nll_sum, .kl_sum = kl_sum};
}

TEST(ObjectiveTest, PrimaryStatisticDecidesBeyondItsNoise) {
  // FDT differences 10, 12, 8: mean 10, standard error 1.15. Everything else says the opposite.
  const Evaluation a = {Probe(30, 9, 9), Probe(42, 9, 9), Probe(18, 9, 9)};
  const Evaluation b = {Probe(20, 1, 1), Probe(30, 1, 1), Probe(10, 1, 1)};
  EXPECT_TRUE(Objective(Statistic::kFdtMean).Better(a, b));
  EXPECT_FALSE(Objective(Statistic::kFdtMean).Better(b, a));
  EXPECT_TRUE(Objective(Statistic::kSdtMean).Better(a, b));
  EXPECT_TRUE(Objective(Statistic::kDppl).Better(b, a));
  EXPECT_TRUE(Objective(Statistic::kKlMean).Better(b, a));
}

TEST(ObjectiveTest, PairingMattersAndNotTheSpreadOfTheProbes) {
  // The same difference of 1 on every probe counts, though probes differ by 60.
  const Evaluation a = {Probe(11, 5, 5), Probe(71, 5, 5)};
  const Evaluation b = {Probe(10, 5, 5), Probe(70, 5, 5)};
  EXPECT_TRUE(Objective(Statistic::kFdtMean).Better(a, b));
  // Differences 3 and -1: mean 1, standard error 2.
  const Evaluation c = {Probe(13, 5, 5), Probe(69, 5, 5)};
  EXPECT_FALSE(Objective(Statistic::kFdtMean).Better(c, b));
  EXPECT_FALSE(Objective(Statistic::kFdtMean).Better(b, c));
}

TEST(ObjectiveTest, TheDecisionIsAtOneStandardError) {
  // Differences 1 + x, 1 and 1 - x: mean 1, standard deviation x, standard error x / sqrt(3).
  auto better = [](double x) {
    const Evaluation a(3, Probe(50, 5, 5));
    const Evaluation b = {Probe(50, 5, 6 + x), Probe(50, 5, 6), Probe(50, 5, 6 - x)};
    return Objective(Statistic::kKlMean).Better(a, b);
  };
  EXPECT_TRUE(better(1.73));
  EXPECT_FALSE(better(1.74));
}

TEST(ObjectiveTest, TiesFallToTheLossAndThenToPerplexity) {
  // Saturated FDT.
  const Evaluation a = {Probe(100, 3, 9), Probe(100, 4, 9)};
  const Evaluation b = {Probe(100, 4, 1), Probe(100, 5, 1)};
  const Evaluation c = {Probe(100, 3, 1), Probe(100, 4, 1)};
  for (const Statistic primary : {Statistic::kFdtMean, Statistic::kFdt75, Statistic::kSdtMean}) {
    EXPECT_TRUE(Objective(primary).Better(b, a));
    EXPECT_FALSE(Objective(primary).Better(a, b));
    EXPECT_TRUE(Objective(primary).Better(c, b));
    EXPECT_FALSE(Objective(primary).Better(b, c));
    // Divergence along prompts is part of the loss.
    Evaluation d = c;
    for (ProbeResult& probe : d) probe.text = {100, 0, 0, 1e-3};
    Evaluation e = c;
    for (ProbeResult& probe : e) probe.text = {100, 0, 0, 1e-4};
    EXPECT_TRUE(Objective(primary).Better(e, d));
  }
}

TEST(ObjectiveTest, AnyDifferenceOfTheQuantileDecides) {
  Evaluation a(5, Probe(50, 5, 5)), b = a;
  a[0].fdt = a[1].fdt = 51;  // positions 3 and 4 after sorting: the 75th percentile is 51
  EXPECT_TRUE(Objective(Statistic::kFdt75).Better(a, b));
  EXPECT_FALSE(Objective(Statistic::kFdt75).Better(b, a));
}

TEST(ObjectiveTest, NoProbesAndOneProbeAreHandled) {
  for (const Statistic primary : kAll) {
    const Objective objective(primary);
    EXPECT_FALSE(objective.Better({}, {}));
    EXPECT_EQ(objective.Loss({}), 0);
    EXPECT_TRUE(objective.Better({Probe(20, 1, 1)}, {Probe(10, 2, 2)}));
    EXPECT_FALSE(objective.Better({Probe(10, 2, 2)}, {Probe(20, 1, 1)}));
    EXPECT_FALSE(objective.Better({Probe(10, 2, 2)}, {Probe(10, 2, 2)}));
    EXPECT_FALSE(objective.Better({ProbeResult{}}, {ProbeResult{}}));  // no tokens
  }
}

TEST(ObjectiveTest, NeverBothWaysRoundAndNeverBetterThanItself) {
  Random random(1);
  int decided = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    const size_t n = 1 + random.Below(6);
    Evaluation a, b;
    for (size_t i = 0; i < n; ++i) {
      const int tokens = 1 + static_cast<int>(random.Below(40));  // completions may be short
      for (Evaluation* e : {&a, &b}) {
        ProbeResult probe = Probe(static_cast<int>(random.Below(tokens + 1)),
                                  random.Uniform() * tokens,
                                  random.Uniform() * tokens);
        probe.tokens = tokens;
        probe.sdt = tokens - probe.fdt;
        e->push_back(probe);
      }
    }
    for (const Statistic primary : kAll) {
      const Objective objective(primary);
      const bool ab = objective.Better(a, b), ba = objective.Better(b, a);
      EXPECT_FALSE(ab && ba);
      EXPECT_FALSE(objective.Better(a, a));
      decided += ab || ba;
    }
  }
  EXPECT_GT(decided, 5000);  // of 10000: the rule does decide
}

TEST(ObjectiveTest, WhatIsNotANumberIsWorse) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Evaluation good = {Probe(10, 5, 5), Probe(10, 5, 5)};
  const Evaluation broken = {Probe(90, nan, 5), Probe(90, nan, nan)};
  for (const Statistic primary : kAll) {
    const Objective objective(primary);
    EXPECT_TRUE(objective.Better(good, broken));
    EXPECT_FALSE(objective.Better(broken, good));
    EXPECT_FALSE(objective.Better(broken, broken));
    EXPECT_EQ(objective.Loss(broken), std::numeric_limits<double>::infinity());
  }
}

TEST(ObjectiveTest, LossIsPooledOverTokens) {
  ProbeResult longer = Probe(10, 30, 3);
  longer.tokens = 300;
  const Evaluation evaluation = {Probe(10, 20, 5), longer};
  EXPECT_EQ(Objective(Statistic::kFdtMean).Loss(evaluation), 8.0 / 400);
  EXPECT_EQ(Objective(Statistic::kDppl).Loss(evaluation), 50.0 / 400);
}

TEST(DifferenceTest, IsTheRatioOfSumsWithItsLinearisedError) {
  Random random(4);
  for (int trial = 0; trial < 200; ++trial) {
    const size_t n = 2 + random.Below(9);
    Evaluation a, b;
    for (size_t i = 0; i < n; ++i) {
      ProbeResult probe = Probe(static_cast<int>(random.Below(50)), 0, 0);
      probe.tokens = 50 + static_cast<int>(random.Below(50));
      for (Evaluation* e : {&a, &b}) {
        probe.kl_sum = random.Uniform() * probe.tokens;
        e->push_back(probe);
      }
    }
    double sum = 0, tokens = 0;
    for (size_t i = 0; i < n; ++i) {
      sum += a[i].kl_sum - b[i].kl_sum;
      tokens += a[i].tokens;
    }
    // Cochran, Sampling Techniques, eq. 6.13: variance of a ratio estimator.
    double variance = 0;
    for (size_t i = 0; i < n; ++i) {
      const double residual = a[i].kl_sum - b[i].kl_sum - sum / tokens * a[i].tokens;
      variance += residual * residual;
    }
    const double count = static_cast<double>(n);
    variance *= count / (count - 1) / (tokens * tokens);
    const PairedDifference d = Difference(Statistic::kKlMean, a, b);
    EXPECT_NEAR(d.value, sum / tokens, 1e-14);
    EXPECT_NEAR(d.standard_error, std::sqrt(variance), 1e-14);
    const PairedDifference reversed = Difference(Statistic::kKlMean, b, a);
    EXPECT_EQ(reversed.value, -d.value);
    EXPECT_EQ(reversed.standard_error, d.standard_error);
  }
}

TEST(DifferenceTest, OfOneProbeHasNoErrorAndOfNoneIsNothing) {
  const PairedDifference one =
      Difference(Statistic::kFdtMean, {Probe(20, 1, 1)}, {Probe(12, 1, 1)});
  EXPECT_EQ(one.value, 8);
  EXPECT_EQ(one.standard_error, std::numeric_limits<double>::infinity());
  const PairedDifference none = Difference(Statistic::kKlMean, {}, {});
  EXPECT_EQ(none.value, 0);
  EXPECT_EQ(none.standard_error, 0);
}

TEST(HopelessTest, IsWhatIsSignificantlyWorseByTheStatistic) {
  // Differences 1 + x, 1 and 1 - x, a hundredfold: standard error x / sqrt(3). Loss is better.
  const auto by_fdt = [](int x) {
    const Evaluation incumbent(3, Probe(500, 5, 5));
    const Evaluation candidate = {Probe(400 - x, 5, 1), Probe(400, 5, 1), Probe(400 + x, 5, 1)};
    return Objective(Statistic::kFdtMean).Hopeless(candidate, incumbent);
  };
  EXPECT_TRUE(by_fdt(173));
  EXPECT_FALSE(by_fdt(174));
}

TEST(HopelessTest, WithinNoiseIsWhatIsAheadNeitherByTheStatisticNorByLoss) {
  const Evaluation incumbent = {Probe(40, 5, 5), Probe(60, 5, 5)};
  const auto hopeless = [&](int fdt, double kl) {  // the sum of both probes' differences
    return Objective(Statistic::kFdtMean)
        .Hopeless({Probe(40 + 20 + fdt, 5, 5 + kl), Probe(60 - 20, 5, 5)}, incumbent);
  };
  EXPECT_TRUE(hopeless(0, 0));
  EXPECT_TRUE(hopeless(-1, 1));
  EXPECT_FALSE(hopeless(1, 1));
  EXPECT_FALSE(hopeless(-1, -1));
}

TEST(HopelessTest, WhatIsWorseIsAndWhatIsBetterIsNot) {
  const Evaluation good = {Probe(60, 3, 3), Probe(50, 3, 3), Probe(70, 3, 3)};
  const Evaluation bad = {Probe(20, 9, 9), Probe(10, 9, 9), Probe(30, 9, 9)};
  for (const Statistic primary : kAll) {
    EXPECT_FALSE(Objective(primary).Hopeless(good, bad));
    EXPECT_TRUE(Objective(primary).Hopeless(bad, good));
  }
}

}  // namespace
}  // namespace bitbudget
