#include "runtime/tensor/check_encoding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/quantize/rtn_encoder.h"
#include "runtime/tensor/block_codec.h"
#include "runtime/tensor/one_bit.h"
#include "runtime/tensor/sparse_layout.h"
#include "tests/support/expect_error.h"
#include "tests/support/formats.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr uint16_t kHalfNan = 0x7e00, kHalfInfinity = 0xfc00;

Encoding MustEncode(const std::string& format, int64_t rows, int64_t cols) {
  const std::vector<float> values = GaussianValues(rows * cols, 1.0, 7);
  absl::StatusOr<Encoding> encoding =
      MakeRtnEncoder()->Encode(ViewOf(values, rows, cols), *ParseFormat(format), {}, 1);
  EXPECT_TRUE(encoding.ok()) << encoding.status();
  return encoding.ok() ? *std::move(encoding) : Encoding{};
}

std::vector<std::string> FormatNames() {
  std::vector<std::string> names;
  for (const Format& format : FormatsFor(256)) names.push_back(format.Name());
  for (const char* sparse :
       {"f32+s50", "bf16+2:4", "int4-g64+2:4", "int8+s37.5", "int4z-g32+s90", "int2-g64+s99.9"}) {
    names.push_back(sparse);
  }
  return names;
}

void PutHalf(uint16_t half, int64_t at, Encoding* encoding) {
  std::memcpy(encoding->bytes.data() + at, &half, sizeof(half));
}

TEST(CheckEncoding, TakesWhatEncodersMake) {
  for (const std::string& format : FormatNames()) {
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{130, 256}, {3, 256}, {1, 256}}) {
      EXPECT_TRUE(CheckEncoding(MustEncode(format, rows, cols)).ok()) << format;
    }
  }
  for (const char* format : {"int3z-g32+s50", "f16+2:4", "int8+s97.5"}) {
    for (const int64_t cols : {1, 3, 70}) {
      const Encoding encoding = MustEncode(format, 67, cols);
      EXPECT_TRUE(CheckEncoding(encoding).ok()) << format << CheckEncoding(encoding);
    }
  }
}

TEST(CheckEncoding, NamesAWrongNumberOfBytes) {
  Encoding encoding = MustEncode("int4-g64", 8, 128);
  encoding.bytes.pop_back();
  ExpectError(CheckEncoding(encoding), kInvalid, {"543 bytes", "int4-g64 [8, 128] takes 544"});
  encoding.bytes.clear();
  ExpectError(CheckEncoding(encoding), kInvalid, {"0 bytes"});
}

TEST(CheckEncoding, NamesTheRowOfAScaleThatIsNotFinite) {
  for (const char* format : {"int4-g64", "int8", "int3z-g32", "int4-g64+2:4", "int8+s50"}) {
    Encoding encoding = MustEncode(format, 5, 128);
    const EncodingLayout layout(encoding.format, 5, 128);
    PutHalf(kHalfNan, layout.scales_offset + 2 * 3 * layout.groups, &encoding);
    ExpectError(CheckEncoding(encoding), kInvalid, {"scale of row 3", "nan"});
    PutHalf(kHalfInfinity, layout.scales_offset + 2 * 3 * layout.groups, &encoding);
    ExpectError(CheckEncoding(encoding), kInvalid, {"scale of row 3", "-inf"});
  }
  Encoding one_bit = MustEncode("onebit", 5, 128);
  PutHalf(kHalfNan, OneBitLayout(5, 128).h_offset + 2 * 4, &one_bit);
  ExpectError(CheckEncoding(one_bit), kInvalid, {"the scale of row 4", "nan"});
  one_bit = MustEncode("onebit", 5, 128);
  PutHalf(kHalfNan, OneBitLayout(5, 128).g_offset + 2 * 100, &one_bit);
  ExpectError(CheckEncoding(one_bit), kInvalid, {"inputs", "nan"});
}

TEST(CheckEncoding, NamesTheBlockWhoseWeightsAreNotFinite) {
  for (const Format& format : FormatsFor(256)) {
    if (!format.IsBlock() || format.Name() == "mxfp4") continue;  // which has no f16 scale
    const BlockTraits& traits = BlockTraitsOf(format);
    Encoding encoding = MustEncode(format.Name(), 3, 512);
    const int64_t blocks = 512 / traits.block;
    BlockFields fields;
    uint8_t* const bytes = encoding.bytes.data() + (2 * blocks + 1) * traits.bytes;
    UnpackBlock(traits, bytes, &fields);
    fields.d = INFINITY;
    PackBlock(traits, fields, bytes);
    ExpectError(CheckEncoding(encoding), kInvalid, {"block 1 of row 2", "not finite"});
    if (!traits.minimum) continue;
    UnpackBlock(traits, bytes, &fields);
    fields.d = 1;
    fields.dmin = NAN;
    PackBlock(traits, fields, bytes);
    ExpectError(CheckEncoding(encoding), kInvalid, {"block 1 of row 2", "not finite"});
  }
}

TEST(CheckEncoding, NamesTheRowOfAFloatThatIsNotFinite) {
  Encoding encoding = MustEncode("f16", 4, 32);
  PutHalf(kHalfNan, 2 * (2 * 32 + 5), &encoding);
  ExpectError(CheckEncoding(encoding), kInvalid, {"row 2", "not finite"});
}

TEST(CheckEncoding, RefusesMasksOfAnotherNumberOfWeights) {
  // A bitmap, lists of columns, and two of every four.
  for (const char* format : {"int4-g64+s50", "int4-g64+s97.5", "int4-g64+2:4"}) {
    Encoding encoding = MustEncode(format, 130, 128);
    const SparseLayout layout(encoding.format, 130, 128);
    Encoding other = encoding;
    other.bytes[0] ^= 0xff;
    ExpectError(CheckEncoding(other), kInvalid, {"the mask of row"});
    if (layout.codes_offset == layout.directory_offset) continue;
    other = encoding;
    other.bytes[layout.directory_offset + 8] ^= 1;
    ExpectError(CheckEncoding(other), kInvalid, {"the mask of row 128"});
  }
}

// What passes can be decoded, whatever the bytes: a sanitizer sees any read beyond them.
TEST(CheckEncoding, WhatPassesDecodesToFiniteWeights) {
  Random random(3);
  int passed = 0;
  for (const std::string& format : FormatNames()) {
    const Encoding encoding = MustEncode(format, 66, 256);
    for (int i = 0; i < 40; ++i) {
      Encoding mutated = encoding;
      for (uint64_t flips = 1 + random.Below(3); flips > 0 && !mutated.bytes.empty(); --flips) {
        mutated.bytes[random.Below(mutated.bytes.size())] ^= 1 << random.Below(8);
      }
      if (!CheckEncoding(mutated).ok()) continue;
      ++passed;
      std::vector<float> weights(66 * 256);
      DecodeReference(mutated, weights);
      EXPECT_TRUE(std::all_of(weights.begin(), weights.end(), [](float w) {
        return std::isfinite(w);
      })) << format;
    }
  }
  EXPECT_GT(passed, 500);
}

}  // namespace
}  // namespace bitbudget
