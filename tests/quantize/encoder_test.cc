#include "runtime/quantize/encoder.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/base/parallel.h"
#include "tests/quantize/groupwise_encoders.h"
#include "tests/support/formats.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

constexpr int64_t kCols[] = {
    0, 1, 2, 3, 7, 31, 32, 33, 64, 65, 96, 127, 128, 129, 200, 256, 261, 512};

TEST(EncoderTest, WritesExactlyTheBytesThatSizeBitsPromises) {
  for (const auto& encoder : GroupwiseEncoders()) {
    for (const Format& format : SupportedFormats()) {
      for (const int64_t rows : {0, 1, 2, 5}) {
        for (const int64_t cols : kCols) {
          if (!Fits(format, cols)) continue;
          const std::vector<float> weights = GaussianValues(rows * cols, 0.02, cols);
          const Encoding encoding = MustEncode(*encoder, ViewOf(weights, rows, cols), format);
          EXPECT_EQ(static_cast<int64_t>(encoding.bytes.size()) * 8, SizeBits(format, rows, cols));
          EXPECT_EQ(encoding.format, format);
          EXPECT_EQ(encoding.rows, rows);
          EXPECT_EQ(encoding.cols, cols);
        }
      }
    }
  }
}

TEST(EncoderTest, EmptyViewsWithoutDataEncode) {
  for (const auto& encoder : GroupwiseEncoders()) {
    for (const Format& format : SupportedFormats()) {
      EXPECT_TRUE(encoder->Encode({kFormatF16, nullptr, 4, 0}, format).ok());
      if (encoder->needs() != StatsNeed::kNothing) continue;  // as many as columns
      EXPECT_TRUE(encoder->Encode({kFormatF16, nullptr, 0, int64_t{1} << 60}, format).ok());
    }
  }
}

// With scale s as stored, s_exact before rounding to f16 and Q steps from end to end of the range:
// half a step for rounding, and Q |s - s_exact| because the rounded grid may end inside the range.
// The last term is the float division that chooses the code.
TEST(RtnEncoderTest, ErrorIsAtMostHalfAStep) {
  const auto encoder = MakeRtnEncoder();
  for (const Format& format : SupportedFormats()) {
    if (!format.IsInteger()) continue;
    for (const int64_t cols : kCols) {
      for (const double deviation : {3e-7, 0.02, 300.0}) {  // subnormal, usual and large scales
        const std::vector<float> weights = HeavyTailedValues(3 * cols, deviation, cols + 1);
        const Encoding encoding = MustEncode(*encoder, ViewOf(weights, 3, cols), format);
        std::vector<float> decoded(cols);
        std::vector<int16_t> centered(cols);
        std::vector<float> scales(format.GroupsPerRow(cols));
        for (int64_t row = 0; row < 3; ++row) {
          DecodeReferenceRow(encoding, row, decoded);
          UnpackIntegerRow(encoding, row, centered, scales);
          const float* w = weights.data() + row * cols;
          for (int64_t begin = 0; begin < cols; begin += format.GroupSize(cols)) {
            const int64_t end = std::min(begin + format.GroupSize(cols), cols);
            double low = 0.0;
            double high = 0.0;
            for (int64_t i = begin; i < end; ++i) {
              low = std::min<double>(low, w[i]);
              high = std::max<double>(high, w[i]);
            }
            const int steps = (1 << format.bits) - 1;
            const double exact =
                format.zero_point ? (high - low) / steps : std::max(-low, high) / (steps / 2);
            const double scale = scales[begin / format.GroupSize(cols)];
            EXPECT_GE(scale, 0.0);
            for (int64_t i = begin; i < end; ++i) {
              const double error = std::abs(static_cast<double>(w[i]) - decoded[i]);
              EXPECT_LE(error,
                        scale / 2 + steps * std::abs(scale - exact) + 0x1p-22 * std::abs(w[i]))
                  << format.Name() << " k " << cols << " row " << row << " at " << i;
            }
          }
        }
      }
    }
  }
}

TEST(RtnEncoderTest, SymmetricCodesNeverUseTheLastNegativeStep) {
  for (const char* name : {"int8", "int4-g32", "int3-g32", "int2-g32"}) {
    const Format format = Parse(name);
    const std::vector<float> weights = GaussianValues(4 * 128, 1.0, 3);
    const Encoding encoding = MustEncode(*MakeRtnEncoder(), ViewOf(weights, 4, 128), format);
    std::vector<int16_t> centered(128);
    std::vector<float> scales(format.GroupsPerRow(128));
    for (int64_t row = 0; row < 4; ++row) {
      UnpackIntegerRow(encoding, row, centered, scales);
      for (const int16_t q : centered) EXPECT_LT(std::abs(q), 1 << (format.bits - 1));
    }
  }
}

TEST(EncoderTest, FloatFormatsKeepEveryValueOfTheirType) {
  for (const auto& encoder : GroupwiseEncoders()) {
    for (const Format dtype : {kFormatF16, kFormatBF16}) {
      std::vector<uint16_t> values;
      for (int bits = 0; bits < 1 << 16; ++bits) {
        const uint16_t infinity = dtype == kFormatF16 ? 0x7c00 : 0x7f80;
        if ((bits & infinity) != infinity) values.push_back(static_cast<uint16_t>(bits));
      }
      const TensorView view{dtype,
                            reinterpret_cast<const std::byte*>(values.data()),
                            2,
                            static_cast<int64_t>(values.size()) / 2};
      const Encoding same = MustEncode(*encoder, view, dtype);
      EXPECT_EQ(std::memcmp(same.bytes.data(), values.data(), same.bytes.size()), 0);
      const Encoding wide = MustEncode(*encoder, view, kFormatF32);
      const std::vector<float> decoded = Decode(wide);
      for (size_t i = 0; i < values.size(); ++i) {
        const float expected =
            dtype == kFormatF16 ? HalfToFloat(values[i]) : BFloat16ToFloat(values[i]);
        EXPECT_EQ(std::bit_cast<uint32_t>(decoded[i]), std::bit_cast<uint32_t>(expected));
      }
    }
  }
}

TEST(EncoderTest, SourceTypeAndAlignmentDoNotMatter) {
  constexpr int64_t kRows = 3;
  for (const int64_t width : {77, 512}) {
    for (const Format dtype : {kFormatF32, kFormatF16, kFormatBF16}) {
      std::vector<float> wide = GaussianValues(kRows * width, 0.02, 9);
      std::vector<std::byte> bytes(1 + wide.size() * dtype.bits / 8);
      for (size_t i = 0; i < wide.size(); ++i) {
        std::byte* out = bytes.data() + 1 + i * dtype.bits / 8;
        if (dtype == kFormatF32) {
          std::memcpy(out, &wide[i], 4);
          continue;
        }
        const bool half = dtype == kFormatF16;
        const uint16_t narrow = half ? FloatToHalf(wide[i]) : FloatToBFloat16(wide[i]);
        std::memcpy(out, &narrow, 2);
        wide[i] = half ? HalfToFloat(narrow) : BFloat16ToFloat(narrow);
      }
      for (const auto& encoder : GroupwiseEncoders()) {
        for (const Format& format : FormatsFor(width)) {
          const Encoding direct =
              MustEncode(*encoder, {dtype, bytes.data() + 1, kRows, width}, format);
          EXPECT_EQ(direct.bytes, MustEncode(*encoder, ViewOf(wide, kRows, width), format).bytes)
              << dtype.Name() << " " << format.Name();
        }
      }
    }
  }
}

TEST(EncoderTest, ThreadsAndRepetitionGiveTheSameBytes) {
  for (const int64_t cols : {300, 512}) {
    const std::vector<float> weights = HeavyTailedValues(37 * cols, 0.02, 11);
    const TensorView view = ViewOf(weights, 37, cols);
    for (const auto& encoder : GroupwiseEncoders()) {
      const std::vector<Format> formats = FormatsFor(cols);
      const int64_t count = static_cast<int64_t>(formats.size());
      std::vector<Encoding> got(3 * count);
      ParallelFor(4, 3 * count, [&](int64_t item, int) {
        got[item] = MustEncode(*encoder, view, formats[item % count]);
      });
      for (int64_t item = 0; item < 3 * count; ++item) {
        const Format& format = formats[item % count];
        const Encoding expected = MustEncode(*encoder, view, format, 1 + item / count);
        EXPECT_EQ(got[item].bytes, expected.bytes) << format.Name();
      }
    }
  }
}

TEST(EncoderTest, TheFirstBadRowIsNamedWhateverTheThreads) {
  std::vector<float> weights(200 * 32, 0.5f);
  for (const int64_t row : {150, 90, 91, 199}) weights[row * 32 + 7] = INFINITY;
  for (const int threads : {1, 2, 4}) {
    const auto encoding =
        MakeRtnEncoder()->Encode(ViewOf(weights, 200, 32), Parse("q8_0"), {}, threads);
    ASSERT_FALSE(encoding.ok());
    EXPECT_EQ(encoding.status().message(),
              "weight at row 90, column 7 is inf, not a finite number");
  }
}

TEST(EncoderTest, RowsAreIndependent) {
  for (const int64_t cols : {133, 512}) {
    const std::vector<float> weights = HeavyTailedValues(5 * cols, 0.02, 12);
    for (const auto& encoder : GroupwiseEncoders()) {
      for (const Format& format : FormatsFor(cols)) {
        if (format.kind == FormatKind::kOneBit) continue;  // one vector g for all rows
        const std::vector<float> all =
            Decode(MustEncode(*encoder, ViewOf(weights, 5, cols), format));
        for (int64_t row = 0; row < 5; ++row) {
          const std::span<const float> one = std::span(weights).subspan(row * cols, cols);
          const std::vector<float> alone =
              Decode(MustEncode(*encoder, ViewOf(one, 1, cols), format));
          EXPECT_TRUE(std::equal(alone.begin(), alone.end(), all.begin() + row * cols));
        }
      }
    }
  }
}

TEST(EncoderTest, WhatIsStoredInTheFormatIsCopied) {
  const std::vector<float> weights = HeavyTailedValues(4 * 256, 0.02, 2);
  for (const Format& format : FormatsFor(256)) {
    if (!format.IsFloat() && !format.IsBlock()) continue;  // no checkpoint stores these
    const Encoding stored = MustEncode(*MakeRtnEncoder(), ViewOf(weights, 4, 256), format);
    TensorView view{format, reinterpret_cast<const std::byte*>(stored.bytes.data()), 4, 256, 0};
    for (const auto& encoder : GroupwiseEncoders()) {
      EXPECT_EQ(encoder->Encode(view, format)->bytes, stored.bytes) << format.Name();
    }
    // And in its own order where the file has another: rows 0, 1, 2, 3 stand at 0, 2, 1, 3.
    view.interleaved_rows = 4;
    const std::vector<float> in_file = Decode(stored);
    const std::vector<float> got = Decode(*MakeRtnEncoder()->Encode(view, format));
    constexpr int kStored[] = {0, 2, 1, 3};
    for (int row = 0; row < 4; ++row) {
      EXPECT_EQ(std::memcmp(&got[row * 256], &in_file[kStored[row] * 256], 1024), 0);
    }
  }
}

}  // namespace
}  // namespace bitbudget
