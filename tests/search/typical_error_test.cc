#include "search/typical_error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/base/random.h"

namespace bitbudget {
namespace {

std::vector<double> NormalWeights(int count) {
  Random random(7, {1});
  std::vector<double> weights;
  for (int i = 0; i < count; ++i) weights.push_back(random.Normal());
  return weights;
}

double Energy(const std::vector<double>& weights) {
  double sum = 0;
  for (const double w : weights) sum += w * w;
  return sum;
}

TEST(TypicalErrorTest, ZerosAreTheEnergyOfTheSmallestNormalWeights) {
  constexpr int kCount = 200000;
  std::vector<double> weights = NormalWeights(kCount);
  const double energy = Energy(weights);
  std::sort(
      weights.begin(), weights.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
  for (const int permille : {300, 500, 750, 990}) {
    Format format = kFormatF32;
    format.sparsity = {SparsityKind::kShare, permille};
    const std::vector<double> pruned(weights.begin(), weights.begin() + kCount / 1000 * permille);
    // The spread of the sample: its quantile at a share s has a relative standard error of about
    // sqrt(s (1 - s) / n) / (t f(t)), at most 0.4 % here, and the energy goes with its third power.
    EXPECT_NEAR(TypicalError(format), Energy(pruned) / energy, 0.02 * TypicalError(format));
    EXPECT_EQ(SparsityPermille(format), permille);
  }
}

TEST(TypicalErrorTest, TwoOfFourKeepsTheLargestTwoOfEveryFour) {
  constexpr int kCount = 400000;
  const std::vector<double> weights = NormalWeights(kCount);
  double pruned = 0;
  for (int i = 0; i < kCount; i += 4) {
    double squares[4];
    for (int j = 0; j < 4; ++j) squares[j] = weights[i + j] * weights[i + j];
    std::sort(squares, squares + 4);
    pruned += squares[0] + squares[1];
  }
  Format format = kFormatF32;
  format.sparsity = {SparsityKind::k2of4, 0};
  EXPECT_NEAR(TypicalError(format), pruned / Energy(weights), 0.01 * TypicalError(format));
  EXPECT_EQ(SparsityPermille(format), 500);
}

TEST(TypicalErrorTest, OrdersFormatsOfAllKinds) {
  Format half = kFormatBF16;
  half.sparsity = {SparsityKind::kShare, 500};
  const std::vector<Format> worse_and_worse = {
      kFormatF32,
      kFormatBF16,
      {FormatKind::kInteger, 8, 0, false},
      {FormatKind::kInteger, 4, 64, false},
      {FormatKind::kInteger, 3, 64, false},
      half,
      {FormatKind::kInteger, 2, 64, false},
      {FormatKind::kOneBit, 1, 0, false},
      {FormatKind::kRemoved, 0, 0, false},
  };
  for (size_t i = 1; i < worse_and_worse.size(); ++i) {
    EXPECT_LT(TypicalError(worse_and_worse[i - 1]), TypicalError(worse_and_worse[i])) << i;
  }
  EXPECT_EQ(TypicalError({FormatKind::kRemoved, 0, 0, false}), 1);
  EXPECT_EQ(SparsityPermille({FormatKind::kRemoved, 0, 0, false}), 1000);
  Format both = {FormatKind::kInteger, 2, 64, false};
  both.sparsity = half.sparsity;
  EXPECT_GT(TypicalError(both), TypicalError(half));
  EXPECT_GT(TypicalError(both), TypicalError({FormatKind::kInteger, 2, 64, false}));
}

}  // namespace
}  // namespace bitbudget
