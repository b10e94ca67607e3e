// Formats are promises: every byte below was worked out by hand from docs/formats.md. A change that
// breaks a golden breaks every plan and every stored encoding.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/quantize/rtn_encoder.h"

namespace bitbudget {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Join(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes Repeat(uint8_t byte, int count) { return Bytes(count, byte); }

Bytes EncodeRtn(const std::string& format, const std::vector<float>& weights, int64_t rows) {
  const absl::StatusOr<Encoding> encoding = MakeRtnEncoder()->Encode(
      ViewOf(weights, rows, weights.size() / rows), ParseFormat(format).value());
  EXPECT_TRUE(encoding.ok()) << encoding.status();
  return encoding.ok() ? encoding->bytes : Bytes{};
}

// Two rows of `group` + 3 inputs: each is a full group, `full` followed by zeros in row 0 and all
// zeros in row 1, and a short group of three.
std::vector<float> TwoRows(int group,
                           const std::vector<float>& full,
                           const std::vector<float>& short0,
                           const std::vector<float>& short1) {
  std::vector<float> weights(2 * (group + 3));
  std::copy(full.begin(), full.end(), weights.begin());
  std::copy(short0.begin(), short0.end(), weights.begin() + group);
  std::copy(short1.begin(), short1.end(), weights.begin() + group + 3 + group);
  return weights;
}

TEST(GoldenBytesTest, F32) {
  EXPECT_EQ(EncodeRtn("f32", {1.0f, -2.0f, 0.1f}, 1),
            (Bytes{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0xcd, 0xcc, 0xcc, 0x3d}));
}

TEST(GoldenBytesTest, BF16) {
  // 1.0078125 is the neighbour of 1; 1.00390625 lies between the two and goes to the even one.
  EXPECT_EQ(EncodeRtn("bf16", {1.0f, -2.0f, 1.0078125f, 1.00390625f}, 2),
            (Bytes{0x80, 0x3f, 0x00, 0xc0, 0x81, 0x3f, 0x80, 0x3f}));
}

TEST(GoldenBytesTest, F16) {
  EXPECT_EQ(EncodeRtn("f16", {1.0f, -2.0f, 65504.0f, -0.0f, 0x1p-24f, 0x1p-26f}, 3),
            (Bytes{0x00, 0x3c, 0x00, 0xc0, 0xff, 0x7b, 0x00, 0x80, 0x01, 0x00, 0x00, 0x00}));
}

TEST(GoldenBytesTest, Int8PerRow) {
  // Row 0: scale 1, row 1: scale 0.5. Half steps go to the even step.
  EXPECT_EQ(EncodeRtn("int8", {127.0f, -127.0f, 0.5f, 63.5f, -1.0f, 0.75f}, 2),
            (Bytes{0xff, 0x01, 0x80, 0xff, 0x7e, 0x82, /* scales */ 0x00, 0x3c, 0x00, 0x38}));
}

TEST(GoldenBytesTest, Int8PerRowWithZeroPoint) {
  // Row 0: [-100, 155] has scale 1 and zero point 100. Row 1: nothing but zeros.
  EXPECT_EQ(EncodeRtn("int8z", {-100.0f, 155.0f, 3.0f, 0.0f, 0.0f, 0.0f}, 2),
            (Bytes{0x00, 0xff, 0x67, 0, 0, 0, /* scales */ 0x00, 0x3c, 0, 0, /* zeros */ 100, 0}));
}

TEST(GoldenBytesTest, WorkedExamplesOfTheDocumentation) {
  EXPECT_EQ(EncodeRtn("f32", {1, -2, 0.1f}, 1),
            (Bytes{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0xcd, 0xcc, 0xcc, 0x3d}));
  EXPECT_EQ(EncodeRtn("bf16", {1, -2, 0.1f}, 1), (Bytes{0x80, 0x3f, 0x00, 0xc0, 0xcd, 0x3d}));
  EXPECT_EQ(EncodeRtn("f16", {1, -2, 0.1f}, 1), (Bytes{0x00, 0x3c, 0x00, 0xc0, 0x66, 0x2e}));
  for (const char* group : {"", "-g32", "-g64", "-g128"}) {
    EXPECT_EQ(EncodeRtn(std::string("int8") + group, {63.5f, -63.5f, 1, 0.2f, 0}, 1),
              (Bytes{0xff, 0x01, 0x82, 0x80, 0x80, 0x00, 0x38}));
    EXPECT_EQ(EncodeRtn(std::string("int8z") + group, {-50, 77.5f, 1.5f, 0.2f, 0}, 1),
              (Bytes{0x00, 0xff, 0x67, 0x64, 0x64, 0x00, 0x38, 0x64}));
    if (*group == '\0') continue;
    EXPECT_EQ(EncodeRtn(std::string("int4") + group, {3.5f, -3, 0.5f, 0, -3.5f}, 1),
              (Bytes{0x2f, 0x89, 0x01, 0x00, 0x38}));
    EXPECT_EQ(EncodeRtn(std::string("int4z") + group, {-2.5f, 5, 0.5f, 0.2f, 0}, 1),
              (Bytes{0xf0, 0x56, 0x05, 0x00, 0x38, 0x05}));
    EXPECT_EQ(EncodeRtn(std::string("int3") + group, {1.5f, -1, 0.5f, 0, -1.5f}, 1),
              (Bytes{0x57, 0x19, 0x00, 0x38}));
    EXPECT_EQ(EncodeRtn(std::string("int3z") + group, {-1, 2.5f, 0.5f, 0.2f, 0}, 1),
              (Bytes{0xf8, 0x24, 0x00, 0x38, 0x02}));
    EXPECT_EQ(EncodeRtn(std::string("int2") + group, {0.5f, -0.5f, 0, 0.2f, 0.3f}, 1),
              (Bytes{0xa7, 0x03, 0x00, 0x38}));
    EXPECT_EQ(EncodeRtn(std::string("int2z") + group, {-0.5f, 1, 0.5f, 0.2f, 0}, 1),
              (Bytes{0x6c, 0x01, 0x00, 0x38, 0x01}));
  }
}

class GoldenGroupTest : public testing::TestWithParam<int> {
 protected:
  int group() const { return GetParam(); }
  std::string Name(const char* prefix) const { return prefix + std::to_string(group()); }
};

TEST_P(GoldenGroupTest, Int8) {
  EXPECT_EQ(EncodeRtn(Name("int8-g"),
                      TwoRows(group(), {127, -127, 2}, {31.75f, -0.25f, 0}, {-63.5f, 0, 0.5f}),
                      2),
            Join({{0xff, 0x01, 0x82},
                  Repeat(0x80, group() - 3),
                  {0xff, 0x7f, 0x80},
                  Repeat(0x80, group()),
                  {0x01, 0x80, 0x81},
                  /* scales 1, 0.25; 0, 0.5 */ {0x00, 0x3c, 0x00, 0x34, 0x00, 0x00, 0x00, 0x38}}));
}

TEST_P(GoldenGroupTest, Int8WithZeroPoint) {
  EXPECT_EQ(EncodeRtn(Name("int8z-g"),
                      TwoRows(group(), {-100, 155, 3}, {63.75f, 0.25f, 0}, {-127.5f, 0, -0.5f}),
                      2),
            Join({{0x00, 0xff, 0x67},
                  Repeat(0x64, group() - 3),
                  {0xff, 0x01, 0x00},
                  Repeat(0x00, group()),
                  {0x00, 0xff, 0xfe},
                  /* scales 1, 0.25; 0, 0.5 */ {0x00, 0x3c, 0x00, 0x34, 0x00, 0x00, 0x00, 0x38},
                  /* zero points */ {100, 0, 0, 255}}));
}

TEST_P(GoldenGroupTest, Int4) {
  EXPECT_EQ(EncodeRtn(Name("int4-g"),
                      TwoRows(group(), {7, -7, 1, 0.4f}, {1.75f, -1, 0.25f}, {-3.5f, 0, 0.5f}),
                      2),
            Join({{0x1f, 0x89},
                  Repeat(0x88, group() / 2 - 2),
                  {0x4f, 0x09},  // the last of an odd row has an empty high nibble
                  Repeat(0x88, group() / 2),
                  {0x81, 0x09},
                  /* scales 1, 0.25; 0, 0.5 */ {0x00, 0x3c, 0x00, 0x34, 0x00, 0x00, 0x00, 0x38}}));
}

TEST_P(GoldenGroupTest, Int4WithZeroPoint) {
  EXPECT_EQ(EncodeRtn(Name("int4z-g"),
                      TwoRows(group(), {-5, 10, 1, 0.4f}, {3.75f, 0.25f, 0}, {-7.5f, 0, -0.5f}),
                      2),
            Join({{0xf0, 0x56},
                  Repeat(0x55, group() / 2 - 2),
                  {0x1f, 0x00},
                  Repeat(0x00, group() / 2),
                  {0xf0, 0x0e},
                  /* scales 1, 0.25; 0, 0.5 */ {0x00, 0x3c, 0x00, 0x34, 0x00, 0x00, 0x00, 0x38},
                  /* zero points 5, 0; 0, 15 */ {0x05, 0xf0}}));
}

TEST_P(GoldenGroupTest, Int3) {
  // Eight codes are three bytes: eight zeros (code 4) are 24 49 92. Row 0 starts with the codes 7,
  // 1, 5, 4: 7 | 1 << 3 | 5 << 6 | 4 << 9 are 4f 09, and the zeros go on at bit 12.
  Bytes zeros;
  for (int i = 0; i < group() / 8 - 1; ++i) zeros.insert(zeros.end(), {0x24, 0x49, 0x92});
  EXPECT_EQ(EncodeRtn(Name("int3-g"),
                      TwoRows(group(), {3, -3, 1, 0.4f}, {0.75f, -0.5f, 0.25f}, {-1.5f, 0, 0.5f}),
                      2),
            Join({{0x4f, 0x49, 0x92},
                  zeros,
                  {0x57, 0x01},  // 7, 2, 5
                  {0x24, 0x49, 0x92},
                  zeros,
                  {0x61, 0x01},  // 1, 4, 5
                  /* scales 1, 0.25; 0, 0.5 */ {0x00, 0x3c, 0x00, 0x34, 0x00, 0x00, 0x00, 0x38}}));
}

TEST_P(GoldenGroupTest, Int2WithZeroPoint) {
  EXPECT_EQ(EncodeRtn(Name("int2z-g"),
                      TwoRows(group(), {-1, 2, 1, 0.4f}, {0.75f, 0.25f, 0}, {-1.5f, 0, -0.5f}),
                      2),
            Join({{0x6c},  // 0, 3, 2, 1
                  Repeat(0x55, group() / 4 - 1),
                  {0x07},  // 3, 1, 0
                  Repeat(0x00, group() / 4),
                  {0x2c},  // 0, 3, 2
                  /* scales 1, 0.25; 0, 0.5 */ {0x00, 0x3c, 0x00, 0x34, 0x00, 0x00, 0x00, 0x38},
                  /* zero points 1, 0; 0, 3 */ {0x01, 0x0c}}));
}

// Runs of codes that fill whole bytes, and these bytes: five bits a code, 0 31 1 30 2 29 3 28 are
// 0 | 31 << 5 | 1 << 10 | 30 << 15 | ...
struct AffineRun {
  int bits;
  std::vector<int> codes;
  Bytes bytes;
};

TEST_P(GoldenGroupTest, Affine) {
  const AffineRun kRuns[] = {
      {2, {0, 1, 2, 3}, {0xe4}},
      {3, {0, 1, 2, 3, 4, 5, 6, 7}, {0x88, 0xc6, 0xfa}},
      {4, {0, 15, 1, 14, 2, 13, 3, 12}, {0xf0, 0xe1, 0xd2, 0xc3}},
      {5, {0, 31, 1, 30, 2, 29, 3, 28}, {0xe0, 0x07, 0x2f, 0xfa, 0xe0}},
      {6, {0, 63, 1, 62}, {0xc0, 0x1f, 0xf8}},
      {8, {0, 255, 1, 254}, {0x00, 0xff, 0x01, 0xfe}},
  };
  for (const AffineRun& run : kRuns) {
    // A block of 0.5 c - 1, then one of c / 4 + 2, whose range does not hold 0.
    std::vector<float> weights;
    Bytes codes;
    for (int i = 0; i < group(); ++i) {
      weights.push_back(0.5f * static_cast<float>(run.codes[i % run.codes.size()]) - 1);
    }
    for (int i = 0; i < group(); ++i) weights.push_back((weights[i] + 1) / 2 + 2);
    for (size_t i = 0; i < group() / run.codes.size(); ++i) {
      codes.insert(codes.end(), run.bytes.begin(), run.bytes.end());
    }
    const std::string format = "affine" + std::to_string(run.bits) + "-g";
    EXPECT_EQ(EncodeRtn(Name(format.c_str()), weights, 1),
              Join({{0x00, 0x38, 0x00, 0xbc},  // scale 0.5, offset -1
                    codes,
                    {0x00, 0x34, 0x00, 0x40},  // scale 0.25, offset 2
                    codes}))
        << format;
    const Encoding encoding = *MakeRtnEncoder()->Encode(ViewOf(weights, 1, 2 * group()),
                                                        *ParseFormat(Name(format.c_str())));
    std::vector<float> decoded(weights.size());
    DecodeReference(encoding, decoded);
    EXPECT_EQ(decoded, weights) << format;
  }
}

TEST_P(GoldenGroupTest, AffineOfOneValueIsItsOffset) {
  for (const char* format : {"affine2-g", "affine8-g"}) {
    const Bytes half = EncodeRtn(Name(format), std::vector<float>(group(), 0.5f), 1);
    EXPECT_EQ(Bytes(half.begin(), half.begin() + 4), (Bytes{0x00, 0x00, 0x00, 0x38})) << format;
  }
}

TEST_P(GoldenGroupTest, RowsShorterThanTheGroup) {
  // Two rows of three: scale 1, zero points 5 and 8, each padded to a byte of its own.
  EXPECT_EQ(EncodeRtn(Name("int4z-g"), {-5, 10, 1, 7, -8, 0}, 2),
            (Bytes{0xf0, 0x06, 0x0f, 0x08, /* scales */ 0, 0x3c, 0, 0x3c, /* zeros */ 5, 8}));
  EXPECT_EQ(EncodeRtn(Name("int4-g"), {7, -6, 1, 0, -7, 0}, 2),
            (Bytes{0x2f, 0x09, 0x18, 0x08, /* scales */ 0, 0x3c, 0, 0x3c}));
}

INSTANTIATE_TEST_SUITE_P(Groups, GoldenGroupTest, testing::Values(32, 64, 128));

}  // namespace
}  // namespace bitbudget
