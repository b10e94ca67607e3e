#include "runtime/eval/kl_tail.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/eval/bootstrap.h"

namespace bitbudget {
namespace {

ProbeResult Probe(std::vector<float> kls) {
  ProbeResult probe;
  probe.tokens = 1;
  probe.text.tokens = static_cast<int>(kls.size());
  probe.text.kls = std::move(kls);
  return probe;
}

// Of uneven lengths, some of them 0, with ties and with heavy tails, as divergences have.
Evaluation OrdinaryProbes(int count, int most_tokens, uint64_t seed) {
  Random random(seed);
  Evaluation probes;
  for (int i = 0; i < count; ++i) {
    std::vector<float> kls;
    for (uint64_t left = random.Below(most_tokens); left > 0; --left) {
      const double u = random.Uniform();
      kls.push_back(random.Below(5) == 0 ? 0.25f : static_cast<float>(0.01 / (u * u + 1e-4)));
    }
    probes.push_back(Probe(std::move(kls)));
  }
  return probes;
}

// The definition as it stands: all tokens of the probes in one sorted list.
double Naively(std::span<const ProbeResult> probes, std::span<const int> index) {
  std::vector<double> all;
  for (const int i : index) {
    all.insert(all.end(), probes[i].text.kls.begin(), probes[i].text.kls.end());
  }
  if (all.empty()) return 0;
  std::sort(all.begin(), all.end());
  const double position = 0.999 * static_cast<double>(all.size() - 1);
  const size_t below = static_cast<size_t>(position);
  const double high = all[std::min(below + 1, all.size() - 1)];
  return all[below] + (position - static_cast<double>(below)) * (high - all[below]);
}

TEST(TextKl999, GivesWhatAHandComputes) {
  std::vector<float> kls;
  for (int i = 0; i <= 2000; ++i) kls.push_back(static_cast<float>(i));
  std::reverse(kls.begin(), kls.end());
  EXPECT_EQ(TextKl999(Evaluation{Probe(kls)}), 1998);  // position 1998 exactly
  EXPECT_EQ(TextKl999(Evaluation{Probe({7})}), 7);
  EXPECT_DOUBLE_EQ(TextKl999(Evaluation{Probe({3}), Probe({}), Probe({1})}), 1 + 0.999 * 2);
  EXPECT_EQ(TextKl999(Evaluation{Probe({5, 5, 5})}), 5);
  EXPECT_EQ(TextKl999({}), 0);
}

// Which prompt a token is in does not matter to the value.
TEST(TextKl999, IsThatOfAllTokensInOneList) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const Evaluation probes = OrdinaryProbes(1 + static_cast<int>(seed), 400, seed);
    std::vector<int> all(probes.size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
    EXPECT_EQ(TextKl999(probes), Naively(probes, all)) << seed;
    std::vector<float> together;
    for (const ProbeResult& probe : probes) {
      together.insert(together.end(), probe.text.kls.begin(), probe.text.kls.end());
    }
    EXPECT_EQ(TextKl999(Evaluation{Probe(together)}), TextKl999(probes)) << seed;
  }
}

TEST(TextKl999Interval, IsTheBootstrapOfThatListOverProbes) {
  for (const int count : {1, 2, 9, 40}) {
    for (const int most_tokens : {2, 30, 300}) {
      const Evaluation probes = OrdinaryProbes(count, most_tokens, count);
      const Interval naive = Bootstrap(
          probes.size(), [&](std::span<const int> index) { return Naively(probes, index); });
      const Interval interval = TextKl999Interval(probes);
      EXPECT_EQ(interval.low, naive.low) << count << " " << most_tokens;
      EXPECT_EQ(interval.high, naive.high) << count << " " << most_tokens;
    }
  }
  EXPECT_EQ(TextKl999Interval({}).high, 0);
}

TEST(HasTextKls, OnlyWhereEveryTokenHasIts) {
  Evaluation probes = OrdinaryProbes(10, 20, 3);
  EXPECT_TRUE(HasTextKls(probes));
  probes[4] = Probe({1, 2, 3});
  probes[4].text.kls.clear();  // a result of which only sums were kept
  EXPECT_FALSE(HasTextKls(probes));
  EXPECT_FALSE(HasTextKls(Evaluation(3)));
  EXPECT_FALSE(HasTextKls({}));
}

}  // namespace
}  // namespace bitbudget
