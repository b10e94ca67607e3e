#include "runtime/quantize/clip_encoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

// sum (w - decoded)^2 of every group, in double and in input order.
std::vector<double> GroupErrors(const Encoding& encoding, std::span<const float> weights) {
  std::vector<double> errors;
  std::vector<float> decoded(encoding.cols);
  const int64_t group = encoding.format.GroupSize(encoding.cols);
  for (int64_t row = 0; row < encoding.rows; ++row) {
    DecodeReferenceRow(encoding, row, decoded);
    for (int64_t i = 0; i < encoding.cols; ++i) {
      if (i % group == 0) errors.push_back(0.0);
      const double error = static_cast<double>(weights[row * encoding.cols + i]) - decoded[i];
      errors.back() += error * error;
    }
  }
  return errors;
}

double Sum(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum;
}

// No tolerance: the encoder compares the same exact decoded values in the same order.
TEST(ClipEncoderTest, NeverWorseThanRoundToNearestOnAnyGroup) {
  const auto rtn = MakeRtnEncoder();
  const auto clip = MakeClipEncoder();
  constexpr int64_t kRows = 32;
  for (const Format& format : SupportedFormats()) {
    if (!format.IsInteger()) continue;
    for (const int64_t cols : {1, 2, 3, 7, 9, 31, 33, 64, 129, 300}) {
      for (const double deviation : {2e-7, 0.02, 500.0}) {
        for (const bool heavy : {false, true}) {
          const std::vector<float> weights = heavy
                                                 ? HeavyTailedValues(kRows * cols, deviation, cols)
                                                 : GaussianValues(kRows * cols, deviation, cols);
          const TensorView view = ViewOf(weights, kRows, cols);
          const absl::StatusOr<Encoding> plain = rtn->Encode(view, format);
          const absl::StatusOr<Encoding> clipped = clip->Encode(view, format);
          ASSERT_TRUE(plain.ok() && clipped.ok());
          const std::vector<double> before = GroupErrors(*plain, weights);
          const std::vector<double> after = GroupErrors(*clipped, weights);
          for (size_t g = 0; g < before.size(); ++g) {
            EXPECT_LE(after[g], before[g]) << format.Name() << " k " << cols << " group " << g;
          }
        }
      }
    }
  }
}

// The smallest error of one group over a dense sweep of f16-rounded scales (and zero points).
double SweptError(std::span<const float> weights, const Format& format) {
  const int max_code = (1 << format.bits) - 1;
  float low = 0.0f;
  float high = 0.0f;
  for (const float weight : weights) {
    low = std::min(low, weight);
    high = std::max(high, weight);
  }
  const double widest =
      format.zero_point ? (high - low) / max_code : std::max(-low, high) / (max_code / 2);
  double best = std::numeric_limits<double>::infinity();
  for (int zero = 0; zero <= max_code; ++zero) {
    if (!format.zero_point && zero != 1 << (format.bits - 1)) continue;
    for (int step = -500; step <= 500; ++step) {
      const double scale = HalfToFloat(FloatToHalf(static_cast<float>(widest * step / 450)));
      if (scale == 0.0 || (format.zero_point && step < 0)) continue;
      double error = 0.0;
      for (const float weight : weights) {
        const double q = std::clamp<double>(std::nearbyint(weight / scale), -zero, max_code - zero);
        error += (weight - q * scale) * (weight - q * scale);
      }
      best = std::min(best, error);
    }
  }
  return best;
}

// The search is short; it must still find nearly all of what a thousand scales per zero point find.
TEST(ClipEncoderTest, ClosesNineTenthsOfTheGapToADenseSweep) {
  for (const char* name : {"int4-g32",
                           "int4-g64",
                           "int4-g128",
                           "int4z-g32",
                           "int4z-g128",
                           "int3-g32",
                           "int3-g64",
                           "int3-g128",
                           "int3z-g32",
                           "int3z-g64",
                           "int3z-g128",
                           "int2-g32",
                           "int2-g64",
                           "int2-g128",
                           "int2z-g32",
                           "int2z-g64",
                           "int2z-g128"}) {
    const Format format = ParseFormat(name).value();
    constexpr int64_t kGroups = 24;
    const int64_t size = kGroups * format.group;
    for (const bool heavy : {false, true}) {
      const std::vector<float> weights =
          heavy ? HeavyTailedValues(size, 0.02, 5) : GaussianValues(size, 0.02, 5);
      const TensorView view = ViewOf(weights, kGroups, format.group);
      const double rtn = Sum(GroupErrors(MakeRtnEncoder()->Encode(view, format).value(), weights));
      const double clip =
          Sum(GroupErrors(MakeClipEncoder()->Encode(view, format).value(), weights));
      double swept = 0.0;
      for (int64_t g = 0; g < kGroups; ++g) {
        swept += SweptError(std::span(weights).subspan(g * format.group, format.group), format);
      }
      EXPECT_LT(swept, rtn);
      EXPECT_LE(clip - swept, 0.1 * (rtn - swept)) << name << (heavy ? " heavy" : " gaussian");
    }
  }
}

TEST(ClipEncoderTest, FullRangeWithEitherSignHoldsAllExactLevels) {
  // -8..7 fits with a positive scale, -7..8 only with a negative one; RTN can hold neither. So with
  // -4..3 and -2..1.
  for (const char* name : {"int4-g32", "int3-g32", "int2-g32"}) {
    const Format format = ParseFormat(name).value();
    const int half = 1 << (format.bits - 1);
    for (const float sign : {1.0f, -1.0f}) {
      std::vector<float> weights;
      for (int level = -half; level < half; ++level) {
        weights.push_back(sign * 0.25f * static_cast<float>(level));
      }
      const TensorView view = ViewOf(weights, 1, 2 * half);
      const Encoding encoding = MakeClipEncoder()->Encode(view, format).value();
      std::vector<float> decoded(2 * half);
      DecodeReference(encoding, decoded);
      EXPECT_EQ(decoded, weights) << name;
      EXPECT_GT(Sum(GroupErrors(MakeRtnEncoder()->Encode(view, format).value(), weights)), 0.0);
    }
  }
}

TEST(ClipEncoderTest, TwoOppositeValuesAreExactInFewBits) {
  // Their range cut into three or seven steps has no level on both; a wider one has.
  const std::vector<float> weights = {0.5f, -0.5f, 0.5f, -0.5f, 0.5f};
  for (const char* name : {"int2-g32", "int2z-g32", "int3-g32", "int3z-g32"}) {
    const Encoding encoding =
        MakeClipEncoder()->Encode(ViewOf(weights, 1, 5), ParseFormat(name).value()).value();
    for (const double error : GroupErrors(encoding, weights)) EXPECT_LE(error, 5 * 0x1p-24) << name;
  }
}

TEST(ClipEncoderTest, EveryInputOfAShortGroupIsSearched) {
  // Sizes that are no multiple of a vector; the lowest level, which decides the scale, comes last.
  const Format format = ParseFormat("int4-g32").value();
  for (const int64_t size : {2, 3, 7, 9, 15, 31}) {
    std::vector<float> weights(size);
    for (int64_t i = 0; i < size; ++i) weights[i] = 0.25f * static_cast<float>(7 - i % 4);
    weights.back() = -8 * 0.25f;
    const Encoding encoding = MakeClipEncoder()->Encode(ViewOf(weights, 1, size), format).value();
    std::vector<float> decoded(size);
    DecodeReference(encoding, decoded);
    EXPECT_EQ(decoded, weights) << size;
  }
}

TEST(ClipEncoderTest, FloatFormatsDoNotDependOnTheEncoder) {
  const std::vector<float> weights = GaussianValues(2 * 50, 0.02, 6);
  for (const Format& format : {kFormatF32, kFormatBF16, kFormatF16}) {
    EXPECT_EQ(MakeClipEncoder()->Encode(ViewOf(weights, 2, 50), format).value().bytes,
              MakeRtnEncoder()->Encode(ViewOf(weights, 2, 50), format).value().bytes);
  }
}

}  // namespace
}  // namespace bitbudget
