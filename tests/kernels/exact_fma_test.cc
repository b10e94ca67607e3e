// The portable tier's fused multiply-add against the machine's or the C library's.

#define BITBUDGET_TIER exact_fma_test
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/kernels/vec_portable-inl.h"
#include "tests/kernels/kernel_test_util.h"

namespace bitbudget {
namespace {

float OneFma(float a, float b, float c) {
  const exact_fma_test::F8 out =
      exact_fma_test::Fma(exact_fma_test::Set(a), exact_fma_test::Set(b), exact_fma_test::Set(c));
  return out.v[5];
}

::testing::AssertionResult Agrees(float a, float b, float c) {
  const float expected = std::fma(a, b, c);
  const float actual = OneFma(a, b, c);
  if (SameBits(expected, actual)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << std::hexfloat << a << " * " << b << " + " << c << " is "
                                       << expected << ", not " << actual;
}

TEST(ExactFma, BoundaryValuesInEveryCombination) {
  std::vector<float> values;
  for (const float value : {0.0f,
                            1.0f,
                            1.5f,
                            0x1.fffffep-1f,
                            0x1.000002p0f,
                            0x1p-149f,
                            0x1.8p-148f,
                            0x1p-127f,
                            0x1.fffffcp-127f,
                            0x1p-126f,
                            0x1.000002p-126f,
                            0x1p-75f,
                            0x1.000002p-75f,
                            0x1p-63f,
                            0x1.fffffep-64f,
                            0x1p23f,
                            0x1.000002p24f,
                            0x1p63f,
                            0x1.fffffep63f,
                            0x1p64f,
                            0x1p127f,
                            std::numeric_limits<float>::max(),
                            std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
    values.push_back(value);
    values.push_back(-value);
  }
  for (const float a : values) {
    for (const float b : values) {
      for (const float c : values) ASSERT_TRUE(Agrees(a, b, c));
    }
  }
}

TEST(ExactFma, AnyBitPatterns) {
  Random random(1);
  for (int i = 0; i < 2000000; ++i) {
    const uint64_t bits = random.Next();
    ASSERT_TRUE(Agrees(std::bit_cast<float>(static_cast<uint32_t>(bits)),
                       std::bit_cast<float>(static_cast<uint32_t>(bits >> 32)),
                       std::bit_cast<float>(static_cast<uint32_t>(random.Next()))));
  }
}

// Rounding the double sum once more goes wrong when it lies on or beside the middle of two floats.
// This makes such sums: c has few bits, the product ends far below the last bit of c.
TEST(ExactFma, SumsNearTheMiddleOfTwoFloats) {
  Random random(2);
  int naive_is_wrong = 0;
  for (int i = 0; i < 2000000; ++i) {
    // c in [1, 2) and a * b about half an ulp of c (2^-24), give or take a few of its last bits.
    const float c = 1 + static_cast<float>(random.Below(1 << 23)) * 0x1p-23f;
    const float a = 1 + static_cast<float>(random.Below(64)) * 0x1p-23f;
    const float b = (1 - static_cast<float>(random.Below(64)) * 0x1p-24f) * 0x1p-24f;
    const int exponent = static_cast<int>(random.Below(250)) - 125;
    const float sign = random.Below(2) == 0 ? 1.0f : -1.0f;
    const float scaled_c = std::ldexp(c, exponent);  // subnormal results included
    const float scaled_a = exponent < 0 ? a : std::ldexp(a, exponent);
    const float scaled_b = sign * (exponent < 0 ? std::ldexp(b, exponent) : b);
    ASSERT_TRUE(Agrees(scaled_a, scaled_b, scaled_c));
    const float naive = static_cast<float>(double{scaled_a} * scaled_b + scaled_c);
    naive_is_wrong += naive != std::fma(scaled_a, scaled_b, scaled_c);
  }
  EXPECT_GT(naive_is_wrong, 1000) << "the cases no longer need the adjustment";
}

TEST(ExactFma, SubnormalResults) {
  Random random(3);
  for (int i = 0; i < 2000000; ++i) {
    const auto value = [&](int low, int high) {
      const int exponent = low + static_cast<int>(random.Below(high - low));
      const float mantissa = 1 + static_cast<float>(random.Below(1 << 23)) * 0x1p-23f;
      return std::ldexp(random.Below(2) == 0 ? mantissa : -mantissa, exponent);
    };
    const float a = value(-90, -40);
    const float b = value(-90, -60);
    ASSERT_TRUE(Agrees(a, b, value(-155, -120)));
  }
}

TEST(ExactFma, LanesAreIndependent) {
  Random random(4);
  exact_fma_test::F8 a, b, c;
  for (int i = 0; i < 8; ++i) {
    a.v[i] = static_cast<float>(random.Uniform());
    b.v[i] = i == 3 ? std::numeric_limits<float>::infinity() : static_cast<float>(random.Uniform());
    c.v[i] = static_cast<float>(random.Uniform());
  }
  const exact_fma_test::F8 out = exact_fma_test::Fma(a, b, c);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(SameBits(out.v[i], std::fma(a.v[i], b.v[i], c.v[i])));
}

}  // namespace
}  // namespace bitbudget
