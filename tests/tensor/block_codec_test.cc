#include "runtime/tensor/block_codec.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/base/random.h"

namespace bitbudget {
namespace {

struct Golden {
  const char* format;
  const char* bytes;
  const char* values;
};

constexpr Golden kGoldens[] = {
#include "tests/tensor/block_goldens.inc"
};

const BlockTraits& Traits(const char* format) { return BlockTraitsOf(ParseFormat(format).value()); }

std::vector<uint8_t> FromHex(const std::string& text) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<uint8_t> RandomBlock(const BlockTraits& traits, Random* random) {
  std::vector<uint8_t> bytes(traits.bytes);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random->Next());
  return bytes;
}

TEST(BlockCodec, DecodesWhatGgmlDecodesBitForBit) {
  std::set<std::string> seen;
  for (const Golden& golden : kGoldens) {
    const BlockTraits& traits = Traits(golden.format);
    const std::vector<uint8_t> bytes = FromHex(golden.bytes);
    ASSERT_EQ(static_cast<int>(bytes.size()), traits.bytes) << golden.format;
    std::vector<float> values(traits.block);
    DecodeBlock(traits, bytes.data(), values.data());
    const std::string expected = golden.values;
    ASSERT_EQ(static_cast<int>(expected.size()), 8 * traits.block);
    for (int i = 0; i < traits.block; ++i) {
      EXPECT_EQ(std::bit_cast<uint32_t>(values[i]), std::stoul(expected.substr(8 * i, 8), 0, 16))
          << golden.format << " input " << i;
    }
    seen.insert(golden.format);
  }
  for (const Format& format : SupportedFormats()) {
    const bool of_gguf = format.IsBlock() && format.kind != FormatKind::kAffine;
    EXPECT_EQ(seen.contains(format.Name()), of_gguf) << format.Name();
  }
}

// All bytes mean something, and all types but tq1_0 have one way to store it.
TEST(BlockCodec, PackingWhatWasUnpackedGivesTheBytesBack) {
  Random random(3);
  for (const Format& format : SupportedFormats()) {
    if (!format.IsBlock()) continue;
    const BlockTraits& traits = BlockTraitsOf(format);
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::vector<uint8_t> bytes = RandomBlock(traits, &random);
      BlockFields fields;
      UnpackBlock(traits, bytes.data(), &fields);
      // A NaN's payload is no part of the meaning of a scale.
      if (std::isnan(fields.d) || std::isnan(fields.dmin)) continue;
      std::vector<uint8_t> packed(traits.bytes, 0xaa);
      PackBlock(traits, fields, packed.data());
      if (format.kind == FormatKind::kTQ1_0) {  // 256 bytes for 243 combinations
        BlockFields again;
        UnpackBlock(traits, packed.data(), &again);
        EXPECT_EQ(again.codes, fields.codes);
        EXPECT_EQ(again.d, fields.d);
        continue;
      }
      EXPECT_EQ(packed, bytes) << format.Name();
    }
  }
}

// The products of the definition are exact in float, so that every order of evaluation gives the
// same weight: checked against double.
TEST(BlockCodec, DecodedWeightsAreRoundedOnce) {
  Random random(4);
  for (const Format& format : SupportedFormats()) {
    if (!format.IsBlock()) continue;
    const BlockTraits& traits = BlockTraitsOf(format);
    std::vector<float> values(traits.block);
    for (int repeat = 0; repeat < 200; ++repeat) {
      const std::vector<uint8_t> bytes = RandomBlock(traits, &random);
      BlockFields fields;
      UnpackBlock(traits, bytes.data(), &fields);
      if (!std::isfinite(fields.d) || !std::isfinite(fields.dmin)) continue;
      DecodeBlock(traits, bytes.data(), values.data());
      for (int i = 0; i < traits.block; ++i) {
        const int group = i / traits.group;
        const double exact =
            traits.Level(fields.codes[i]) * (static_cast<double>(fields.d) * fields.scales[group]) -
            static_cast<double>(fields.dmin) * fields.minimums[group];
        EXPECT_EQ(values[i], static_cast<float>(exact)) << format.Name() << " " << i;
      }
    }
  }
}

TEST(BlockCodec, FieldsKeepTheirRanges) {
  Random random(5);
  for (const Format& format : SupportedFormats()) {
    if (!format.IsBlock()) continue;
    const BlockTraits& traits = BlockTraitsOf(format);
    EXPECT_EQ(traits.block % traits.group, 0);
    EXPECT_EQ(SizeBytes(format, 3, 2 * traits.block), 6 * traits.bytes);
    for (int repeat = 0; repeat < 50; ++repeat) {
      const std::vector<uint8_t> bytes = RandomBlock(traits, &random);
      BlockFields fields;
      UnpackBlock(traits, bytes.data(), &fields);
      for (int g = 0; g < traits.groups(); ++g) {
        EXPECT_GE(fields.scales[g], traits.smallest_scale);
        EXPECT_LE(fields.scales[g], traits.largest_scale);
        EXPECT_GE(fields.minimums[g], 0);
        EXPECT_LE(fields.minimums[g], traits.minimum ? traits.largest_scale : 0);
      }
      for (int i = 0; i < traits.block; ++i) EXPECT_LT(fields.codes[i], traits.codes);
    }
  }
}

}  // namespace
}  // namespace bitbudget
