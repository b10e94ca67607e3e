#ifndef BITBUDGET_TESTS_KERNELS_KERNEL_TEST_UTIL_H_
#define BITBUDGET_TESTS_KERNELS_KERNEL_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/random.h"

namespace bitbudget {

// Half an ulp of 1: the relative error of one float operation.
inline constexpr double kUnit = 0x1p-24;

// Uniform in [-1, 1).
inline std::vector<float> RandomFloats(int64_t size, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(2 * random.Uniform() - 1);
  return values;
}

// Equal bit for bit; NaN equals NaN, as its sign and payload are not specified.
inline bool SameBits(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

inline testing::AssertionResult SameBits(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << a.size() << " != " << b.size();
  for (size_t i = 0; i < a.size(); ++i) {
    if (!SameBits(a[i], b[i])) {
      return testing::AssertionFailure()
             << "at " << i << ": " << std::hexfloat << a[i] << " and " << b[i];
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_KERNELS_KERNEL_TEST_UTIL_H_
