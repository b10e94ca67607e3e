#include "runtime/training/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

// The algorithm in double, one parameter at a time.
struct Plain {
  double value, mean = 0, square = 0;
  int steps = 0;
  void Step(double g, double rate, double decay) {
    ++steps;
    mean = 0.9 * mean + 0.1 * g;
    square = 0.999 * square + 0.001 * g * g;
    const double m = mean / (1 - std::pow(0.9, steps));
    const double s = square / (1 - std::pow(0.999, steps));
    value -= rate * (m / (std::sqrt(s) + 1e-8)) + rate * decay * value;
  }
};

TEST(AdamW, IsTheAlgorithmForAnyThreadsWithUnitsAndDecay) {
  constexpr int64_t kSize = 40000;  // several parts
  std::vector<float> results[2];
  for (const int threads : {1, 3}) {
    ParameterArray array{.unit = 0.5f, .values = GaussianValues(kSize, 1, 1)};
    std::vector<ParameterArray*> arrays = {&array};
    Plain plain{array.values[123]};
    AdamW optimiser({.weight_decay = 0.1});
    for (int step = 0; step < 5; ++step) {
      array.gradient = GaussianValues(kSize, 0.01, 10 + step);
      const double rate = 0.02 * (step + 1);
      // Decay goes with the rate alone, the step with the unit too.
      const double before = plain.value;
      plain.Step(array.gradient[123], rate * 0.5, 0);
      plain.value -= rate * 0.1 * before;
      optimiser.Step(arrays, std::vector<double>{rate}, threads);
    }
    EXPECT_NEAR(array.values[123], plain.value, 1e-5);
    results[threads / 2] = array.values;
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(AdamW, GoesOnFromSavedBytesAsIfNothingHadHappened) {
  std::vector<float> ends[2];
  for (const bool saved : {false, true}) {
    ParameterArray array{.values = GaussianValues(300, 1, 1)};
    std::vector<ParameterArray*> arrays = {&array};
    AdamW optimiser;
    for (int step = 0; step < 6; ++step) {
      if (saved && step == 3) {
        const std::string bytes = optimiser.Save();
        AdamW other;
        ASSERT_TRUE(other.Load(bytes));
        optimiser = other;
        EXPECT_FALSE(other.Load(bytes.substr(0, bytes.size() - 1)));
        EXPECT_FALSE(other.Load(bytes + "x"));
      }
      array.gradient = GaussianValues(300, 1, 10 + step);
      optimiser.Step(arrays, std::vector<double>{0.01}, 1);
    }
    ends[saved ? 1 : 0] = array.values;
  }
  EXPECT_EQ(ends[0], ends[1]);
}

TEST(CosineRate, WarmsUpThenFallsToNothing) {
  EXPECT_DOUBLE_EQ(CosineRate(2, 0, 100, 10), 0.2);
  EXPECT_DOUBLE_EQ(CosineRate(2, 9, 100, 10), 2);
  EXPECT_DOUBLE_EQ(CosineRate(2, 10, 100, 10), 2);
  EXPECT_NEAR(CosineRate(2, 55, 100, 10), 1, 1e-12);
  EXPECT_NEAR(CosineRate(2, 100, 100, 10), 0, 1e-12);
  EXPECT_DOUBLE_EQ(CosineRate(2, 0, 1, 0), 2);
}

TEST(ClipGradients, BoundsTheNormOfAllArraysTogether) {
  ParameterArray a{.values = {0}, .gradient = {3}};
  ParameterArray b{.values = {0}, .gradient = {4}};
  std::vector<ParameterArray*> arrays = {&a, &b};
  EXPECT_DOUBLE_EQ(ClipGradients(arrays, 10), 5);
  EXPECT_EQ(a.gradient[0], 3);
  EXPECT_DOUBLE_EQ(ClipGradients(arrays, 1), 5);
  EXPECT_FLOAT_EQ(a.gradient[0], 0.6f);
  EXPECT_FLOAT_EQ(b.gradient[0], 0.8f);
  b.gradient[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(ClipGradients(arrays, 1)));
  EXPECT_FLOAT_EQ(a.gradient[0], 0.6f);
}

}  // namespace
}  // namespace bitbudget
