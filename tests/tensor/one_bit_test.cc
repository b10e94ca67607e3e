// One-bit layers: the decomposition against the paper's claims, and its bytes.

#include "runtime/tensor/one_bit.h"

#include <gtest/gtest.h>

#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

using Bytes = std::vector<uint8_t>;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr Format kOneBit{FormatKind::kOneBit, 1, 0, false};
constexpr Format kOneBitNorm{FormatKind::kOneBit, 1, 0, false, true};

std::vector<float> Decoded(const std::vector<float>& weights,
                           int64_t rows,
                           const Encoder& encoder,
                           const InputStats& stats = {}) {
  const int64_t cols = static_cast<int64_t>(weights.size()) / rows;
  const auto encoding = encoder.Encode(ViewOf(weights, rows, cols), kOneBit, stats);
  EXPECT_TRUE(encoding.ok()) << encoding.status();
  std::vector<float> out(weights.size());
  if (encoding.ok()) DecodeReference(*encoding, out);
  return out;
}

double Error(const std::vector<float>& weights,
             const std::vector<float>& decoded,
             const std::vector<float>& moments = {}) {
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double error = static_cast<double>(weights[i]) - decoded[i];
    sum += error * error * (moments.empty() ? 1.0 : moments[i % moments.size()]);
  }
  return sum;
}

Matrix MatrixOf(const std::vector<float>& values, int64_t rows) {
  Matrix m(rows, static_cast<int64_t>(values.size()) / rows);
  for (size_t i = 0; i < values.size(); ++i) m.data()[i] = values[i];
  return m;
}

// The squared error of the best approximation of rank 1.
double BestRankOne(const Matrix& m) {
  const double sigma = Eigen::JacobiSVD<Matrix>(m).singularValues()(0);
  return std::max(0.0, m.squaredNorm() - sigma * sigma);
}

std::vector<float> Moments(int64_t cols) {
  std::vector<float> moments = GaussianValues(cols, 1.5, cols);
  for (float& moment : moments) moment = std::exp(moment);
  return moments;
}

constexpr std::pair<int64_t, int64_t> kShapes[] = {
    {1, 1}, {1, 9}, {9, 1}, {2, 2}, {16, 24}, {24, 16}, {33, 65}, {60, 128}};

// f16 rounds every factor by at most 2^-11 relative, so an entry by 2^-10, and |W| is at most twice
// the norm of what approximates it apart. The error may therefore grow by (a + b)^2 - a^2.
double WithRounding(double error, double norm_squared) {
  const double rounding = 0x1p-10 * std::sqrt(norm_squared);
  return error + 2 * rounding * std::sqrt(error) + rounding * rounding;
}

TEST(OneBitTest, IsTheBestRankOneApproximationOfMagnitudes) {
  for (const auto& [rows, cols] : kShapes) {
    for (const bool heavy : {false, true}) {
      const std::vector<float> weights = heavy ? HeavyTailedValues(rows * cols, 0.02, cols)
                                               : GaussianValues(rows * cols, 0.02, cols);
      const Matrix m = MatrixOf(weights, rows);
      const double best = BestRankOne(m.cwiseAbs());
      const double error = Error(weights, Decoded(weights, rows, *MakeRtnEncoder()));
      EXPECT_LE(error, WithRounding(best + 1e-12, m.squaredNorm())) << rows << " x " << cols;
      EXPECT_GE(error, best * (1 - 1e-9) - 1e-12);
    }
  }
}

// OneBit, Proposition 2.
TEST(OneBitTest, IsNoWorseThanTheBestRankOneApproximationOfTheMatrix) {
  for (const auto& [rows, cols] : kShapes) {
    for (const uint64_t seed : {1, 2, 3}) {
      const std::vector<float> weights = GaussianValues(rows * cols, 0.02, seed);
      const Matrix m = MatrixOf(weights, rows);
      EXPECT_LE(Error(weights, Decoded(weights, rows, *MakeRtnEncoder())),
                WithRounding(BestRankOne(m), m.squaredNorm()) + 1e-12);
    }
  }
}

TEST(OneBitTest, BitsOfAMatrixOf4096) {
  const int64_t bits = SizeBits(kOneBit, 4096, 4096);
  EXPECT_EQ(bits, int64_t{4096} * 4096 + 2 * 16 * 4096);
  EXPECT_EQ(SizeBits(kOneBitNorm, 4096, 4096), bits);
  const double weights = 4096.0 * 4096;
  EXPECT_EQ(static_cast<double>(bits) / weights, 1.0078125);
  // The paper counts the entries of g and h among the parameters (appendix A.7): 1.0073.
  EXPECT_NEAR(static_cast<double>(bits) / (weights + 2 * 4096), 1.0073, 0.00005);
  EXPECT_EQ(SizeBits(kOneBit, 3, 9), 8 * (3 * 2 + 2 * (3 + 9)));
  EXPECT_EQ(SizeBits(kOneBit, 0, 9), 0);
  EXPECT_EQ(SizeBits(kOneBit, 9, 0), 0);
}

TEST(OneBitTest, WorkedExample) {
  // Rank 1 in magnitude: h = (1, 2) and g = (0.5, 1, 2) up to the split, the largest entries of
  // which are 2 and 2.
  const std::vector<float> weights = {0.5f, -1, 2, -1, 2, -4};
  for (const Format& format : {kOneBit, kOneBitNorm}) {
    const auto encoding = MakeClipEncoder()->Encode(ViewOf(weights, 2, 3), format);
    ASSERT_TRUE(encoding.ok());
    ASSERT_EQ(encoding->bytes.size(), 12u);
    EXPECT_EQ(encoding->bytes[0], 0x02);
    EXPECT_EQ(encoding->bytes[1], 0x05);
    std::vector<float> decoded(6);
    DecodeReference(*encoding, decoded);
    for (size_t i = 0; i < 6; ++i) {
      EXPECT_NEAR(decoded[i], weights[i], std::abs(weights[i]) * 0x1p-10);
    }
  }
  // Signs, then g = (0.5, 1, 2), then h = (1, 2).
  const Encoding golden{
      kOneBit, 2, 3, {0x02, 0x05, 0x00, 0x38, 0x00, 0x3c, 0x00, 0x40, 0x00, 0x3c, 0x00, 0x40}};
  std::vector<float> decoded(6);
  DecodeReference(golden, decoded);
  EXPECT_EQ(decoded, weights);
}

TEST(OneBitTest, TheSignOfZeroIsPlus) {
  const std::vector<float> weights = {0.0f, -0.0f, 1.0f, -1.0f};
  const auto encoding = MakeRtnEncoder()->Encode(ViewOf(weights, 1, 4), kOneBit);
  EXPECT_EQ(encoding->bytes[0], 0x08);
}

TEST(OneBitTest, EveryEncoderGivesTheSameWithoutStatistics) {
  const std::vector<float> weights = GaussianValues(20 * 30, 0.02, 1);
  EXPECT_EQ(Decoded(weights, 20, *MakeRtnEncoder()), Decoded(weights, 20, *MakeClipEncoder()));
}

TEST(OneBitTest, MomentsLowerTheErrorTheyWeigh) {
  for (const auto& [rows, cols] : kShapes) {
    const std::vector<float> weights = HeavyTailedValues(rows * cols, 0.02, 5 + cols);
    std::vector<float> moments = Moments(cols);
    if (cols > 20) moments[3] = moments[17] = 0.0f;  // dead channels
    const double plain = Error(weights, Decoded(weights, rows, *MakeRtnEncoder()), moments);
    const double fitted =
        Error(weights, Decoded(weights, rows, *MakeImatrixEncoder(), {moments, nullptr}), moments);
    EXPECT_LE(fitted, plain * (1 + 1e-12)) << rows << " x " << cols;
    // It is the best there is for this objective.
    Matrix m = MatrixOf(weights, rows).cwiseAbs();
    for (int64_t i = 0; i < cols; ++i) m.col(i) *= std::sqrt(moments[i]);
    EXPECT_LE(fitted, WithRounding(BestRankOne(m) + 1e-12, m.squaredNorm()));
    if (rows > 20 && cols > 20) {
      EXPECT_LT(fitted, plain);
    }
  }
}

TEST(OneBitTest, UnusualMatrices) {
  for (const float value : {0.0f, 1e-7f, 0.3f, -123.0f, 1e4f, 1e9f}) {
    const std::vector<float> weights(5 * 7, value);
    for (const float decoded : Decoded(weights, 5, *MakeRtnEncoder())) {
      // 1e-7 is a product of two factors near 3e-4, which f16 holds to 2^-11.
      EXPECT_NEAR(decoded, value, std::abs(value) * 0x1p-10);
    }
  }
  std::vector<float> outlier = GaussianValues(30 * 40, 0.02, 2);
  outlier[77] = 1e4f;
  for (const float value : Decoded(outlier, 30, *MakeRtnEncoder()))
    EXPECT_TRUE(std::isfinite(value));
  // A row and a column of zeros.
  std::vector<float> gaps = GaussianValues(6 * 8, 0.02, 3);
  for (int64_t i = 0; i < 8; ++i) gaps[2 * 8 + i] = 0;
  for (int64_t i = 0; i < 6; ++i) gaps[i * 8 + 5] = 0;
  const std::vector<float> decoded = Decoded(gaps, 6, *MakeRtnEncoder());
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(decoded[2 * 8 + i], 0.0f);
  for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(decoded[i * 8 + 5], 0.0f);

  std::vector<float> bad(5 * 7, 0.5f);
  bad[2 * 7 + 3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(MakeRtnEncoder()->Encode(ViewOf(bad, 5, 7), kOneBit).status().message(),
            "weight at row 2, column 3 is nan, not a finite number");
  const std::vector<float> huge(5 * 7, 1e12f);
  const auto refused = MakeRtnEncoder()->Encode(ViewOf(huge, 5, 7), kOneBit);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(std::string(refused.status().message()).find("beyond the largest f16"),
            std::string::npos);
}

TEST(OneBitTest, ThreadsGiveTheSameBytes) {
  const std::vector<float> weights = HeavyTailedValues(70 * 600, 0.02, 4);
  const std::vector<float> moments = Moments(600);
  const auto encoder = MakeImatrixEncoder();
  const TensorView view = ViewOf(weights, 70, 600);
  EXPECT_EQ(encoder->Encode(view, kOneBit, {moments, nullptr}, 1)->bytes,
            encoder->Encode(view, kOneBit, {moments, nullptr}, 4)->bytes);
}

}  // namespace
}  // namespace bitbudget
