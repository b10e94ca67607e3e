#include "runtime/tensor/bit_packing.h"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/base/random.h"

namespace bitbudget {
namespace {

// Bit by bit, as the comment of the header has it.
std::vector<uint8_t> Packed(const std::vector<uint64_t>& values, int bits) {
  std::vector<uint8_t> bytes((values.size() * bits + 7) / 8);
  for (size_t i = 0; i < values.size(); ++i) {
    for (int b = 0; b < bits; ++b) {
      const size_t at = i * bits + b;
      if (values[i] >> b & 1) bytes[at / 8] = static_cast<uint8_t>(bytes[at / 8] | 1 << at % 8);
    }
  }
  return bytes;
}

std::vector<uint64_t> RandomValues(size_t size, int bits, Random* random) {
  std::vector<uint64_t> values(size);
  for (uint64_t& value : values) {
    value = (uint64_t{random->Below(1u << 30)} << 30 | random->Below(1u << 30)) &
            ((uint64_t{1} << bits) - 1);
  }
  return values;
}

TEST(BitPacking, PacksAsTheDefinitionSaysAndWritesNothingElse) {
  Random random(1);
  for (int bits = 0; bits <= 40; ++bits) {
    for (const size_t size : {0, 1, 2, 3, 7, 8, 9, 31, 64, 65}) {
      const std::vector<uint64_t> values = RandomValues(size, bits, &random);
      const std::vector<uint8_t> expected = Packed(values, bits);
      // Old contents are overwritten, padding included; the bytes behind stay.
      std::vector<uint8_t> got(expected.size() + 9, 0xa5);
      PackBits<uint64_t>(values, bits, got.data());
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i], i < expected.size() ? expected[i] : 0xa5) << bits << " " << size;
      }
    }
  }
}

TEST(BitPacking, LoadsEveryValueBackFromTheBytesThatHoldItAlone) {
  Random random(2);
  for (int bits = 0; bits <= 40; ++bits) {
    const std::vector<uint64_t> values = RandomValues(67, bits, &random);
    const std::vector<uint8_t> bytes = Packed(values, bits);
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(LoadBits(bytes.data(), static_cast<int64_t>(i), bits), values[i]) << bits;
      // A buffer that ends with the value's last byte: a sanitizer sees any read beyond.
      const std::vector<uint8_t> part(
          bytes.begin(), bytes.begin() + static_cast<int64_t>(((i + 1) * bits + 7) / 8));
      EXPECT_EQ(LoadBits(part.data(), static_cast<int64_t>(i), bits), values[i]) << bits;
    }
  }
}

TEST(BitPacking, KnownBytes) {
  std::vector<uint8_t> bytes(2);
  PackBits<uint8_t>(std::vector<uint8_t>{7, 2, 5, 4, 1}, 3, bytes.data());
  EXPECT_EQ(bytes, (std::vector<uint8_t>{0x57, 0x19}));
  PackBits<uint8_t>(std::vector<uint8_t>{15, 2, 9}, 4, bytes.data());
  EXPECT_EQ(bytes, (std::vector<uint8_t>{0x2f, 0x09}));
}

TEST(BitPacking, BytesForBitsRoundsUpAtAnyWidth) {
  EXPECT_EQ(BytesForBits(0), 0);
  EXPECT_EQ(BytesForBits(1), 1);
  EXPECT_EQ(BytesForBits(8), 1);
  EXPECT_EQ(BytesForBits(9), 2);
  EXPECT_TRUE(BytesForBits(__int128{1} << 90) == __int128{1} << 87);
}

}  // namespace
}  // namespace bitbudget
