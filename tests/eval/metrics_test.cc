#include "runtime/eval/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "runtime/base/random.h"
#include "tests/support/expect_error.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

constexpr Statistic kAll[] = {Statistic::kFdtMean,
                              Statistic::kFdt75,
                              Statistic::kSdtMean,
                              Statistic::kDppl,
                              Statistic::kKlMean,
                              Statistic::kTextKl,
                              Statistic::kTextPpl,
                              Statistic::kLoss};

ProbeResult Probe(int tokens, int fdt, int sdt, double nll, double kl) {
  // Half as long along the prompt, and worse there.
  return {tokens, fdt, sdt, nll, kl, {tokens / 2, sdt / 2, 2 * nll, 3 * kl}};
}

// Probes as a real candidate gives them, of uneven length.
Evaluation OrdinaryProbes(int count, uint64_t seed) {
  Random random(seed);
  Evaluation probes;
  for (int i = 0; i < count; ++i) {
    const int tokens = 20 + static_cast<int>(random.Below(80));
    const int fdt = static_cast<int>(random.Below(tokens + 1));
    probes.push_back(Probe(tokens,
                           fdt,
                           static_cast<int>(random.Below(tokens - fdt + 1)),
                           tokens * (1 + random.Uniform()),
                           tokens * random.Uniform()));
  }
  return probes;
}

TEST(Compute, GivesWhatAHandComputes) {
  const Evaluation probes = {
      Probe(10, 10, 0, 5, 0), Probe(10, 4, 3, 15, 2), Probe(30, 1, 20, 80, 8)};
  EXPECT_EQ(Compute(Statistic::kFdtMean, probes), 5);
  EXPECT_EQ(Compute(Statistic::kFdt75, probes), 7);  // half way from 4 to 10
  EXPECT_NEAR(Compute(Statistic::kSdtMean, probes), 23.0 / 3, 1e-15 * 8);
  EXPECT_EQ(Compute(Statistic::kKlMean, probes), 0.2);          // 10 nats over 50 tokens
  EXPECT_EQ(Compute(Statistic::kDppl, probes), std::exp(2.0));  // 100 nats over 50 tokens
  EXPECT_EQ(Top1Agreement(Along::kCompletions, probes), 1 - 23.0 / 50);
  EXPECT_EQ(Compute(Statistic::kTextKl, probes), 30.0 / 25);
  EXPECT_EQ(Compute(Statistic::kTextPpl, probes), std::exp(200.0 / 25));
  // Tokens of completions count twice.
  EXPECT_EQ(Compute(Statistic::kLoss, probes), (30.0 + 2 * 10) / (25 + 2 * 50));
  EXPECT_EQ(Top1Agreement(Along::kText, probes), 1 - 11.0 / 25);
  EXPECT_TRUE(HasText(probes));
  EXPECT_FALSE(HasText(Evaluation{ProbeResult{.tokens = 5}}));
}

TEST(Top1AgreementInterval, ResamplesSharesOfPositions) {
  // The same share everywhere, whatever the lengths.
  const Evaluation even = {Probe(10, 0, 5, 0, 0), Probe(20, 0, 10, 0, 0), Probe(2, 0, 1, 0, 0)};
  EXPECT_EQ(Top1AgreementInterval(Along::kCompletions, even).low, 0.5);
  EXPECT_EQ(Top1AgreementInterval(Along::kCompletions, even).high, 0.5);
  const Evaluation probes = OrdinaryProbes(40, 3);
  const Interval interval = Top1AgreementInterval(Along::kCompletions, probes);
  EXPECT_GT(interval.low, 0);
  EXPECT_LT(interval.low, Top1Agreement(Along::kCompletions, probes));
  EXPECT_GT(interval.high, Top1Agreement(Along::kCompletions, probes));
  EXPECT_LT(interval.high, 1);
  // Of equal lengths it is that of the misses, turned round.
  Evaluation equal = probes;
  for (ProbeResult& probe : equal) probe.tokens = 128;
  const Interval misses = BootstrapInterval(Statistic::kSdtMean, equal);
  EXPECT_NEAR(Top1AgreementInterval(Along::kCompletions, equal).low, 1 - misses.high / 128, 1e-12);
  EXPECT_NEAR(Top1AgreementInterval(Along::kCompletions, equal).high, 1 - misses.low / 128, 1e-12);
  EXPECT_EQ(Top1AgreementInterval(Along::kCompletions, {}).low, 0);
}

TEST(Compute, InterpolatesThe75thPercentile) {
  const auto percentile = [](std::vector<int> fdts) {
    Evaluation probes;
    for (const int fdt : fdts) probes.push_back(Probe(100, fdt, 1, 0, 0));
    return Compute(Statistic::kFdt75, probes);
  };
  EXPECT_EQ(percentile({7}), 7);
  EXPECT_EQ(percentile({8, 4}), 7);                 // position 0.75
  EXPECT_EQ(percentile({3, 1, 2}), 2.5);            // position 1.5
  EXPECT_EQ(percentile({40, 10, 30, 20}), 32.5);    // position 2.25
  EXPECT_EQ(percentile({50, 40, 30, 20, 10}), 40);  // position 3
  EXPECT_EQ(percentile({9, 9, 9, 9, 9, 100}), 9);   // position 3.75
}

TEST(Compute, NoProbesAndOneProbe) {
  for (const Statistic statistic : kAll) {
    EXPECT_EQ(Compute(statistic, {}), 0);
    const Interval none = BootstrapInterval(statistic, {});
    EXPECT_EQ(none.low, 0);
    EXPECT_EQ(none.high, 0);
    // Every resample of one probe is that probe.
    const Evaluation one = {Probe(8, 3, 2, 4, 1)};
    const Interval interval = BootstrapInterval(statistic, one);
    EXPECT_EQ(interval.low, Compute(statistic, one));
    EXPECT_EQ(interval.high, Compute(statistic, one));
  }
  const Evaluation one = {Probe(8, 3, 2, 4, 1)};
  EXPECT_EQ(Compute(Statistic::kFdtMean, one), 3);
  EXPECT_EQ(Compute(Statistic::kFdt75, one), 3);
  EXPECT_EQ(Compute(Statistic::kSdtMean, one), 2);
  EXPECT_EQ(Compute(Statistic::kDppl, one), std::exp(0.5));
  EXPECT_EQ(Compute(Statistic::kKlMean, one), 0.125);
  EXPECT_EQ(Top1Agreement(Along::kText, {}), 1);
}

TEST(StatisticNames, ReadBack) {
  for (const Statistic statistic : kAll) {
    const auto parsed = ParseStatistic(StatisticName(statistic));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, statistic);
  }
  ExpectError(ParseStatistic("fdt7").status(),
              absl::StatusCode::kInvalidArgument,
              {"unknown objective 'fdt7'", "did you mean 'fdt'?", "fdt, fdt75, sdt, dppl, kl"});
  EXPECT_TRUE(LargerIsBetter(Statistic::kFdtMean));
  EXPECT_TRUE(LargerIsBetter(Statistic::kFdt75));
  EXPECT_FALSE(LargerIsBetter(Statistic::kSdtMean));
  EXPECT_FALSE(LargerIsBetter(Statistic::kDppl));
  EXPECT_FALSE(LargerIsBetter(Statistic::kKlMean));
}

TEST(BoundedNats, LosesWithoutBecomingInfinite) {
  EXPECT_EQ(BoundedNats(3.5), 3.5);
  EXPECT_EQ(BoundedNats(-1e-9), -1e-9);  // KL of nearly equal distributions may round below 0
  EXPECT_EQ(BoundedNats(1e20), kMaxNats);
  EXPECT_EQ(BoundedNats(std::numeric_limits<double>::infinity()), kMaxNats);
  EXPECT_EQ(BoundedNats(-std::numeric_limits<double>::infinity()), kMaxNats);
  EXPECT_EQ(BoundedNats(std::numeric_limits<double>::quiet_NaN()), kMaxNats);
  EXPECT_TRUE(std::isfinite(std::exp(kMaxNats)));
}

TEST(BootstrapInterval, HoldsTheEstimateAndIsReproducible) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Evaluation probes = OrdinaryProbes(50, seed);
    for (const Statistic statistic : kAll) {
      SCOPED_TRACE(StatisticName(statistic));
      const Interval interval = BootstrapInterval(statistic, probes);
      EXPECT_LE(interval.low, Compute(statistic, probes));
      EXPECT_GE(interval.high, Compute(statistic, probes));
      EXPECT_LT(interval.low, interval.high);
      const Interval again = BootstrapInterval(statistic, probes);
      EXPECT_EQ(interval.low, again.low);
      EXPECT_EQ(interval.high, again.high);
    }
  }
}

TEST(BootstrapInterval, DrawsEveryProbeAlike) {
  // One probe of ten has divergence 1: the number of times that a resample draws it is binomial
  // (10, 1/10), which is at most 2 with probability 0.930 and at most 3 with probability 0.987.
  for (int outlier = 0; outlier < 10; ++outlier) {
    Evaluation probes(10, Probe(1, 0, 0, 0, 0));
    probes[outlier].kl_sum = 1;
    const Interval interval = BootstrapInterval(Statistic::kKlMean, probes);
    EXPECT_EQ(interval.low, 0);
    EXPECT_EQ(interval.high, 0.3);
  }
}

TEST(BootstrapInterval, ShrinksWithTheSquareRootOfTheProbes) {
  const auto width = [](int count) {
    const Interval interval = BootstrapInterval(Statistic::kKlMean, OrdinaryProbes(count, 1));
    return interval.high - interval.low;
  };
  EXPECT_NEAR(width(1600) / width(100), 0.25, 0.08);
}

// The 95 % interval of a mean of n normal values covers the true mean with the probability that
// |t| with n - 1 degrees of freedom stays below 1.96 sqrt((n - 1) / n): 0.940 for n = 40 (the
// bootstrap's own noise of 2000 resamples takes off less than 0.005). The number of `trials` that
// are covered is then binomial; four deviations of it are allowed to either side.
constexpr int kTrials = 400;
constexpr double kCoverage = 0.94;
const double kCoverageRange = 4 * std::sqrt(kCoverage * (1 - kCoverage) / kTrials);

TEST(BootstrapInterval, CoversTheTruthAsOftenAsItSays) {
  int covered = 0;
  Random random(2024);
  for (int trial = 0; trial < kTrials; ++trial) {
    Evaluation probes(40);
    for (ProbeResult& probe : probes) probe = Probe(1, 0, 0, 0, 2 + 0.5 * random.Normal());
    const Interval interval = BootstrapInterval(Statistic::kKlMean, probes);
    covered += interval.low <= 2 && 2 <= interval.high;
  }
  EXPECT_NEAR(covered / static_cast<double>(kTrials), kCoverage, kCoverageRange);
}

TEST(PairedInterval, CoversTheTrueDifferenceAsOftenAsItSays) {
  int covered = 0;
  double paired_width = 0;
  double single_width = 0;
  Random random(2025);
  for (int trial = 0; trial < kTrials; ++trial) {
    Evaluation a(40), b(40);
    for (size_t i = 0; i < a.size(); ++i) {
      const double difficulty = random.Normal();  // of the probe, for both
      a[i] = Probe(1, 0, 0, 0, 5 + difficulty + 0.1 * random.Normal());
      b[i] = Probe(1, 0, 0, 0, 4.7 + difficulty + 0.1 * random.Normal());
    }
    const Interval interval = PairedInterval(Statistic::kKlMean, a, b);
    covered += interval.low <= 0.3 && 0.3 <= interval.high;
    paired_width += interval.high - interval.low;
    const Interval single = BootstrapInterval(Statistic::kKlMean, a);
    single_width += single.high - single.low;
  }
  EXPECT_NEAR(covered / static_cast<double>(kTrials), kCoverage, kCoverageRange);
  // What both share cancels: deviations 0.1 sqrt(2) against sqrt(1.01).
  EXPECT_NEAR(paired_width / single_width, 0.1 * std::sqrt(2 / 1.01), 0.01);
}

TEST(PairedInterval, OfASetAgainstItselfIsZero) {
  const Evaluation probes = OrdinaryProbes(30, 4);
  for (const Statistic statistic : kAll) {
    const Interval interval = PairedInterval(statistic, probes, probes);
    EXPECT_EQ(interval.low, 0);
    EXPECT_EQ(interval.high, 0);
  }
}

TEST(PairedInterval, ASureDifferenceExcludesZero) {
  Evaluation better = OrdinaryProbes(30, 4);
  Evaluation worse = better;
  for (ProbeResult& probe : worse) probe.kl_sum += 0.01 * probe.tokens;
  const Interval interval = PairedInterval(Statistic::kKlMean, worse, better);
  // Every resample differs by exactly 0.01, up to the rounding of sums of some thousand nats.
  EXPECT_NEAR(interval.low, 0.01, 1e-12);
  EXPECT_NEAR(interval.high, 0.01, 1e-12);
  const Interval turned = PairedInterval(Statistic::kKlMean, better, worse);
  EXPECT_NEAR(turned.high, -0.01, 1e-12);
}

}  // namespace
}  // namespace bitbudget
