#include "runtime/kernels/token_rounding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "runtime/kernels/linear.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

TEST(RoundPerToken, ErrorsAreWithinAStepLevelsFewAndZeroExact) {
  for (const int bits : {2, 4, 8}) {
    std::vector<float> x = GaussianValues(3 * 40, 1.0, 7);
    x[5] = 0;
    for (int i = 40; i < 80; ++i) x[i] = std::abs(x[i]) + 3;  // a range that 0 must extend
    const std::vector<float> before = x;
    RoundPerToken(x.data(), 40, 3, 40, bits);
    EXPECT_EQ(x[5], 0);
    for (int row = 0; row < 3; ++row) {
      const auto begin = before.begin() + row * 40;
      const float low = std::min(0.0f, *std::min_element(begin, begin + 40));
      const float high = std::max(0.0f, *std::max_element(begin, begin + 40));
      const float step = (high - low) / static_cast<float>((1 << bits) - 1);
      std::set<float> values;
      for (int i = row * 40; i < (row + 1) * 40; ++i) {
        values.insert(x[i]);
        // Half a step, and another half at the ends, where the rounded zero point shifts the grid.
        EXPECT_LE(std::abs(x[i] - before[i]), step * 1.0001f) << bits << " " << i;
      }
      EXPECT_LE(values.size(), size_t{1} << bits);
    }
  }
}

TEST(RoundPerToken, AgreesWithTheFormulaInDouble) {
  std::vector<float> x = GaussianValues(64, 2.0, 9);
  const std::vector<float> before = x;
  RoundPerToken(x.data(), 64, 1, 64, 4);
  const double low = *std::min_element(before.begin(), before.end());
  const double high = *std::max_element(before.begin(), before.end());
  const double h = (high - low) / 15;
  const double zero = std::nearbyint(-low / h);
  for (int i = 0; i < 64; ++i) {
    const double q = std::clamp(std::nearbyint(before[i] / h) + zero, 0.0, 15.0);
    EXPECT_NEAR(x[i], h * (q - zero), 1e-5) << i;
  }
}

TEST(RoundPerToken, RowsAreIndependentAndTheGapBetweenThemStays) {
  std::vector<float> x = GaussianValues(4 * 20, 1.0, 3);
  std::vector<float> alone(x.begin() + 40, x.begin() + 57);
  const std::vector<float> before = x;
  RoundPerToken(x.data(), 20, 4, 17, 4);
  RoundPerToken(alone.data(), 17, 1, 17, 4);
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), x.begin() + 40));
  for (int row = 0; row < 4; ++row) {
    for (int i = 17; i < 20; ++i) EXPECT_EQ(x[row * 20 + i], before[row * 20 + i]);
  }
}

TEST(RoundPerToken, RowsOfZerosAndRowsThatAreNotFiniteStay) {
  const float largest = std::numeric_limits<float>::max();
  std::vector<float> x = {0, 0, 0, 1, NAN, 2, 1, -INFINITY, 2, largest, -largest, 0};
  RoundPerToken(x.data(), 3, 4, 3, 4);
  EXPECT_EQ(x[0], 0);
  EXPECT_EQ(x[3], 1);
  EXPECT_TRUE(std::isnan(x[4]));
  EXPECT_EQ(x[7], -INFINITY);
  EXPECT_EQ(x[11], 0);
  EXPECT_TRUE(std::isfinite(x[9]) || x[9] > 0) << "beyond the range by at most half a step";
}

TEST(PackActivations, RoundsRowsToTokenBitsFirst) {
  const std::vector<float> weights = GaussianValues(8 * 64, 0.1, 1);
  const Encoding encoding =
      *MakeRtnEncoder()->Encode(ViewOf(weights, 8, 64), *ParseFormat("int4-g32"));
  WeightPanels panels = PackWeights(encoding);
  std::vector<float> x = GaussianValues(5 * 70, 1.0, 2);
  const auto product = [&](int token_bits) {
    panels.token_bits = token_bits;
    PackedActivations packed;
    PackActivations(panels.packing(), x.data(), 70, 5, 64, &packed);
    std::vector<float> y(5 * 8);
    Linear(packed, panels, y.data(), 8);
    return y;
  };
  const std::vector<float> exact = product(0);
  const std::vector<float> rounded = product(4);
  EXPECT_NE(rounded, exact);
  RoundPerToken(x.data(), 70, 5, 64, 4);
  EXPECT_EQ(product(0), rounded);
}

}  // namespace
}  // namespace bitbudget
