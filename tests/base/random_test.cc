// clang-format off: random.h uses size_t and relies on what was included before it.
#include <cstddef>
// clang-format on

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "runtime/base/random.h"

namespace bitbudget {
namespace {

// The mixing function and the counter step, written again from the paper (Steele, Lea, Flood 2014,
// figure 16).
uint64_t SplitMix64(uint64_t* state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

TEST(RandomTest, AStreamIsSplitMix64FromItsKey) {
  // Published test vector: the first outputs for state 1234567.
  uint64_t state = 1234567;
  EXPECT_EQ(SplitMix64(&state), 6457827717110365317u);
  EXPECT_EQ(SplitMix64(&state), 3203168211198807973u);

  uint64_t key = 42 - 0x9e3779b97f4a7c15u;  // SplitMix64 steps before it mixes
  key = SplitMix64(&key);
  Random random(42);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.Next(), SplitMix64(&key)) << i;
}

TEST(RandomTest, StreamsDifferInSeedCoordinatesAndTheirOrder) {
  std::set<uint64_t> first;
  int streams = 0;
  const auto add = [&](Random random) {
    first.insert(random.Next());
    ++streams;
  };
  for (uint64_t seed = 0; seed < 20; ++seed) {
    add(Random(seed));
    for (uint64_t a = 0; a < 20; ++a) {
      add(Random(seed, {a}));
      for (uint64_t b = 0; b < 20; ++b) add(Random(seed, {a, b}));
    }
  }
  EXPECT_EQ(static_cast<int>(first.size()), streams);
}

TEST(RandomTest, StreamsDoNotDependOnTheOrderOfUse) {
  Random one(7, {1});
  Random two(7, {2});
  std::vector<uint64_t> interleaved;
  for (int i = 0; i < 10; ++i) {
    one.Next();
    interleaved.push_back(two.Next());
  }
  Random alone(7, {2});
  for (const uint64_t value : interleaved) EXPECT_EQ(alone.Next(), value);
}

TEST(RandomTest, UniformFillsTheUnitIntervalEvenly) {
  Random random(3);
  constexpr int kDraws = 1 << 20;
  constexpr int kBins = 64;
  std::vector<int> bins(kBins);
  for (int i = 0; i < kDraws; ++i) {
    const double value = random.Uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    ++bins[static_cast<int>(value * kBins)];
  }
  // The count of a bin has standard deviation sqrt(expected); six of them happen once in 5e8.
  const double expected = static_cast<double>(kDraws) / kBins;
  for (const int count : bins) {
    EXPECT_LT((count - expected) * (count - expected), 36 * expected);
  }
}

TEST(RandomTest, BelowReachesEveryValueAndNeverTheBound) {
  Random random(4);
  for (const uint64_t bound : {1u, 2u, 3u, 7u, 10u}) {
    std::set<uint64_t> seen;
    for (int i = 0; i < 1000; ++i) seen.insert(random.Below(bound));
    EXPECT_EQ(seen.size(), bound);
    EXPECT_EQ(*seen.rbegin(), bound - 1);
  }
  const uint64_t huge = ~uint64_t{0};
  for (int i = 0; i < 1000; ++i) EXPECT_LT(random.Below(huge), huge);
}

TEST(RandomTest, ShufflePermutesAndEveryPlaceIsEquallyLikely) {
  constexpr int kSize = 5;
  constexpr int kDraws = 50000;
  std::vector<std::vector<int>> counts(kSize, std::vector<int>(kSize));
  Random random(5);
  for (int draw = 0; draw < kDraws; ++draw) {
    std::vector<int> values(kSize);
    std::iota(values.begin(), values.end(), 0);
    random.Shuffle(values);
    for (int i = 0; i < kSize; ++i) ++counts[values[i]][i];
    std::sort(values.begin(), values.end());
    for (int i = 0; i < kSize; ++i) ASSERT_EQ(values[i], i);
  }
  const double expected = static_cast<double>(kDraws) / kSize;
  for (const auto& row : counts) {
    for (const int count : row) EXPECT_LT((count - expected) * (count - expected), 36 * expected);
  }
  std::vector<int> none;
  random.Shuffle(none);
  EXPECT_TRUE(none.empty());
}

}  // namespace
}  // namespace bitbudget
