#ifndef BITBUDGET_TESTS_SUPPORT_MATRICES_H_
#define BITBUDGET_TESTS_SUPPORT_MATRICES_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "runtime/base/random.h"

namespace bitbudget {

// `size` normal values of standard deviation `deviation`, which is what weight rows look like.
inline std::vector<float> GaussianValues(int64_t size, double deviation, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(deviation * random.Normal());
  return values;
}

// Values with tails far heavier than normal ones: the cube of a normal value.
inline std::vector<float> HeavyTailedValues(int64_t size, double deviation, uint64_t seed) {
  std::vector<float> values = GaussianValues(size, 1.0, seed);
  for (float& value : values) value = static_cast<float>(deviation * value * value * value);
  return values;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_MATRICES_H_
