#include "runtime/kernels/token_rounding.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

namespace bitbudget {
namespace {

// Rounds to the nearest integer, ties to even, without a call: the sum has no room for fractions.
// REQUIRES: |x| < 2^22.
inline float Round(float x) {
  constexpr float kNoFractions = 12582912.0f;  // 1.5 * 2^23
  return (x + kNoFractions) - kNoFractions;
}

}  // namespace

void RoundPerToken(float* x, int64_t ldx, int64_t rows, int64_t width, int bits) {
  CHECK(bits >= 2 && bits <= 8) << bits;
  const float top = static_cast<float>((1 << bits) - 1);
  for (int64_t row = 0; row < rows; ++row, x += ldx) {
    float low = 0;
    float high = 0;
    bool finite = true;
    for (int64_t i = 0; i < width; ++i) {
      finite = finite && std::isfinite(x[i]);
      low = std::min(low, x[i]);
      high = std::max(high, x[i]);
    }
    // Halves first: the range of finite values may exceed the largest float.
    const float h = (high / 2 - low / 2) / (top / 2);
    if (!finite || h == 0) continue;
    const float zero = Round(-low / h);
    for (int64_t i = 0; i < width; ++i) {
      x[i] = h * (std::clamp(Round(x[i] / h) + zero, 0.0f, top) - zero);
    }
  }
}

}  // namespace bitbudget
