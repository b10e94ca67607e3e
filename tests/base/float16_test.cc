#include "runtime/base/float16.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/base/random.h"

namespace bitbudget {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool IsNan(uint16_t bits, uint16_t infinity) { return (bits & 0x7fff) > infinity; }

// What the bits mean, from the definition of the type and in double.
double Meaning(uint16_t bits, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits & 0x7fff) >> mantissa_bits;
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                    : std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// Rounds by looking the value up among all finite values of the type: nearest, and of two equally
// near ones the even one. The first value that does not exist any more stands for infinity, as
// IEEE 754 defines overflow.
class RoundingTable {
 public:
  explicit RoundingTable(int exponent_bits) {
    const int infinity = ((1 << exponent_bits) - 1) << (15 - exponent_bits);
    for (int bits = 0; bits <= infinity; ++bits) {
      values_.push_back(Meaning(static_cast<uint16_t>(bits), exponent_bits));
    }
  }

  uint16_t Round(float value) const {
    const double magnitude = std::abs(static_cast<double>(value));
    const auto above = std::lower_bound(values_.begin(), values_.end(), magnitude);
    size_t index = std::min<size_t>(above - values_.begin(), values_.size() - 1);
    if (index > 0 && magnitude < values_[index]) {
      const double up = values_[index] - magnitude;
      const double down = magnitude - values_[index - 1];
      if (down < up || (down == up && index % 2 == 1)) --index;
    }
    return static_cast<uint16_t>(index | (std::signbit(value) ? 0x8000 : 0));
  }

 private:
  std::vector<double> values_;  // of the bits 0, 1, ..., infinity
};

// Calls `check` for both signs of every boundary between two neighbouring values, its two float
// neighbours, and for floats with random bits.
template <typename Check>
void ForManyFloats(int exponent_bits, const Check& check) {
  const int infinity = ((1 << exponent_bits) - 1) << (15 - exponent_bits);
  for (int bits = 0; bits < infinity; ++bits) {
    const double low = Meaning(static_cast<uint16_t>(bits), exponent_bits);
    const double high = Meaning(static_cast<uint16_t>(bits + 1), exponent_bits);
    const float middle = static_cast<float>((low + high) / 2);  // exact
    for (const float value :
         {middle, std::nextafter(middle, kInfinity), std::nextafter(middle, -kInfinity)}) {
      check(value);
      check(-value);
    }
  }
  Random random(1);
  for (int i = 0; i < 1 << 21; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random.Next()));
    if (!std::isnan(value)) check(value);
  }
  // Random bits rarely hit the narrow range of f16.
  for (int i = 0; i < 1 << 21; ++i) {
    check(static_cast<float>(
        std::ldexp(random.Uniform() - 0.5, static_cast<int>(random.Below(46)) - 27)));
  }
}

TEST(Float16Test, EveryHalfMeansWhatItsBitsSay) {
  for (int i = 0; i < 1 << 16; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    const float value = HalfToFloat(bits);
    if (IsNan(bits, 0x7c00)) {
      EXPECT_TRUE(std::isnan(value)) << bits;
    } else if ((bits & 0x7fff) == 0x7c00) {
      EXPECT_EQ(value, (bits & 0x8000) != 0 ? -kInfinity : kInfinity);
    } else {
      EXPECT_EQ(static_cast<double>(value), Meaning(bits, 5)) << bits;
      EXPECT_EQ(std::signbit(value), (bits & 0x8000) != 0) << bits;
    }
  }
}

TEST(Float16Test, EveryHalfRoundTrips) {
  for (int i = 0; i < 1 << 16; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    const uint16_t back = FloatToHalf(HalfToFloat(bits));
    if (IsNan(bits, 0x7c00)) {
      EXPECT_TRUE(IsNan(back, 0x7c00)) << bits;
      EXPECT_EQ(back & 0x8000, bits & 0x8000);
    } else {
      EXPECT_EQ(back, bits);
    }
  }
}

TEST(Float16Test, FloatToHalfRoundsToNearestEven) {
  const RoundingTable table(5);
  int64_t wrong = 0;
  ForManyFloats(5, [&](float value) {
    if (FloatToHalf(value) == table.Round(value)) return;
    if (wrong++ < 10) {
      ADD_FAILURE() << value << " gave " << FloatToHalf(value) << ", not " << table.Round(value);
    }
  });
  EXPECT_EQ(wrong, 0);
}

TEST(Float16Test, HalfOverflowsFromHalfAStepPastTheLargest) {
  EXPECT_EQ(FloatToHalf(65504.0f), 0x7bff);
  EXPECT_EQ(FloatToHalf(std::nextafter(65520.0f, 0.0f)), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToHalf(-65520.0f), 0xfc00);
  EXPECT_EQ(FloatToHalf(kInfinity), 0x7c00);
  EXPECT_EQ(FloatToHalf(-kInfinity), 0xfc00);
}

TEST(Float16Test, HalfUnderflowsFromHalfTheSmallest) {
  EXPECT_EQ(FloatToHalf(0x1p-25f), 0x0000);  // a tie, 0 is even
  EXPECT_EQ(FloatToHalf(std::nextafter(0x1p-25f, 1.0f)), 0x0001);
  EXPECT_EQ(FloatToHalf(-0x1p-25f), 0x8000);
  EXPECT_EQ(FloatToHalf(std::numeric_limits<float>::denorm_min()), 0x0000);
}

TEST(Float16Test, NanStaysNanWhateverItsPayload) {
  for (const uint32_t bits : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    const float nan = std::bit_cast<float>(bits);
    EXPECT_TRUE(IsNan(FloatToHalf(nan), 0x7c00)) << bits;
    EXPECT_TRUE(IsNan(FloatToBFloat16(nan), 0x7f80)) << bits;
  }
}

TEST(BFloat16Test, EveryValueMeansWhatItsBitsSayAndRoundTrips) {
  for (int i = 0; i < 1 << 16; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    const float value = BFloat16ToFloat(bits);
    if (IsNan(bits, 0x7f80)) {
      EXPECT_TRUE(std::isnan(value)) << bits;
      EXPECT_TRUE(IsNan(FloatToBFloat16(value), 0x7f80)) << bits;
      continue;
    }
    if ((bits & 0x7fff) == 0x7f80) {
      EXPECT_EQ(value, (bits & 0x8000) != 0 ? -kInfinity : kInfinity);
    } else {
      EXPECT_EQ(static_cast<double>(value), Meaning(bits, 8)) << bits;
    }
    EXPECT_EQ(FloatToBFloat16(value), bits);
  }
}

TEST(BFloat16Test, FloatToBFloat16RoundsToNearestEven) {
  const RoundingTable table(8);
  int64_t wrong = 0;
  ForManyFloats(8, [&](float value) {
    if (FloatToBFloat16(value) == table.Round(value)) return;
    if (wrong++ < 10) {
      ADD_FAILURE() << value << " gave " << FloatToBFloat16(value) << ", not "
                    << table.Round(value);
    }
  });
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace bitbudget
