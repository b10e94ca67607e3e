#include "runtime/tensor/encoding.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/base/random.h"

namespace bitbudget {
namespace {

Format Parse(const char* name) { return ParseFormat(name).value(); }

constexpr int64_t kSizes[] = {
    0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 95, 96, 127, 128, 129, 200, 256, 512};

// Bytes that no encoder need ever write: every code, scale and zero point is possible.
Encoding RandomEncoding(const Format& format, int64_t rows, int64_t cols, uint64_t seed) {
  Encoding encoding{format, rows, cols, std::vector<uint8_t>(SizeBytes(format, rows, cols))};
  Random random(seed);
  for (uint8_t& byte : encoding.bytes) byte = static_cast<uint8_t>(random.Next());
  if (!format.IsInteger()) return encoding;
  const EncodingLayout layout(format, rows, cols);
  for (int64_t i = 0; i < rows * layout.groups; ++i) {  // finite scales of both signs
    const uint16_t scale = FloatToHalf(static_cast<float>(random.Uniform() - 0.5));
    std::memcpy(&encoding.bytes[layout.scales_offset + 2 * i], &scale, 2);
  }
  return encoding;
}

TEST(EncodingLayoutTest, PlanesFollowEachOtherAndFillTheBytes) {
  for (const Format& format : SupportedFormats()) {
    for (const int64_t rows : {0, 1, 3}) {
      for (const int64_t cols : kSizes) {
        if (!Fits(format, cols)) continue;
        const EncodingLayout layout(format, rows, cols);
        EXPECT_EQ(layout.total_bytes, SizeBytes(format, rows, cols));
        EXPECT_EQ(layout.groups, format.GroupsPerRow(cols));
        if (format.kind != FormatKind::kOneBit) {  // two vectors after the signs
          EXPECT_EQ(layout.scales_offset, rows * layout.code_row_bytes);
        }
        if (!format.IsInteger()) {
          EXPECT_EQ(layout.scales_offset, layout.total_bytes);
          continue;
        }
        EXPECT_EQ(layout.zeros_offset, layout.scales_offset + 2 * rows * layout.groups);
        EXPECT_EQ(layout.total_bytes, layout.zeros_offset + rows * layout.zero_row_bytes);
        EXPECT_TRUE(format.zero_point || layout.zero_row_bytes == 0);
      }
    }
  }
}

TEST(DecodeReferenceTest, HandMadeInt4ThatNoEncoderWrites) {
  // Code 0 of a symmetric format, a negative and a subnormal scale, rubbish in the padding.
  const Encoding encoding{
      Parse("int4-g32"), 2, 3, {0x80, 0xff, 0x1f, 0xa8, /* -0.5, 2^-24 */ 0x00, 0xb8, 0x01, 0x00}};
  std::vector<float> out(6);
  DecodeReference(encoding, out);
  EXPECT_EQ(out, (std::vector<float>{4.0f, 0.0f, -3.5f, 7 * 0x1p-24f, -7 * 0x1p-24f, 0.0f}));
}

TEST(DecodeReferenceTest, HandMadeZeroPoints) {
  const Encoding four{
      Parse("int4z-g32"), 1, 3, {0xf0, 0x03, 0x00, 0x40, 0x0f}};  // scale 2, zero 15
  std::vector<float> out(3);
  DecodeReference(four, out);
  EXPECT_EQ(out, (std::vector<float>{-30.0f, 0.0f, -24.0f}));
  const Encoding eight{Parse("int8z"), 1, 3, {0x00, 0xff, 0x03, 0x00, 0x40, 0xff}};
  DecodeReference(eight, out);
  EXPECT_EQ(out, (std::vector<float>{-510.0f, 0.0f, -504.0f}));
}

TEST(DecodeReferenceTest, CodesOfThreeBitsCrossBytes) {
  // Codes 0 to 7 in order: 88 c6 fa; with zero point 5 and scale 1 they are -5 to 2.
  const Encoding three{Parse("int3z-g32"), 1, 8, {0x88, 0xc6, 0xfa, 0x00, 0x3c, 0xfd}};
  std::vector<float> out(8);
  DecodeReference(three, out);
  EXPECT_EQ(out, (std::vector<float>{-5, -4, -3, -2, -1, 0, 1, 2}));
}

TEST(DecodeReferenceTest, RowsEqualTheWhole) {
  for (const Format& format : SupportedFormats()) {
    for (const int64_t cols : kSizes) {
      if (!Fits(format, cols)) continue;
      const Encoding encoding = RandomEncoding(format, 3, cols, cols);
      std::vector<float> all(3 * cols);
      DecodeReference(encoding, all);
      std::vector<float> row(cols);
      for (int64_t r = 0; r < 3 && cols > 0; ++r) {
        DecodeReferenceRow(encoding, r, row);
        EXPECT_EQ(std::memcmp(row.data(), all.data() + r * cols, cols * sizeof(float)), 0)
            << format.Name() << " k " << cols << " row " << r;
      }
    }
  }
}

TEST(DecodeReferenceTest, UnpackedIntegersTimesScalesAreTheDecodedRow) {
  for (const Format& format : SupportedFormats()) {
    if (!format.IsInteger()) continue;
    const int limit = (1 << format.bits) - 1;
    for (const int64_t cols : kSizes) {
      const Encoding encoding = RandomEncoding(format, 3, cols, 1000 + cols);
      std::vector<float> decoded(cols);
      std::vector<int16_t> centered(cols);
      std::vector<float> scales(format.GroupsPerRow(cols));
      for (int64_t r = 0; r < 3; ++r) {
        DecodeReferenceRow(encoding, r, decoded);
        UnpackIntegerRow(encoding, r, centered, scales);
        for (int64_t i = 0; i < cols; ++i) {
          EXPECT_LE(std::abs(centered[i]), limit);
          const float expected =
              static_cast<float>(centered[i]) * scales[i / format.GroupSize(cols)];
          EXPECT_EQ(decoded[i], expected) << format.Name() << " k " << cols << " at " << i;
        }
      }
    }
  }
}

TEST(DecodeReferenceTest, FloatFormatsDecodeTheirBits) {
  for (const Format& format : {kFormatF32, kFormatF16, kFormatBF16}) {
    const Encoding encoding = RandomEncoding(format, 2, 33, 5);
    std::vector<float> out(66);
    DecodeReference(encoding, out);
    for (int64_t i = 0; i < 66; ++i) {
      float expected;
      uint16_t narrow;
      std::memcpy(&narrow, &encoding.bytes[2 * i], 2);
      if (format == kFormatF32) {
        std::memcpy(&expected, &encoding.bytes[4 * i], 4);
      } else {
        expected = format == kFormatF16 ? HalfToFloat(narrow) : BFloat16ToFloat(narrow);
      }
      EXPECT_EQ(std::bit_cast<uint32_t>(out[i]), std::bit_cast<uint32_t>(expected)) << i;
    }
  }
}

TEST(DecodeReferenceDeathTest, BytesThatDoNotFitTheShapeAreAProgrammersError) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Encoding encoding = RandomEncoding(Parse("int4-g32"), 2, 5, 1);
  std::vector<float> row(5);
  EXPECT_DEATH(DecodeReferenceRow(encoding, 2, row), "row 2 of 2");
  encoding.bytes.pop_back();
  EXPECT_DEATH(DecodeReferenceRow(encoding, 0, row), "");
}

}  // namespace
}  // namespace bitbudget
