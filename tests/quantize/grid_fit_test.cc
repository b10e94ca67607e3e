#include "runtime/quantize/grid_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "runtime/tensor/block_format.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

// Positive values that differ by orders of magnitude.
std::vector<float> LogNormal(int64_t size, double deviation, uint64_t seed) {
  std::vector<float> values = GaussianValues(size, deviation, seed);
  for (float& value : values) value = std::exp(value);
  return values;
}

TEST(GridFit, EveryInstructionSetGivesTheSameBits) {
  for (const int64_t size : {1, 5, 8, 16, 31, 32, 256}) {
    for (uint64_t seed = 1; seed < 20; ++seed) {
      const std::vector<float> weights = HeavyTailedValues(size, 0.02, seed);
      const std::vector<float> importance = LogNormal(size, 2.0, seed);
      const float scale = 0.001f * static_cast<float>(seed);
      EXPECT_TRUE(internal::FitsAgree(weights, {}, scale));
      EXPECT_TRUE(internal::FitsAgree(weights, importance, -scale));
    }
  }
}

// Against the definition, in double.
TEST(GridFit, SumsAreThoseOfTheNearestLevels) {
  const std::vector<float> weights = GaussianValues(77, 1.0, 20);
  const std::vector<float> importance = LogNormal(77, 1.0, 21);
  const LevelTable table{internal::kNonLinearLevels};
  for (const float scale : {0.02f, -0.013f, 0.4f}) {
    double steps[3] = {}, levels[3] = {}, affine[6] = {};
    for (size_t i = 0; i < weights.size(); ++i) {
      const double w = weights[i];
      const double v = importance[i];
      const auto add = [&](double q, double* sums) {
        sums[0] += v * (w - scale * q) * (w - scale * q);
        sums[1] += v * q * (w - scale * q);
        sums[2] += v * q * q;
      };
      add(std::clamp(std::nearbyint(w / scale), -8.0, 7.0), steps);
      double nearest = 1e9;
      for (const int8_t level : internal::kNonLinearLevels) {
        if (std::abs(w / scale - level) < std::abs(w / scale - nearest)) nearest = level;
      }
      add(nearest, levels);
      const double q = std::clamp(std::nearbyint((w + 0.5) / scale), 0.0, 15.0);
      const double d = w - (scale * q - 0.5);
      for (const auto& [at, value] : std::vector<std::pair<int, double>>{
               {0, d * d}, {1, q * d}, {2, d}, {3, q * q}, {4, q}, {5, 1.0}}) {
        affine[at] += v * value;
      }
    }
    // 77 float additions of terms with two roundings, relative to sums of magnitudes: residuals
    // cancel, so the bound for them is against what they are made of.
    constexpr double kBound = 80 * 0x1p-24;
    const ScaleFit got = FitSteps(weights, importance, StepGrid{scale, -8, 7});
    EXPECT_NEAR(got.error, steps[0], kBound * steps[0]);
    EXPECT_NEAR(got.energy, steps[2], kBound * steps[2]);
    EXPECT_NEAR(got.cross, steps[1], kBound * std::sqrt(steps[0] * steps[2]));
    const ScaleFit by_table = FitLevels(weights, importance, scale, table);
    EXPECT_NEAR(by_table.error, levels[0], kBound * levels[0]);
    EXPECT_NEAR(by_table.energy, levels[2], kBound * levels[2]);
    EXPECT_NEAR(by_table.cross, levels[1], kBound * std::sqrt(levels[0] * levels[2]));
    const AffineFit with_minimum = FitAffine(weights, importance, scale, 0.5f, 15);
    EXPECT_NEAR(with_minimum.error, affine[0], kBound * affine[0]);
    EXPECT_NEAR(with_minimum.cross, affine[1], kBound * std::sqrt(affine[0] * affine[3]));
    EXPECT_NEAR(with_minimum.residual, affine[2], kBound * std::sqrt(affine[0] * affine[5]));
    EXPECT_NEAR(with_minimum.energy, affine[3], kBound * affine[3]);
    EXPECT_NEAR(with_minimum.sum, affine[4], kBound * affine[4]);
    EXPECT_NEAR(with_minimum.total, affine[5], kBound * affine[5]);
  }
}

// As many grids as fill lanes, and not.
TEST(GridFit, RanksManyGridsAsTheirSumsSay) {
  const std::vector<float> weights = GaussianValues(77, 1.0, 20);
  const std::vector<float> importance = LogNormal(77, 1.0, 21);
  for (const size_t count : {1, 7, 8, 9, 16, 20, 27}) {
    std::vector<float> scales, lows, best(count), errors(count);
    for (size_t i = 0; i < count; ++i) {
      scales.push_back((i % 2 == 0 ? 0.02f : -0.03f) * static_cast<float>(i + 1));
      lows.push_back(-static_cast<float>(i % 8));
    }
    scales.back() = 1e6f;  // all levels are 0
    RankSteps(weights, importance, {scales, lows, 7}, best, errors);
    for (size_t i = 0; i + 1 < count; ++i) {
      const ScaleFit fit = FitSteps(weights, importance, StepGrid{scales[i], lows[i], lows[i] + 7});
      ASSERT_TRUE(fit.HasBetterScale());
      EXPECT_NEAR(errors[i], fit.BestError(), 1e-4 * fit.error) << count << " " << i;
      EXPECT_NEAR(best[i], scales[i] + fit.ScaleStep(), 1e-4 * std::abs(best[i]));
    }
    EXPECT_EQ(errors.back(), INFINITY);
  }
}

}  // namespace
}  // namespace bitbudget
