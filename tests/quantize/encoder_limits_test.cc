// What encoders make of unusual weights, and what they refuse.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/quantize/encoder.h"
#include "tests/quantize/groupwise_encoders.h"
#include "tests/support/formats.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

// The refusal must be kInvalidArgument and contain all of `parts`.
void ExpectRefused(const std::vector<float>& weights,
                   int64_t rows,
                   const Format& format,
                   std::initializer_list<const char*> parts) {
  for (const auto& encoder : GroupwiseEncoders()) {
    const std::vector<float> moments = MomentsOf(static_cast<int64_t>(weights.size()) / rows);
    const absl::StatusOr<Encoding> encoding =
        encoder->Encode(ViewOf(weights, rows, weights.size() / rows), format, {moments, nullptr});
    ASSERT_FALSE(encoding.ok()) << format.Name();
    EXPECT_EQ(encoding.status().code(), absl::StatusCode::kInvalidArgument);
    for (const char* part : parts) {
      EXPECT_NE(std::string(encoding.status().message()).find(part), std::string::npos)
          << encoding.status() << " lacks " << part;
    }
  }
}

TEST(EncoderTest, UnusualGroupsDecodeToFiniteValuesInTheirRange) {
  constexpr float kDenormal = std::numeric_limits<float>::denorm_min();
  const std::vector<std::vector<float>> patterns = {{0.0f},
                                                    {-0.0f},
                                                    {0.3f},
                                                    {-0.3f},
                                                    {1e4f, 1e-3f, -1e-3f},
                                                    {1e4f, -1e4f},
                                                    {kDenormal},
                                                    {-kDenormal, kDenormal},
                                                    {1e-30f},
                                                    {0x1p-24f, -0x1p-23f},
                                                    {0x1p-22f, 0x1p-25f},
                                                    {7 * 0x1p-25f, 0},
                                                    {65504.0f, -65504.0f},
                                                    {1e-38f, 1e4f}};
  for (const auto& encoder : GroupwiseEncoders()) {
    for (const Format& format : SupportedFormats()) {
      if (format.IsBlock()) continue;  // block_encoder_test.cc
      for (const std::vector<float>& pattern : patterns) {
        for (const int64_t cols : {1, 5, 70}) {
          std::vector<float> weights(cols);
          float largest = 0.0f;
          for (int64_t i = 0; i < cols; ++i) {
            weights[i] = pattern[i % pattern.size()];
            largest = std::max(largest, std::abs(weights[i]));
          }
          for (const float value : Decode(MustEncode(*encoder, ViewOf(weights, 1, cols), format))) {
            ASSERT_TRUE(std::isfinite(value));
            // A rounded range may end half a step, or one smallest f16 per step, further out.
            EXPECT_LE(std::abs(value), 1.15f * largest + 255 * 0x1p-25f)
                << encoder->name() << " " << format.Name() << " of " << pattern[0];
          }
        }
      }
    }
  }
}

TEST(EncoderTest, GroupsBelowTheSmallestScaleBecomeZeros) {
  for (const auto& encoder : GroupwiseEncoders()) {
    for (const Format& format : SupportedFormats()) {
      if (!format.IsInteger()) continue;
      // A range of 2^-25 per step has a scale of half the smallest f16, a tie that goes to 0.
      const int steps = (1 << (format.zero_point ? format.bits : format.bits - 1)) - 1;
      const float largest = static_cast<float>(std::min(steps, 7)) * 0x1p-25f;
      const std::vector<float> weights = {largest, largest / 7, 0.0f, 1e-12f, 1e-45f};
      const Encoding encoding = MustEncode(*encoder, ViewOf(weights, 1, 5), format);
      std::vector<int16_t> centered(5);
      std::vector<float> scale(1);
      UnpackIntegerRow(encoding, 0, centered, scale);
      EXPECT_EQ(std::bit_cast<uint32_t>(scale[0]), 0u) << format.Name();
      EXPECT_EQ(centered, std::vector<int16_t>(5)) << format.Name();
    }
  }
}

TEST(EncoderTest, ConstantGroupsKeepTheirValueToScalePrecision) {
  for (const auto& encoder : GroupwiseEncoders()) {
    for (const Format& format : FormatsFor(70)) {
      if (format.kind == FormatKind::kRemoved) continue;
      for (const float value : {0.3f, -0.3f, 123.0f}) {
        const std::vector<float> weights(70, value);
        for (const float got : Decode(MustEncode(*encoder, ViewOf(weights, 1, 70), format))) {
          // bf16 has 8 bits of precision; every integer format inherits the 11 of its f16 scale.
          const float precision = format == kFormatBF16 ? 0x1p-8f : 0x1p-11f;
          EXPECT_LE(std::abs(got - value), std::abs(value) * precision) << format.Name();
        }
      }
    }
  }
}

TEST(EncoderTest, NanAndInfinityAreRefusedWithTheirPlace) {
  for (const int64_t cols : {70, 256}) {
    for (const Format& format : FormatsFor(cols)) {
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}) {
        std::vector<float> weights(3 * cols, 0.5f);
        weights[1 * cols + 67] = bad;
        ExpectRefused(weights, 3, format, {"row 1, column 67", std::isnan(bad) ? "nan" : "inf"});
      }
    }
  }
}

TEST(EncoderTest, ValuesBeyondTheFloatFormatAreRefused) {
  ExpectRefused({1, 2, 3, 4, -65520, 6}, 2, kFormatF16, {"row 1, column 1", "bf16 or f32"});
  ExpectRefused({1, 3.4e38f}, 1, kFormatBF16, {"row 0, column 1", "use f32"});
  for (const auto& encoder : GroupwiseEncoders()) {
    const std::vector<float> largest = {65504.0f, -65519.0f};  // the last rounds down to 65504
    EXPECT_EQ(Decode(MustEncode(*encoder, ViewOf(largest, 1, 2), kFormatF16)),
              (std::vector<float>{65504.0f, -65504.0f}));
  }
}

TEST(EncoderTest, ScalesBeyondF16AreRefused) {
  const float max = std::numeric_limits<float>::max();
  for (const char* name :
       {"int2-g32", "int3z-g32", "int4-g32", "int4z-g32", "int8-g32", "int8z-g32"}) {
    std::vector<float> weights(2 * 40, 0.5f);
    weights[40 + 35] = 2e7f;  // row 1, the short second group
    ExpectRefused(weights, 2, Parse(name), {"row 1, columns 32 to 39", "2e+07", "bf16 or f32"});
    ExpectRefused({max, -max}, 1, Parse(name), {"row 0, columns 0 to 1"});
  }
  // The largest that fits: 7 steps of 65504.
  const std::vector<float> weights = {7 * 65504.0f, -65504.0f};
  for (const auto& encoder : GroupwiseEncoders()) {
    EXPECT_EQ(Decode(MustEncode(*encoder, ViewOf(weights, 1, 2), Parse("int4-g32"))), weights);
  }
}

// The offset is an f16 too, and where a group is nearly constant it alone is too large.
TEST(EncoderTest, OffsetsBeyondF16AreRefused) {
  for (const Format& format : SupportedFormats()) {
    if (format.kind != FormatKind::kAffine) continue;
    std::vector<float> weights(2 * 256, 1.0f);
    std::fill(weights.begin() + 256 + 128, weights.end(), -7e4f);
    ExpectRefused(weights, 2, format, {"row 1, columns 128 to", format.Name().c_str()});
    std::replace(weights.begin(), weights.end(), -7e4f, -65504.0f);
    for (const auto& encoder : GroupwiseEncoders()) {
      EXPECT_EQ(Decode(MustEncode(*encoder, ViewOf(weights, 2, 256), format)), weights)
          << format.Name();
    }
  }
}

TEST(EncoderTest, FormatsThatDoNotExistAreRefused) {
  ExpectRefused({1, 2}, 1, {FormatKind::kInteger, 5, 64, false}, {"int5-g64"});
}

TEST(EncoderTest, RowsThatAreNotWholeBlocksAreRefused) {
  for (const Format& format : SupportedFormats()) {
    if (!format.IsBlock()) continue;
    const std::string block = std::to_string(format.BlockSize());
    ExpectRefused(std::vector<float>(48), 1, format, {"rows of 48", block.c_str(), "whole blocks"});
  }
}

TEST(EncoderTest, MomentsMustBeThereAndFinite) {
  const std::vector<float> weights = GaussianValues(64, 0.02, 1);
  const TensorView view = ViewOf(weights, 2, 32);
  const auto encoder = MakeImatrixEncoder();
  const auto message = [&](const std::vector<float>& moments) {
    return std::string(encoder->Encode(view, Parse("q4_0"), {moments, nullptr}).status().message());
  };
  EXPECT_EQ(message({}),
            "encoder imatrix needs the second moments of the matrix's inputs on calibration text");
  EXPECT_EQ(message(std::vector<float>(31, 1.0f)), "31 moments for 32 columns");
  for (const float bad : {-1.0f, INFINITY, NAN}) {
    std::vector<float> moments(32, 1.0f);
    moments[5] = bad;
    EXPECT_NE(message(moments).find("the moment of column 5 is"), std::string::npos);
  }
  EXPECT_EQ(message(std::vector<float>(32, 1.0f)), "");
  EXPECT_TRUE(encoder->Encode(view, kFormatBF16).ok()) << "floats need no moments";
  const std::vector<float> unfit(3, NAN);
  for (const auto& other : GroupwiseEncoders()) {
    if (other->needs() != StatsNeed::kNothing) continue;
    EXPECT_EQ(other->Encode(view, Parse("int8"), {unfit, nullptr})->bytes,
              other->Encode(view, Parse("int8"))->bytes);
  }
}

}  // namespace
}  // namespace bitbudget
