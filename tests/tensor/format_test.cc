#include "runtime/tensor/format.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace bitbudget {
namespace {

Format Parse(const char* name) {
  const absl::StatusOr<Format> format = ParseFormat(name);
  EXPECT_TRUE(format.ok()) << format.status();
  return format.value_or(Format{});
}

TEST(FormatTest, TheNamesOfAllSupportedFormats) {
  std::vector<std::string> names;
  for (const Format& format : SupportedFormats()) names.push_back(format.Name());
  EXPECT_EQ(names,
            (std::vector<std::string>{
                "f32",          "bf16",         "f16",          "int8",         "int8-g32",
                "int8-g64",     "int8-g128",    "int8z",        "int8z-g32",    "int8z-g64",
                "int8z-g128",   "int4-g32",     "int4-g64",     "int4-g128",    "int4z-g32",
                "int4z-g64",    "int4z-g128",   "int3-g32",     "int3-g64",     "int3-g128",
                "int3z-g32",    "int3z-g64",    "int3z-g128",   "int2-g32",     "int2-g64",
                "int2-g128",    "int2z-g32",    "int2z-g64",    "int2z-g128",   "onebit",
                "onebit-ln",    "removed",      "q4_0",         "q4_1",         "q5_0",
                "q5_1",         "q8_0",         "q2_k",         "q3_k",         "q4_k",
                "q5_k",         "q6_k",         "iq4_nl",       "iq4_xs",       "tq1_0",
                "tq2_0",        "q1_0",         "q2_0",         "mxfp4",        "iq1_s",
                "iq1_m",        "iq2_xxs",      "iq2_xs",       "iq2_s",        "iq3_xxs",
                "iq3_s",        "affine2-g32",  "affine2-g64",  "affine2-g128", "affine3-g32",
                "affine3-g64",  "affine3-g128", "affine4-g32",  "affine4-g64",  "affine4-g128",
                "affine5-g32",  "affine5-g64",  "affine5-g128", "affine6-g32",  "affine6-g64",
                "affine6-g128", "affine8-g32",  "affine8-g64",  "affine8-g128"}));
}

TEST(FormatTest, NamesRoundTripAndValuesAreDistinct) {
  std::set<Format> seen;
  for (const Format& format : SupportedFormats()) {
    EXPECT_EQ(Parse(format.Name().c_str()), format);
    EXPECT_TRUE(IsSupported(format));
    EXPECT_TRUE(seen.insert(format).second) << format.Name();
  }
}

TEST(FormatTest, ParsedFieldsMatchTheName) {
  EXPECT_EQ(Parse("int4z-g64"), (Format{FormatKind::kInteger, 4, 64, true}));
  EXPECT_EQ(Parse("int8"), (Format{FormatKind::kInteger, 8, 0, false}));
  EXPECT_EQ(Parse("affine5-g64"), (Format{FormatKind::kAffine, 5, 64, false}));
  EXPECT_EQ(Parse("bf16"), kFormatBF16);
}

TEST(FormatTest, NearMissesAreRefusedWithTheListOfNames) {
  for (const char* name : {"",
                           " ",
                           "int4",
                           "int4z",
                           "int4-g16",
                           "int4-g256",
                           "int4-g64 ",
                           " int4-g64",
                           "INT8",
                           "Int8",
                           "int8-g032",
                           "int8-g0",
                           "int8-g",
                           "int8-",
                           "int8-g32-g32",
                           "int8g32",
                           "int8z-",
                           "int4-z-g64",
                           "int3",
                           "int2z",
                           "int5-g64",
                           "int1-g64",
                           "int16",
                           "fp16",
                           "float16",
                           "q8_1",
                           "Q4_K",
                           "q4_k_m",
                           "q4",
                           "int4-g64\n",
                           "int4-g+64",
                           "int8-g4294967328",
                           "affine4",
                           "affine7-g64",
                           "affine4-g16",
                           "affine4-g256",
                           "affine1-g64",
                           "affine4z-g64",
                           "affine4-g64+s50",
                           "affine4-g64+2:4",
                           "Affine4-g64"}) {
    const absl::StatusOr<Format> format = ParseFormat(name);
    ASSERT_FALSE(format.ok()) << name;
    EXPECT_EQ(format.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(std::string(format.status().message()).find("int4-g64 int4-g128"), std::string::npos)
        << format.status();
  }
  const std::string message(ParseFormat("int4-g65\n").status().message());
  EXPECT_NE(message.find("\"int4-g65\\n\""), std::string::npos) << message;
  EXPECT_FALSE(ParseFormat(absl::string_view("int8\0", 5)).ok());
}

TEST(FormatTest, UnsupportedValuesAreNotSupported) {
  EXPECT_FALSE(IsSupported({FormatKind::kInteger, 4, 0, false}));
  EXPECT_FALSE(IsSupported({FormatKind::kInteger, 5, 64, false}));
  EXPECT_FALSE(IsSupported({FormatKind::kInteger, 2, 0, false}));
  EXPECT_FALSE(IsSupported({FormatKind::kInteger, 8, -32, false}));
  EXPECT_FALSE(IsSupported({FormatKind::kF32, 32, 64, false}));
  EXPECT_FALSE(IsSupported({FormatKind::kAffine, 7, 64, false}));
  EXPECT_FALSE(IsSupported({FormatKind::kAffine, 4, 64, true}));
}

TEST(FormatTest, GroupsCoverARow) {
  const Format g32 = Parse("int4-g32");
  EXPECT_EQ(g32.GroupsPerRow(0), 0);
  EXPECT_EQ(g32.GroupsPerRow(1), 1);
  EXPECT_EQ(g32.GroupsPerRow(32), 1);
  EXPECT_EQ(g32.GroupsPerRow(33), 2);
  EXPECT_EQ(g32.GroupsPerRow(std::numeric_limits<int64_t>::max()), int64_t{1} << 58);
  EXPECT_EQ(g32.GroupSize(7), 32);
  EXPECT_EQ(Parse("int8").GroupsPerRow(0), 0);
  EXPECT_EQ(Parse("int8").GroupsPerRow(4097), 1);
  EXPECT_EQ(Parse("int8").GroupSize(4097), 4097);
  EXPECT_EQ(kFormatF16.GroupsPerRow(64), 0);
  EXPECT_EQ(kFormatF16.GroupSize(64), 0);
}

TEST(SizeBitsTest, BitsPerWeightOfCommonFormats) {
  constexpr int64_t kWeights = int64_t{4096} * 4096;
  const auto per_weight = [](const char* name) {
    return static_cast<double>(SizeBits(Parse(name), 4096, 4096)) / kWeights;  // exact
  };
  EXPECT_EQ(per_weight("f32"), 32.0);
  EXPECT_EQ(per_weight("bf16"), 16.0);
  EXPECT_EQ(per_weight("f16"), 16.0);
  EXPECT_EQ(per_weight("int8"), 8.0 + 16.0 / 4096);
  EXPECT_EQ(per_weight("int8z"), 8.0 + 24.0 / 4096);
  EXPECT_EQ(per_weight("int8-g32"), 8.5);
  EXPECT_EQ(per_weight("int8-g64"), 8.25);
  EXPECT_EQ(per_weight("int8-g128"), 8.125);
  EXPECT_EQ(per_weight("int8z-g32"), 8.75);
  EXPECT_EQ(per_weight("int8z-g64"), 8.375);
  EXPECT_EQ(per_weight("int8z-g128"), 8.1875);
  EXPECT_EQ(per_weight("int4-g32"), 4.5);
  EXPECT_EQ(per_weight("int4-g64"), 4.25);
  EXPECT_EQ(per_weight("int4-g128"), 4.125);
  EXPECT_EQ(per_weight("int4z-g32"), 4.625);
  EXPECT_EQ(per_weight("int4z-g64"), 4.3125);
  EXPECT_EQ(per_weight("int4z-g128"), 4.15625);
  EXPECT_EQ(per_weight("int3-g32"), 3.5);
  EXPECT_EQ(per_weight("int3-g64"), 3.25);
  EXPECT_EQ(per_weight("int3-g128"), 3.125);
  EXPECT_EQ(per_weight("int3z-g32"), 3.59375);
  EXPECT_EQ(per_weight("int3z-g64"), 3.296875);
  EXPECT_EQ(per_weight("int3z-g128"), 3.1484375);
  EXPECT_EQ(per_weight("int2-g32"), 2.5);
  EXPECT_EQ(per_weight("int2-g64"), 2.25);
  EXPECT_EQ(per_weight("int2-g128"), 2.125);
  EXPECT_EQ(per_weight("int2z-g32"), 2.5625);
  EXPECT_EQ(per_weight("int2z-g64"), 2.28125);
  EXPECT_EQ(per_weight("int2z-g128"), 2.140625);
  EXPECT_EQ(per_weight("q4_0"), 4.5);
  EXPECT_EQ(per_weight("q4_1"), 5.0);
  EXPECT_EQ(per_weight("q5_0"), 5.5);
  EXPECT_EQ(per_weight("q5_1"), 6.0);
  EXPECT_EQ(per_weight("q8_0"), 8.5);
  EXPECT_EQ(per_weight("q2_k"), 2.625);
  EXPECT_EQ(per_weight("q3_k"), 3.4375);
  EXPECT_EQ(per_weight("q4_k"), 4.5);
  EXPECT_EQ(per_weight("q5_k"), 5.5);
  EXPECT_EQ(per_weight("q6_k"), 6.5625);
  EXPECT_EQ(per_weight("iq4_nl"), 4.5);
  EXPECT_EQ(per_weight("iq4_xs"), 4.25);
  EXPECT_EQ(per_weight("tq1_0"), 1.6875);
  EXPECT_EQ(per_weight("tq2_0"), 2.0625);
  EXPECT_EQ(per_weight("q1_0"), 1.125);
  EXPECT_EQ(per_weight("q2_0"), 2.25);
  EXPECT_EQ(per_weight("mxfp4"), 4.25);
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) {
      const std::string name = "affine" + std::to_string(bits) + "-g" + std::to_string(group);
      EXPECT_EQ(per_weight(name.c_str()), bits + 32.0 / group) << name;  // scale and offset
    }
  }
}

TEST(FitsTest, OnlyWholeBlocksCanBeStored) {
  for (const Format& format : SupportedFormats()) {
    for (const int64_t k : {0, 1, 31, 32, 64, 96, 128, 192, 256, 300, 512}) {
      EXPECT_EQ(Fits(format, k), !format.IsBlock() || k % format.BlockSize() == 0);
    }
  }
  EXPECT_EQ(Parse("q4_0").BlockSize(), 32);
  EXPECT_EQ(Parse("q2_0").BlockSize(), 64);
  EXPECT_EQ(Parse("q1_0").BlockSize(), 128);
  EXPECT_EQ(Parse("q4_k").BlockSize(), 256);
  EXPECT_EQ(Parse("affine5-g64").BlockSize(), 64);
  EXPECT_EQ(Parse("int4-g64").BlockSize(), 1);
}

TEST(SizeBitsTest, PaddingIsCountedPerRow) {
  EXPECT_EQ(SizeBits(Parse("int4-g32"), 3, 1), 3 * (8 + 16));
  EXPECT_EQ(SizeBits(Parse("int4z-g32"), 3, 1), 3 * (8 + 16 + 8));
  EXPECT_EQ(SizeBits(Parse("int4z-g32"), 3, 35), 3 * (18 * 8 + 2 * 16 + 8));
  EXPECT_EQ(SizeBits(Parse("int4z-g32"), 3, 65), 3 * (33 * 8 + 3 * 16 + 16));
  EXPECT_EQ(SizeBits(Parse("int3z-g32"), 3, 35), 3 * (14 * 8 + 2 * 16 + 8));
  EXPECT_EQ(SizeBits(Parse("int3z-g32"), 3, 65), 3 * (25 * 8 + 3 * 16 + 16));
  EXPECT_EQ(SizeBits(Parse("int2z-g32"), 3, 129), 3 * (33 * 8 + 5 * 16 + 16));
  EXPECT_EQ(SizeBits(Parse("int8z-g32"), 2, 33), 2 * (33 * 8 + 2 * 16 + 2 * 8));
}

TEST(SizeBitsTest, EmptyMatricesHaveNoBits) {
  for (const Format& format : SupportedFormats()) {
    const int64_t most = std::numeric_limits<int64_t>::max();
    EXPECT_EQ(SizeBits(format, 0, 0), 0) << format.Name();
    EXPECT_EQ(SizeBits(format, 0, 77 * format.BlockSize()), 0) << format.Name();
    EXPECT_EQ(SizeBits(format, 77, 0), 0) << format.Name();
    EXPECT_EQ(SizeBits(format, 0, most - most % format.BlockSize()), 0) << format.Name();
    EXPECT_EQ(SizeBits(format, std::numeric_limits<int64_t>::max(), 0), 0) << format.Name();
  }
}

TEST(SizeBitsTest, HugeShapesAreExact) {
  constexpr int64_t k2To30 = int64_t{1} << 30;
  EXPECT_EQ(SizeBits(Parse("int4-g128"), k2To30, k2To30), int64_t{33} << 57);
  EXPECT_EQ(SizeBits(kFormatF32, 1, int64_t{1} << 57), int64_t{1} << 62);
  EXPECT_EQ(SizeBits(kFormatF32, (int64_t{1} << 58) - 1, 1), ((int64_t{1} << 58) - 1) << 5);
  EXPECT_EQ(SizeBytes(Parse("int8"), 1, (int64_t{1} << 60) - 3), (int64_t{1} << 60) - 1);
}

TEST(SizeBitsDeathTest, SizesThatDoNotExistAreAProgrammersError) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(SizeBits(kFormatF32, int64_t{1} << 29, int64_t{1} << 29), "exceeds 2\\^63 bits");
  EXPECT_DEATH(SizeBits(kFormatF32, 1, std::numeric_limits<int64_t>::max()), "exceeds 2\\^63 bits");
  EXPECT_DEATH(SizeBits(kFormatF32, -1, 4), "-1");
  EXPECT_DEATH(SizeBits(Parse("q4_k"), 1, 128), "128 inputs are not whole blocks of q4_k");
  EXPECT_DEATH(SizeBits({FormatKind::kInteger, 5, 64, false}, 1, 1), "int5-g64");
}

}  // namespace
}  // namespace bitbudget
